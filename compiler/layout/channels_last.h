// Images with channels first are computed with channels last, which is what the loops of convolutions and pooling want.
//
//   y = Relu(Conv2D(x, w, data_format="NCHW"))   ->   t = Transpose(x, [0,2,3,1]);  c = Conv2D(t, w);  r = Relu(c)
//                                                     y = Transpose(r, [0,3,1,2])
//
// Without it each such kernel turns its operands and its result round. A region grows from convolutions and pooling
// along what can be computed either way: bias, batch normalisation, element-wise ops, reductions, padding,
// concatenation, and their gradients. One transpose stands at each border; pairs that cancel, those of the program
// included, go.
//
// Results are the same bits but where a region sums over positions (BiasAddGrad, batch normalisation, AvgPool, Sum and
// Mean): sums of floats are made in another order. Nodes of GPUs, and graphs with loops of frames, stay as they are.
#ifndef SLUICE_COMPILER_LAYOUT_CHANNELS_LAST_H_
#define SLUICE_COMPILER_LAYOUT_CHANNELS_LAST_H_

#include <string>

#include "core/graph/pass.h"

namespace sluice {

class ChannelsLast final : public Pass {
 public:
  std::string name() const override { return "layout"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_LAYOUT_CHANNELS_LAST_H_
