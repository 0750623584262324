// Copies of elements of any type between tensors.
#ifndef SLUICE_KERNELS_QUEUE_ROWS_H_
#define SLUICE_KERNELS_QUEUE_ROWS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/types/tensor.h"

namespace sluice {

// Copies `count` elements; the types must be the same, and not a reference.
void CopyElements(const Tensor& from, int64_t from_at, int64_t count, Tensor* to, int64_t to_at);
// Sets every element to 0, false or "".
void ClearElements(Tensor* t);
// Copies `from` into the corner [row, 0, 0, ...] of `to`, whose sizes behind the first are at least as large.
void CopyIntoRow(const Tensor& from, int64_t row, Tensor* to);

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_ROWS_H_
