// Max and average pooling over windows, in two and three dimensions, with gradients of first and second order.
#include <optional>

#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "core/op/window.h"
#include "ops/expr/expr.h"
#include "ops/nn/nn_ops.h"
#include "ops/nn/rules.h"

namespace sluice {
namespace {

constexpr char kPadding[] = "padding: {'SAME', 'VALID'}";
const std::initializer_list<absl::string_view> kPoolAttrs = {"ksize", "strides", "padding", "data_format",
                                                             "include_batch_in_index"};

OpBuilder WindowAttributes(OpBuilder b, int spatial) {
  const int rank = spatial + 2;
  b.Attr(absl::StrCat("ksize: list(int) >= ", rank)).Attr(absl::StrCat("strides: list(int) >= ", rank)).Attr(kPadding);
  return b;
}

// The window of an op whose ksize and strides are inputs; nullopt while they are not known.
absl::StatusOr<std::optional<WindowAttrs>> Window(ShapeContext& c, int spatial, int ksize_input) {
  ASSIGN_OR_RETURN(WindowAttrs w, ParseWindowAttrs(c.attrs(), spatial));
  if (ksize_input < 0) return std::optional<WindowAttrs>(w);
  auto ksize = c.ints(ksize_input), strides = c.ints(ksize_input + 1);
  if (!ksize || !strides) return std::optional<WindowAttrs>();
  RETURN_IF_ERROR(SetPoolWindow(*ksize, *strides, &w));
  return std::optional<WindowAttrs>(w);
}

absl::StatusOr<PartialShape> Pooled(const WindowAttrs& w, const PartialShape& input) {
  std::vector<int64_t> sizes;
  for (int i = 0; i < w.spatial; ++i) {
    ASSIGN_OR_RETURN(WindowAxis axis, w.PoolAxis(i, input.dim(w.spatial_dim(i))));
    sizes.push_back(axis.output);
  }
  ASSIGN_OR_RETURN(int64_t channels, PoolChannels(w, input.dim(w.channel_dim())));
  return w.MakeShape(input.dim(0), sizes, channels);
}

// Every output is what pooling makes of input 0. `over_channels`: windows may span channels.
ShapeRule PoolShape(int spatial, bool over_channels, int ksize_input = -1) {
  return [=](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape input, c.WithRank(0, spatial + 2));
    ASSIGN_OR_RETURN(std::optional<WindowAttrs> w, Window(c, spatial, ksize_input));
    PartialShape out = PartialShape::UnknownDims(spatial + 2);
    if (w) {
      if (!over_channels && (w->ksize[w->channel_dim()] != 1 || w->strides[w->channel_dim()] != 1)) {
        return InvalidArgument("ksize and strides are above 1 for channels, which ", c.op().name, " does not span");
      }
      ASSIGN_OR_RETURN(out, Pooled(*w, input));
    }
    for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, out);
    return absl::OkStatus();
  };
}

// The gradient has the shape of input 0 (the pooled values), and `grad` the pooled shape.
ShapeRule PoolGradShape(int spatial, int grad, int ksize_input = -1) {
  return [=](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape input, c.WithRank(0, spatial + 2));
    RETURN_IF_ERROR(c.WithRank(grad, spatial + 2).status());
    ASSIGN_OR_RETURN(std::optional<WindowAttrs> w, Window(c, spatial, ksize_input));
    if (w) {
      ASSIGN_OR_RETURN(PartialShape pooled, Pooled(*w, input));
      if (!pooled.IsCompatibleWith(c.input(grad))) {
        return InvalidArgument(c.op().inputs[grad].name, " is ", c.input(grad).ToString(), ", wanted ",
                               pooled.ToString());
      }
    }
    c.SetOutput(0, input);
    return absl::OkStatus();
  };
}

// The second-order gradient has the pooled shape; the incoming gradient (input 2) has the shape of input 0.
ShapeRule PoolGradGradShape(int spatial, int ksize_input = -1) {
  return [=](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape input, c.WithRank(0, spatial + 2));
    ASSIGN_OR_RETURN(std::optional<WindowAttrs> w, Window(c, spatial, ksize_input));
    PartialShape out = PartialShape::UnknownDims(spatial + 2);
    if (w) {
      ASSIGN_OR_RETURN(out, Pooled(*w, input));
    }
    c.SetOutput(0, out);
    return absl::OkStatus();
  };
}

