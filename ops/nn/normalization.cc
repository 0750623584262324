// Batch normalization and local response normalization.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "core/op/window.h"
#include "ops/expr/expr.h"
#include "ops/nn/nn_ops.h"
#include "ops/nn/rules.h"

namespace sluice {
namespace {

constexpr DTypeSet kLrnTypes = {DType::kHalf, DType::kBfloat16, DType::kFloat};
constexpr DTypeSet kBatchNormTypes = {DType::kHalf, DType::kBfloat16, DType::kFloat};
const std::initializer_list<absl::string_view> kLrnAttrs = {"depth_radius", "bias", "alpha", "beta"};
const std::initializer_list<absl::string_view> kBatchNormAttrs = {"epsilon", "data_format", "is_training"};

// The generations of FusedBatchNorm: 1 has one type, 2 a type for the statistics, 3 one more scratch output.
std::string Versioned(absl::string_view name, int version) {
  return version == 1 ? std::string(name) : absl::StrCat(name, "V", version);
}

// Merges a known number of channels with what a vector input says.
absl::Status MergeChannels(ShapeContext& c, int vector_input, bool may_be_empty, int64_t* channels) {
  ASSIGN_OR_RETURN(PartialShape v, c.WithRank(vector_input, 1));
  const int64_t size = v.dim(0);
  if (size < 0 || (may_be_empty && size == 0)) return absl::OkStatus();
  if (*channels >= 0 && *channels != size) {
    return InvalidArgument(c.op().inputs[vector_input].name, " has ", size, " elements, but there are ", *channels,
                           " channels");
  }
  *channels = size;
  return absl::OkStatus();
}

absl::Status BatchNormShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape x, c.WithRank(0, 4));
  ASSIGN_OR_RETURN(bool first, IsChannelsFirst(c.attrs()));
  ASSIGN_OR_RETURN(bool training, c.Attr<bool>("is_training"));
  const int channel_dim = first ? 1 : 3;
  int64_t channels = x.dim(channel_dim);
  for (int i = 1; i <= 4; ++i) RETURN_IF_ERROR(MergeChannels(c, i, training && i >= 3, &channels));
  x.SetDim(channel_dim, channels);
  c.SetOutput(0, x);
  for (int i = 1; i <= 4; ++i) c.SetOutput(i, {channels});
  if (c.num_outputs() > 5) c.SetOutput(5, {0});
  return absl::OkStatus();
}

absl::Status BatchNormGradShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape dy, c.WithRank(0, 4));
  ASSIGN_OR_RETURN(PartialShape x, c.WithRank(1, 4));
  ASSIGN_OR_RETURN(x, x.MergeWith(dy));
  ASSIGN_OR_RETURN(bool first, IsChannelsFirst(c.attrs()));
  const int channel_dim = first ? 1 : 3;
  int64_t channels = x.dim(channel_dim);
  for (int i = 2; i <= 4; ++i) RETURN_IF_ERROR(MergeChannels(c, i, false, &channels));
  x.SetDim(channel_dim, channels);
  c.SetOutput(0, x);
  c.SetOutput(1, {channels});
  c.SetOutput(2, {channels});
  c.SetOutput(3, {0});
  c.SetOutput(4, {0});
  return absl::OkStatus();
}

// What the second-order rule works with: sums over all but the channels, and vectors made to broadcast along them.
// Everything is float, whatever the type of x.
struct ChannelMath {
  GradientScope* g;
  bool channels_first;
  Out Axes() const { return channels_first ? g->Ints({0, 2, 3}) : g->Ints({0, 1, 2}); }
  Out Average(Out x) const { return Mean(x, Axes(), true); }
  Out Total(Out x) const { return Sum(x, Axes(), false); }
  Out Along(Out v) const { return channels_first ? Reshape(v, g->Ints({1, -1, 1, 1})) : v; }
};

// With r = 1/sqrt(var + eps), h = (x - mean) * r, A = avg(dy), B = avg(dy * h), n elements for each channel, the op
// computes
//   x_backprop = scale * r * (dy - A - h * B)    scale_backprop = n * B    offset_backprop = n * A
// in training, and with constant statistics the same without A and B in the first. Given the gradients G, gs and gb of
// these three, the rule gives those of dy, x and scale. `centre` projects out the mean and h, and is its own transpose.
void BatchNormSecondOrder(GradientScope& g) {
  const bool training = g.MustAttr<bool>("is_training");
  const float epsilon = g.MustAttr<float>("epsilon");
  const ChannelMath m{&g, g.MustAttr<std::string>("data_format") == "NCHW"};
  const DType type = g.input(0).dtype();
  Out dy = Cast(g.input(0), DType::kFloat), x = Cast(g.input(1), DType::kFloat), scale = m.Along(g.input(2));
  Out G = Cast(g.dy(0), DType::kFloat), gs = m.Along(g.dy(1)), gb = m.Along(g.dy(2));
  if (!training) {
    Out r = Rsqrt(m.Along(g.input(4)) + epsilon);
    Out h = (x - m.Along(g.input(3))) * r;
    g.Into(0) = Cast(G * scale * r + gs * h + gb, type);
    g.Into(1) = Cast(gs * r * dy, type);
    g.Into(2) = m.Total(G * dy * r);
    return;
  }
  Out centred = x - m.Average(x);
  Out r = Rsqrt(m.Average(Square(centred)) + epsilon);
  Out h = centred * r;
  auto centre = [&](Out v) { return v - m.Average(v) - h * m.Average(v * h); };
  Out B = m.Average(dy * h), C = m.Average(G * h);
  Out dy_centred = centre(dy);
  g.Into(0) = Cast(scale * r * centre(G) + gs * h + gb, type);
  g.Into(2) = m.Total(G * dy_centred * r);
  Out for_h = gs * dy - scale * r * (dy * C + G * B);  // the gradient of h where it stands for itself
  Out for_r = scale * m.Average(G * dy_centred);       // that of r where it is a factor, over n
  g.Into(1) = Cast(r * centre(for_h) - r * r * h * for_r, type);
}

