// Adding a vector along the channels, and its gradient.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "core/op/window.h"
#include "ops/expr/expr.h"
#include "ops/nn/nn_ops.h"
#include "ops/nn/rules.h"

namespace sluice {
namespace {

// Which dimension of a value of this rank holds the channels.
absl::StatusOr<int> ChannelDim(const ShapeContext& c, int rank) {
  ASSIGN_OR_RETURN(bool first, IsChannelsFirst(c.attrs()));
  if (first && rank < 3) return InvalidArgument("value has rank ", rank, ", wanted at least 3 with data_format NCHW");
  return first ? 1 : rank - 1;
}

absl::Status BiasAddShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape value, c.WithRankAtLeast(0, 2));
  ASSIGN_OR_RETURN(PartialShape bias, c.WithRank(1, 1));
  if (!value.known_rank()) {
    c.SetOutput(0, PartialShape());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(int channel, ChannelDim(c, value.rank()));
  const int64_t found = value.dim(channel), wanted = bias.dim(0);
  if (found >= 0 && wanted >= 0 && found != wanted) {
    return InvalidArgument("value is ", value.ToString(), " with ", found, " channels, but bias has ", wanted,
                           " elements");
  }
  if (found < 0) value.SetDim(channel, wanted);
  c.SetOutput(0, value);
  return absl::OkStatus();
}

absl::Status BiasAddGradShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape value, c.WithRankAtLeast(0, 2));
  PartialShape out = PartialShape::UnknownDims(1);
  if (value.known_rank()) {
    ASSIGN_OR_RETURN(int channel, ChannelDim(c, value.rank()));
    out.SetDim(0, value.dim(channel));
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

}  // namespace

void DefineBiasOps(OpRegistry& ops) {
  ops.Define("BiasAdd", "Adds the vector bias along the channels of value.")
      .Input("value", "T")
      .Input("bias", "T")
      .Output("output", "T")
      .Type("T", kNumberTypes)
      .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
      .Shape(BiasAddShape)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.dy();
        g.Into(1) = g.Op("BiasAddGrad", {g.dy()}, SameAttrs(g, {"data_format"}));
      });
  ops.Define("BiasAddV1", "Adds the vector bias along the last dimension of value.")
      .Input("value", "T")
      .Input("bias", "T")
      .Output("output", "T")
      .Type("T", kNumberTypes)
      .Shape(BiasAddShape)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.dy();
        g.Into(1) = g.Op("BiasAddGrad", {g.dy()});
      });
  ops.Define("BiasAddGrad", "Sums out_backprop over all dimensions but the channels.")
      .Input("out_backprop", "T")
      .Output("output", "T")
      .Type("T", kNumberTypes)
      .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
      .Shape(BiasAddGradShape)
      .Gradient([](GradientScope& g) {
        // The transpose of a sum is a broadcast, which is what adding a bias to zeros does.
        g.Into(0) = g.Op("BiasAdd", {ZerosLike(g.input(0)), g.dy()}, SameAttrs(g, {"data_format"}));
      });
}

}  // namespace sluice
