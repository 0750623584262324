// Convolutions of any floating type without a library: patches of the input are laid out as rows of a matrix and
// multiplied with the filter, a tile at a time. Depthwise convolutions run as direct loops over channels.
#ifndef SLUICE_KERNELS_NN_CONV_GENERIC_H_
#define SLUICE_KERNELS_NN_CONV_GENERIC_H_

#include "core/kernel/kernel.h"
#include "kernels/nn/conv_shape.h"

namespace sluice {

// The arguments are those of DnnlConv::Run. T: float, double. Results do not depend on timing: sums over pieces of the
// batch are made in a fixed order. REQUIRES: !s.empty().
template <typename T>
absl::Status GenericConv(KernelContext& c, const ConvShape& s, ConvDirection direction, const T* a, const T* b, T* out);

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_GENERIC_H_