void DefineBatchNorm(OpRegistry& ops, int version) {
  const char* stat = version == 1 ? "T" : "U";
  OpBuilder forward =
      ops.Define(Versioned("FusedBatchNorm", version),
                 "(x - mean) / sqrt(variance + epsilon) * scale + offset for each channel, with the statistics of "
                 "the batch in training and the given ones otherwise.");
  forward.Input("x", "T").Input("scale", stat).Input("offset", stat).Input("mean", stat).Input("variance", stat);
  forward.Output("y", "T").Output("batch_mean", stat).Output("batch_variance", stat);
  for (int i = 1; i <= (version == 3 ? 3 : 2); ++i) forward.Output(absl::StrCat("reserve_space_", i), stat);
  forward.Type("T", version == 1 ? DTypeSet{DType::kFloat} : kBatchNormTypes);
  if (version > 1) forward.Type("U", {DType::kFloat});
  forward.Attr("epsilon: float = 0.0001")
      .Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'")
      .Attr("is_training: bool = true");
  const std::string grad = Versioned("FusedBatchNormGrad", version);
  forward.Shape(BatchNormShape).Gradient([version, grad](GradientScope& g) {
    const bool training = g.MustAttr<bool>("is_training");
    std::vector<Out> in = {g.dy(), g.input(0), g.input(1)};
    in.push_back(training ? g.output(3) : g.input(3));
    in.push_back(training ? g.output(4) : g.input(4));
    if (version == 3) in.push_back(g.output(5));
    Out dx = g.Op(grad, in, SameAttrs(g, kBatchNormAttrs));
    g.Into(0) = dx;
    g.Into(1) = dx.output(1);
    g.Into(2) = dx.output(2);
  });

  OpBuilder back = ops.Define(grad, absl::StrCat("The gradients of ", Versioned("FusedBatchNorm", version), "."));
  back.Input("y_backprop", "T").Input("x", "T").Input("scale", version == 1 ? "T" : "float");
  for (int i = 1; i <= (version == 3 ? 3 : 2); ++i) back.Input(absl::StrCat("reserve_space_", i), stat);
  back.Output("x_backprop", "T").Output("scale_backprop", stat).Output("offset_backprop", stat);
  const int scratch = version == 3 ? 4 : 3;
  back.Output(absl::StrCat("reserve_space_", scratch), stat).Output(absl::StrCat("reserve_space_", scratch + 1), stat);
  back.Type("T", version == 1 ? DTypeSet{DType::kFloat} : kBatchNormTypes);
  if (version > 1) back.Type("U", {DType::kFloat});
  back.Attr("epsilon: float = 0.0001").Attr("data_format: {'NHWC', 'NCHW'} = 'NHWC'").Attr("is_training: bool = true");
  back.Shape(BatchNormGradShape).Gradient(BatchNormSecondOrder);
}

}  // namespace

void DefineNormalizationOps(OpRegistry& ops) {
  for (int version : {1, 2, 3}) DefineBatchNorm(ops, version);
  auto with_lrn_attrs = [](OpBuilder b) {
    b.Attr("depth_radius: int = 5").Attr("bias: float = 1.0").Attr("alpha: float = 1.0").Attr("beta: float = 0.5");
    b.Type("T", kLrnTypes, DType::kFloat);
    return b;
  };
  auto four_dimensions = [](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape shape, c.WithRank(0, 4));
    for (int i = 1; i < c.num_inputs(); ++i) {
      ASSIGN_OR_RETURN(shape, shape.MergeWith(c.input(i)));
    }
    ASSIGN_OR_RETURN(int64_t radius, c.Attr<int64_t>("depth_radius"));
    if (radius < 0) return InvalidArgument("depth_radius is ", radius, ", wanted at least 0");
    c.SetOutput(0, shape);
    return absl::OkStatus();
  };
  with_lrn_attrs(
      ops.Define("LRN", "input / (bias + alpha * sum of squares over nearby channels)^beta; Krizhevsky et al. 2012.")
          .Input("input", "T")
          .Output("output", "T"))
      .Shape(four_dimensions)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("LRNGrad", {g.dy(), g.input(0), g.output(0)}, SameAttrs(g, kLrnAttrs));
      });
  with_lrn_attrs(ops.Define("LRNGrad", "The gradient of LRN.")
                     .Input("input_grads", "T")
                     .Input("input_image", "T")
                     .Input("output_image", "T")
                     .Output("output", "T"))
      .Shape(four_dimensions);
}

}  // namespace sluice
