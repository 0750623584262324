// Pixels of any type as floats, so that image kernels compute in one type.
#ifndef SLUICE_KERNELS_IMAGE_PIXELS_H_
#define SLUICE_KERNELS_IMAGE_PIXELS_H_

#include "absl/status/statusor.h"
#include "core/types/tensor.h"

namespace sluice {

// `t` itself when it is float, else a float copy. REQUIRES: a real type.
absl::StatusOr<Tensor> PixelsAsFloat(const Tensor& t);
// Writes floats as elements of the type of `to`, rounded towards zero for integers. REQUIRES: a real type, as many
// elements.
void PixelsFromFloat(absl::Span<const float> from, Tensor* to);

}  // namespace sluice

#endif  // SLUICE_KERNELS_IMAGE_PIXELS_H_