// The largest value of a window keeps its place: gradients go there and come from there.
void DefineMaxPool(OpRegistry& ops, int spatial) {
  const std::string name = spatial == 3 ? "MaxPool3D" : "MaxPool";
  const char* format = spatial == 3 ? kFormat3 : kFormat2;
  const DTypeSet types = spatial == 3 ? kFloatingTypes : kRealTypes | DTypeSet{DType::kQint8};
  const std::string grad = name + "Grad", grad_grad = name + "GradGrad";
  WindowAttributes(ops.Define(name, "The largest value in each window.").Input("input", "T").Output("output", "T"),
                   spatial)
      .Attr(spatial == 3 ? format : "data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'")
      .Type("T", types, spatial == 3 ? DType::kInvalid : DType::kFloat)
      .Shape(PoolShape(spatial, true))
      .Gradient([grad](GradientScope& g) {
        g.Into(0) = g.Op(grad, {g.input(0), g.output(0), g.dy()}, SameAttrs(g, kPoolAttrs));
      });
  OpBuilder first = WindowAttributes(ops.Define(grad, "Adds grad at the place of the largest value of each window.")
                                         .Input("orig_input", spatial == 3 ? "TInput" : "T")
                                         .Input("orig_output", spatial == 3 ? "TInput" : "T")
                                         .Input("grad", "T")
                                         .Output("output", "T"),
                                     spatial);
  if (spatial == 3) first.Type("TInput", kFloatingTypes, DType::kFloat);
  first.Attr(format)
      .Type("T", spatial == 3 ? kFloatingTypes : kRealTypes, DType::kFloat)
      .Shape(PoolGradShape(spatial, 2))
      .Gradient([grad_grad](GradientScope& g) {
        g.Into(0) = ZerosLike(g.input(0));
        g.Into(1) = ZerosLike(g.input(1));
        g.Into(2) = g.Op(grad_grad, {g.input(0), g.input(1), g.dy()}, SameAttrs(g, kPoolAttrs));
      });
  WindowAttributes(ops.Define(grad_grad, "Takes grad from the place of the largest value of each window.")
                       .Input("orig_input", "T")
                       .Input("orig_output", "T")
                       .Input("grad", "T")
                       .Output("output", "T"),
                   spatial)
      .Attr(format)
      .Type("T", kRealTypes)
      .Shape(PoolGradGradShape(spatial))
      .Gradient([grad](GradientScope& g) {
        g.Into(0) = ZerosLike(g.input(0));
        g.Into(1) = ZerosLike(g.input(1));
        g.Into(2) = g.Op(grad, {g.input(0), g.input(1), g.dy()}, SameAttrs(g, kPoolAttrs));
      });
}

// ksize and strides as inputs.
void DefineMaxPoolV2(OpRegistry& ops) {
  ops.Define("MaxPoolV2", "The largest value in each window; the window's size and steps are inputs.")
      .Input("input", "T")
      .Input("ksize", "int32")
      .Input("strides", "int32")
      .Output("output", "T")
      .Type("T", kRealTypes | DTypeSet{DType::kQint8}, DType::kFloat)
      .Attr(kPadding)
      .Attr("data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'")
      .Shape(PoolShape(2, true, 1))
      .Gradient([](GradientScope& g) {
        g.Into(0) =
            g.Op("MaxPoolGradV2", {g.input(0), g.output(0), g.dy(), g.input(1), g.input(2)}, SameAttrs(g, kPoolAttrs));
      });
  auto define_grad = [&ops](absl::string_view name, absl::string_view summary, ShapeRule shape, DType default_type,
                            std::string next) {
    ops.Define(name, summary)
        .Input("orig_input", "T")
        .Input("orig_output", "T")
        .Input("grad", "T")
        .Input("ksize", "int32")
        .Input("strides", "int32")
        .Output("output", "T")
        .Attr(kPadding)
        .Attr(kFormat2)
        .Type("T", kRealTypes, default_type)
        .Shape(std::move(shape))
        .Gradient([next](GradientScope& g) {
          g.Into(0) = ZerosLike(g.input(0));
          g.Into(1) = ZerosLike(g.input(1));
          g.Into(2) = g.Op(next, {g.input(0), g.input(1), g.dy(), g.input(3), g.input(4)}, SameAttrs(g, kPoolAttrs));
        });
  };
  define_grad("MaxPoolGradV2", "Adds grad at the place of the largest value of each window.", PoolGradShape(2, 2, 3),
              DType::kFloat, "MaxPoolGradGradV2");
  define_grad("MaxPoolGradGradV2", "Takes grad from the place of the largest value of each window.",
              PoolGradGradShape(2, 3), DType::kInvalid, "MaxPoolGradV2");
}

