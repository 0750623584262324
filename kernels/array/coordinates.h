// Checks of indices, shared by gathers and scatters: every index is looked at before anything is read or written
// through it.
#ifndef SLUICE_KERNELS_ARRAY_COORDINATES_H_
#define SLUICE_KERNELS_ARRAY_COORDINATES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/types/tensor.h"
#include "kernels/array/elements.h"

namespace sluice {

// Every element of the int32 or int64 tensor must be in [0, limit): "indices[1,3] = 12 is not in [0, 10)".
absl::Status CheckIndices(const Tensor& indices, int64_t limit, absl::string_view name = "indices");

// The flat position, in elements of `target`, of each slice that the last dimension of the indices names.
struct SliceOffsets {
  IntList offsets;
  int64_t slice_elements = 1;
};
absl::StatusOr<SliceOffsets> FindSlices(const Tensor& indices, const Shape& target, absl::string_view target_name);

}  // namespace sluice

#endif  // SLUICE_KERNELS_ARRAY_COORDINATES_H_
