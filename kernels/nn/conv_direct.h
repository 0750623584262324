// Float convolutions as loops over the images where they lie: no patches are gathered and nothing is padded.
//
// The filter is laid out in panels of two vectors of output channels; a tile of up to 14 pixels of an output row by one
// panel stays in registers over all taps. The gradient of the input (stride 1) is the same on the output's gradient,
// with the filter turned round. The gradient of the filter keeps up to 14 of its rows by one panel in registers over
// the pixels of some images. Sums are made in an order that the shape alone decides: results do not depend on the
// number of threads. A run takes nothing from the heap but its temporary tensor, and no lock.
#ifndef SLUICE_KERNELS_NN_CONV_DIRECT_H_
#define SLUICE_KERNELS_NN_CONV_DIRECT_H_

#include <memory>

#include "kernels/common/cpu_isa.h"
#include "kernels/nn/conv_algorithm.h"

namespace sluice {

// Null for what it has no loops for: groups, and gradients of the input with strides. REQUIRES: !shape.empty().
std::unique_ptr<ConvAlgorithm> MakeDirectConv(const ConvShape& shape, ConvDirection direction,
                                              CpuIsa isa = BestCpuIsa());

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_DIRECT_H_