// NHWC only, with the places of the largest values as flat indices ((y * width + x) * channels + c, batch included when
// asked).
void DefineMaxPoolWithArgmax(OpRegistry& ops) {
  static constexpr char kBatch[] = "include_batch_in_index: bool = false";
  WindowAttributes(ops.Define("MaxPoolWithArgmax", "The largest value in each window, and its flat index.")
                       .Input("input", "T")
                       .Output("output", "T")
                       .Output("argmax", "Targmax")
                       .Type("T", kRealTypes)
                       .Type("Targmax", kIndexTypes, DType::kInt64),
                   2)
      .Attr(kBatch)
      .Shape(PoolShape(2, false))
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("MaxPoolGradWithArgmax", {g.input(0), g.dy(), g.output(1)}, SameAttrs(g, kPoolAttrs));
      });
  auto define_grad = [&ops](absl::string_view name, absl::string_view summary, ShapeRule shape, std::string next) {
    WindowAttributes(ops.Define(name, summary)
                         .Input("input", "T")
                         .Input("grad", "T")
                         .Input("argmax", "Targmax")
                         .Output("output", "T")
                         .Type("T", kRealTypes)
                         .Type("Targmax", kIndexTypes),
                     2)
        .Attr(kBatch)
        .Shape(std::move(shape))
        .Gradient([next](GradientScope& g) {
          g.Into(0) = ZerosLike(g.input(0));
          g.Into(1) = g.Op(next, {g.input(0), g.dy(), g.input(2)}, SameAttrs(g, kPoolAttrs));
        });
  };
  define_grad("MaxPoolGradWithArgmax", "Adds grad at the flat indices argmax.", PoolGradShape(2, 1),
              "MaxPoolGradGradWithArgmax");
  define_grad("MaxPoolGradGradWithArgmax", "Takes grad from the flat indices argmax.", PoolGradGradShape(2),
              "MaxPoolGradWithArgmax");
}

void DefineAvgPool(OpRegistry& ops, int spatial) {
  const std::string name = spatial == 3 ? "AvgPool3D" : "AvgPool";
  const char* format = spatial == 3 ? kFormat3 : kFormat2;
  const std::string grad = name + "Grad";
  WindowAttributes(ops.Define(name, "The mean of each window; padding does not count.")
                       .Input(spatial == 3 ? "input" : "value", "T")
                       .Output("output", "T"),
                   spatial)
      .Attr(format)
      .Type("T", kFloatingTypes)
      .Shape(PoolShape(spatial, false))
      .Gradient([grad](GradientScope& g) {
        g.Into(0) = g.Op(grad, {ShapeOf(g.input(0)), g.dy()}, SameAttrs(g, kPoolAttrs));
      });
  WindowAttributes(ops.Define(grad, "Spreads grad evenly over each window.")
                       .Input("orig_input_shape", "int32")
                       .Input("grad", "T")
                       .Output("output", "T"),
                   spatial)
      .Attr(format)
      .Type("T", kFloatingTypes)
      .Shape([spatial](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(ParseWindowAttrs(c.attrs(), spatial).status());
        RETURN_IF_ERROR(c.WithRank(1, spatial + 2).status());
        ASSIGN_OR_RETURN(PartialShape shape, c.InputAsShape(0));
        if (!shape.known_rank()) shape = PartialShape::UnknownDims(spatial + 2);
        if (shape.rank() != spatial + 2) {
          return InvalidArgument("orig_input_shape has ", shape.rank(), " elements, wanted ", spatial + 2);
        }
        c.SetOutput(0, shape);
        return absl::OkStatus();
      })
      .Gradient([name](GradientScope& g) { g.Into(1) = g.Op(name, {g.dy()}, SameAttrs(g, kPoolAttrs)); });
}

}  // namespace

void DefinePoolOps(OpRegistry& ops) {
  DefineMaxPool(ops, 2);
  DefineMaxPool(ops, 3);
  DefineMaxPoolV2(ops);
  DefineMaxPoolWithArgmax(ops);
  DefineAvgPool(ops, 2);
  DefineAvgPool(ops, 3);
}

}  // namespace sluice
