// Small inputs of file and decoding kernels, checked.
#ifndef SLUICE_KERNELS_DATA_INPUTS_H_
#define SLUICE_KERNELS_DATA_INPUTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/status.h"
#include "core/kernel/kernel.h"

namespace sluice {

// Input i, a string scalar. `what` names it in the error.
inline absl::StatusOr<std::string> StringInput(const KernelContext& c, int i, absl::string_view what) {
  const Tensor& t = c.input(i);
  if (t.dtype() != DType::kString || t.num_elements() != 1) {
    return InvalidArgument(what, " must be a string scalar, found ", DTypeName(t.dtype()), " ", t.shape().ToString());
  }
  return *t.data<std::string>();
}

// Input i, a vector of `size` strings.
inline absl::StatusOr<absl::Span<const std::string>> StringsInput(const KernelContext& c, int i, int64_t size,
                                                                  absl::string_view what) {
  const Tensor& t = c.input(i);
  if (t.dtype() != DType::kString || t.rank() != 1 || t.num_elements() != size) {
    return InvalidArgument(what, " must be a vector of ", size, " strings, found ", DTypeName(t.dtype()), " ",
                           t.shape().ToString());
  }
  return absl::Span<const std::string>(t.flat<std::string>());
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_DATA_INPUTS_H_
