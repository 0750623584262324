// Convolutions (grouped when the filter has fewer input channels than the input), depthwise convolutions, and their
// gradients.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "core/op/window.h"
#include "ops/expr/expr.h"
#include "ops/nn/nn_ops.h"
#include "ops/nn/rules.h"

namespace sluice {
namespace {

constexpr char kDilations2[] = "dilations: list(int) = [1, 1, 1, 1]";
constexpr char kDilations3[] = "dilations: list(int) = [1, 1, 1, 1, 1]";

absl::Status CheckChannels(const PartialShape& input, const WindowAttrs& w, int64_t filter_in, int64_t filter_out,
                           bool depthwise) {
  const int64_t channels = input.dim(w.channel_dim());
  if (channels < 0 || filter_in < 0) return absl::OkStatus();
  const bool fits = depthwise ? channels == filter_in : filter_in > 0 && channels % filter_in == 0;
  if (!fits) {
    return InvalidArgument("input ", input.ToString(), " has ", channels, " channels (data_format ",
                           w.channels_first ? "NCHW" : "NHWC", "), but the filter takes ", filter_in);
  }
  const int64_t groups = depthwise ? 1 : channels / filter_in;
  if (groups > 1 && filter_out >= 0 && filter_out % groups != 0) {
    return InvalidArgument("the filter gives ", filter_out, " channels, which ", groups, " groups (", channels, " / ",
                           filter_in, ") do not divide");
  }
  return absl::OkStatus();
}

ShapeRule ForwardShape(int spatial, bool depthwise) {
  return [=](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(WindowAttrs w, ParseWindowAttrs(c.attrs(), spatial));
    ASSIGN_OR_RETURN(PartialShape input, c.WithRank(0, w.rank()));
    ASSIGN_OR_RETURN(PartialShape filter, c.WithRank(1, w.rank()));
    const int64_t filter_in = filter.dim(spatial), filter_out = filter.dim(spatial + 1);
    RETURN_IF_ERROR(CheckChannels(input, w, filter_in, filter_out, depthwise));
    std::vector<int64_t> sizes;
    for (int i = 0; i < spatial; ++i) {
      ASSIGN_OR_RETURN(WindowAxis axis, w.Axis(i, input.dim(w.spatial_dim(i)), filter.dim(i)));
      sizes.push_back(axis.output);
    }
    int64_t channels = filter_out;
    if (depthwise) {
      int64_t in = filter_in >= 0 ? filter_in : input.dim(w.channel_dim());
      channels = MultiplyWithoutOverflow(in, filter_out);
    }
    c.SetOutput(0, w.MakeShape(input.dim(0), sizes, channels));
    return absl::OkStatus();
  };
}

// The gradient for the input, or the filter: its shape is given by input `sizes`.
ShapeRule BackpropShape(int spatial, int sizes, int other) {
  return [=](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(WindowAttrs w, ParseWindowAttrs(c.attrs(), spatial));
    RETURN_IF_ERROR(c.WithRank(other, w.rank()).status());
    RETURN_IF_ERROR(c.WithRank(2, w.rank()).status());
    ASSIGN_OR_RETURN(PartialShape shape, c.InputAsShape(sizes));
    if (!shape.known_rank()) shape = PartialShape::UnknownDims(w.rank());
    if (shape.rank() != w.rank()) {
      return InvalidArgument(c.op().inputs[sizes].name, " has ", shape.rank(), " elements, wanted ", w.rank());
    }
    c.SetOutput(0, shape);
    return absl::OkStatus();
  };
}

// The three ops that differentiate into one another.
struct Family {
  const char* forward;
  const char* backprop_input;
  const char* backprop_filter;
};
const std::initializer_list<absl::string_view> kConvAttrs = {"strides",     "padding",          "explicit_paddings",
                                                             "data_format", "use_cudnn_on_gpu", "dilations"};

void DefineFamily(OpRegistry& ops, Family f, int spatial, bool depthwise, std::vector<absl::string_view> attrs,
                  bool sizes_typed) {
  auto with_attrs = [&attrs](OpBuilder b) {
    for (absl::string_view a : attrs) b.Attr(a);
    return b;
  };
  const char* kind = depthwise ? "depthwise convolution" : "convolution";
  with_attrs(ops.Define(f.forward, absl::StrCat("The ", kind, " of input with filter."))
                 .Input("input", "T")
                 .Input("filter", "T")
                 .Output("output", "T")
                 .Type("T", kFloatingTypes))
      .Shape(ForwardShape(spatial, depthwise))
      .Gradient([f](GradientScope& g) {
        const AttrMap a = SameAttrs(g, kConvAttrs);
        Out x = g.input(0), filter = g.input(1), dy = g.dy();
        g.Into(0) = g.Op(f.backprop_input, {ShapeOf(x), filter, dy}, a);
        g.Into(1) = g.Op(f.backprop_filter, {x, ShapeOf(filter), dy}, a);
      });
  OpBuilder input_grad =
      with_attrs(ops.Define(f.backprop_input, absl::StrCat("The gradient of a ", kind, " for its input."))
                     .Input("input_sizes", sizes_typed ? "Tshape" : "int32")
                     .Input("filter", "T")
                     .Input("out_backprop", "T")
                     .Output("output", "T")
                     .Type("T", kFloatingTypes));
  if (sizes_typed) input_grad.Type("Tshape", kIndexTypes, DType::kInt32);
  input_grad.Shape(BackpropShape(spatial, 0, 1)).Gradient([f](GradientScope& g) {
    const AttrMap a = SameAttrs(g, kConvAttrs);
    Out filter = g.input(1), dy = g.input(2), ddx = g.dy();
    g.Into(1) = g.Op(f.backprop_filter, {ddx, ShapeOf(filter), dy}, a);
    g.Into(2) = g.Op(f.forward, {ddx, filter}, a);
  });
  with_attrs(ops.Define(f.backprop_filter, absl::StrCat("The gradient of a ", kind, " for its filter."))
                 .Input("input", "T")
                 .Input("filter_sizes", "int32")
                 .Input("out_backprop", "T")
                 .Output("output", "T")
                 .Type("T", kFloatingTypes))
      .Shape(BackpropShape(spatial, 1, 0))
      .Gradient([f](GradientScope& g) {
        const AttrMap a = SameAttrs(g, kConvAttrs);
        Out x = g.input(0), dy = g.input(2), ddw = g.dy();
        g.Into(0) = g.Op(f.backprop_input, {ShapeOf(x), ddw, dy}, a);
        g.Into(2) = g.Op(f.forward, {x, ddw}, a);
      });
}

}  // namespace

void DefineConvOps(OpRegistry& ops) {
  DefineFamily(ops, {"Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"}, 2, false,
               {"strides: list(int)", "use_cudnn_on_gpu: bool = true", "padding: {'SAME', 'VALID', 'EXPLICIT'}",
                "explicit_paddings: list(int) = []", kFormat2, kDilations2},
               /*sizes_typed=*/false);
  DefineFamily(
      ops, {"DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"}, 2,
      true, {"strides: list(int)", "padding: {'SAME', 'VALID'}", kFormat2, kDilations2}, /*sizes_typed=*/false);
  DefineFamily(ops, {"Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"}, 3, false,
               {"strides: list(int) >= 5", "padding: {'SAME', 'VALID'}", kFormat3, kDilations3}, /*sizes_typed=*/true);
}

}  // namespace sluice
