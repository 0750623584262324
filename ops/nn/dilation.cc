// Grey-scale dilation: the largest sum of input and filter in each window, for each channel.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "core/op/window.h"
#include "ops/nn/nn_ops.h"
#include "ops/nn/rules.h"

namespace sluice {
namespace {

const std::initializer_list<absl::string_view> kAttrs = {"strides", "rates", "padding"};

OpBuilder WithAttrs(OpBuilder b) {
  b.Type("T", kRealTypes)
      .Attr("strides: list(int) >= 4")
      .Attr("rates: list(int) >= 4")
      .Attr("padding: {'SAME', 'VALID'}");
  return b;
}

// The dilated image of inputs 0 and 1.
absl::StatusOr<PartialShape> Dilated(ShapeContext& c) {
  ASSIGN_OR_RETURN(WindowAttrs w, ParseWindowAttrs(c.attrs(), 2));
  ASSIGN_OR_RETURN(PartialShape input, c.WithRank(0, 4));
  ASSIGN_OR_RETURN(PartialShape filter, c.WithRank(1, 3));
  if (input.dim(3) >= 0 && filter.dim(2) >= 0 && input.dim(3) != filter.dim(2)) {
    return InvalidArgument("input ", input.ToString(), " has ", input.dim(3), " channels, but the filter ",
                           filter.ToString(), " has ", filter.dim(2));
  }
  std::vector<int64_t> sizes;
  for (int i = 0; i < 2; ++i) {
    ASSIGN_OR_RETURN(WindowAxis axis, w.Axis(i, input.dim(i + 1), filter.dim(i)));
    sizes.push_back(axis.output);
  }
  return w.MakeShape(input.dim(0), sizes, input.dim(3) >= 0 ? input.dim(3) : filter.dim(2));
}

ShapeRule GradShape(int like) {
  return [like](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape dilated, Dilated(c));
    if (!dilated.IsCompatibleWith(c.input(2))) {
      return InvalidArgument("out_backprop is ", c.input(2).ToString(), ", wanted ", dilated.ToString());
    }
    c.SetOutput(0, c.input(like));
    return absl::OkStatus();
  };
}

}  // namespace

void DefineDilationOps(OpRegistry& ops) {
  WithAttrs(ops.Define("Dilation2D", "max(input + filter) over each window, for each channel.")
                .Input("input", "T")
                .Input("filter", "T")
                .Output("output", "T"))
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape dilated, Dilated(c));
        c.SetOutput(0, dilated);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        const std::vector<Out> inputs = {g.input(0), g.input(1), g.dy()};
        g.Into(0) = g.Op("Dilation2DBackpropInput", inputs, SameAttrs(g, kAttrs));
        g.Into(1) = g.Op("Dilation2DBackpropFilter", inputs, SameAttrs(g, kAttrs));
      });
  for (int like : {0, 1}) {
    WithAttrs(ops.Define(like == 0 ? "Dilation2DBackpropInput" : "Dilation2DBackpropFilter",
                         like == 0 ? "The gradient of Dilation2D for its input."
                                   : "The gradient of Dilation2D for its filter.")
                  .Input("input", "T")
                  .Input("filter", "T")
                  .Input("out_backprop", "T")
                  .Output(like == 0 ? "in_backprop" : "filter_backprop", "T"))
        .Shape(GradShape(like));
  }
}

}  // namespace sluice
