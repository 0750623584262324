// Ops that round to the grid of a quantized type and come back, for training with quantization.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

absl::Status ScalarsAfterFirst(ShapeContext& c) {
  for (int i = 1; i < c.num_inputs(); ++i) RETURN_IF_ERROR(WantScalar(c, i, c.op().inputs[i].name));
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, i == 0 ? c.input(0) : ScalarShapeValue());
  return absl::OkStatus();
}

// min and max (inputs `first` and the next) are vectors with an entry for each channel, the last dimension of input 0.
absl::Status PerChannel(ShapeContext& c, int first) {
  ASSIGN_OR_RETURN(PartialShape inputs, c.WithRankAtLeast(0, 1));
  int64_t depth = inputs.known_rank() ? inputs.dim(inputs.rank() - 1) : kUnknownDim;
  for (int i = first; i < first + 2; ++i) {
    ASSIGN_OR_RETURN(const PartialShape v, c.WithRank(i, 1));
    ASSIGN_OR_RETURN(depth, MergeSizes(depth, v.dim(0), "channels and the length of min and max"));
  }
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, i == 0 ? inputs : PartialShape({depth}));
  return absl::OkStatus();
}

void FakeQuantAttrs(OpBuilder& op) { op.Attr("num_bits: int = 8").Attr("narrow_range: bool = false"); }

void DefineFakeQuantVars(OpRegistry& ops, const std::string& name, absl::string_view summary, bool per_channel) {
  OpBuilder forward = ops.Define(name, summary);
  forward.Input("inputs", "float").Input("min", "float").Input("max", "float").Output("outputs", "float");
  FakeQuantAttrs(forward);
  forward.Shape([per_channel](ShapeContext& c) { return per_channel ? PerChannel(c, 1) : ScalarsAfterFirst(c); })
      .Gradient([name](GradientScope& g) {
        const Out dx =
            g.Op(name + "Gradient", {g.dy(), g["inputs"], g["min"], g["max"]},
                 {{"num_bits", g.MustAttr<int64_t>("num_bits")}, {"narrow_range", g.MustAttr<bool>("narrow_range")}});
        for (int i = 0; i < 3 && dx.valid(); ++i) g.Into(i) = dx.output(i);
      });

  OpBuilder backward = ops.Define(name + "Gradient", "The gradients of " + name + " with respect to its inputs.");
  backward.Input("gradients", "float").Input("inputs", "float").Input("min", "float").Input("max", "float");
  backward.Output("backprops_wrt_input", "float")
      .Output("backprop_wrt_min", "float")
      .Output("backprop_wrt_max", "float");
  FakeQuantAttrs(backward);
  backward.Shape([per_channel](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(const PartialShape inputs, c.input(0).MergeWith(c.input(1)));
    if (per_channel) {
      RETURN_IF_ERROR(PerChannel(c, 2));
    } else {
      RETURN_IF_ERROR(WantScalar(c, 2, "min"));
      RETURN_IF_ERROR(WantScalar(c, 3, "max"));
      for (int i = 1; i < 3; ++i) c.SetOutput(i, ScalarShapeValue());
    }
    c.SetOutput(0, inputs);
    return absl::OkStatus();
  });
}

}  // namespace

void DefineQuantizeOps(OpRegistry& ops) {
  constexpr DTypeSet kTypes = kFloatingTypes;
  ops.Define("QuantizeAndDequantize",
             "Rounds to a grid of num_bits between the given, or the found, least and largest element.")
      .Input("input", "T")
      .Output("output", "T")
      .Attr("signed_input: bool = true")
      .Attr("num_bits: int = 8")
      .Attr("range_given: bool = false")
      .Attr("input_min: float = 0")
      .Attr("input_max: float = 0")
      .Type("T", kTypes)
      .Deprecated(22, "Replaced by QuantizeAndDequantizeV2")
      .Shape(SameAs("input"))
      .Gradient(PassTo("input"));

  ops.Define("QuantizeAndDequantizeV2",
             "Rounds to a grid of num_bits between input_min and input_max, or what is found.")
      .Input("input", "T")
      .Input("input_min", "T")
      .Input("input_max", "T")
      .Output("output", "T")
      .Attr("signed_input: bool = true")
      .Attr("num_bits: int = 8")
      .Attr("range_given: bool = false")
      .Type("T", kTypes)
      .Attr("round_mode: {'HALF_TO_EVEN', 'HALF_UP'} = 'HALF_TO_EVEN'")
      .Attr("narrow_range: bool = false")
      .Shape(ScalarsAfterFirst)
      .Gradient(PassTo("input"));

  ops.Define("QuantizeAndDequantizeV3", "As QuantizeAndDequantizeV2, with num_bits an input.")
      .Input("input", "T")
      .Input("input_min", "T")
      .Input("input_max", "T")
      .Input("num_bits", "int32")
      .Output("output", "T")
      .Attr("signed_input: bool = true")
      .Attr("range_given: bool = true")
      .Type("T", kTypes)
      .Attr("narrow_range: bool = false")
      .Shape(ScalarsAfterFirst)
      .Gradient(PassTo("input"));

  OpBuilder args =
      ops.Define("FakeQuantWithMinMaxArgs", "Rounds to the grid of num_bits between min and max, and clamps to it.");
  args.Input("inputs", "float").Output("outputs", "float").Attr("min: float = -6").Attr("max: float = 6");
  FakeQuantAttrs(args);
  args.Shape(SameAs("inputs")).Gradient([](GradientScope& g) {
    g.Into("inputs") = g.Op("FakeQuantWithMinMaxArgsGradient", {g.dy(), g["inputs"]},
                            {{"min", g.MustAttr<float>("min")},
                             {"max", g.MustAttr<float>("max")},
                             {"num_bits", g.MustAttr<int64_t>("num_bits")},
                             {"narrow_range", g.MustAttr<bool>("narrow_range")}});
  });

  OpBuilder args_grad =
      ops.Define("FakeQuantWithMinMaxArgsGradient", "Gradients where the inputs were within the grid.");
  args_grad.Input("gradients", "float").Input("inputs", "float").Output("backprops", "float");
  args_grad.Attr("min: float = -6").Attr("max: float = 6");
  FakeQuantAttrs(args_grad);
  args_grad.Shape(MergeInputs());

  DefineFakeQuantVars(ops, "FakeQuantWithMinMaxVars", "As FakeQuantWithMinMaxArgs, with min and max inputs.", false);
  DefineFakeQuantVars(ops, "FakeQuantWithMinMaxVarsPerChannel",
                      "As FakeQuantWithMinMaxVars, with a range for each channel.", true);
}

}  // namespace sluice
