// Nodes without data inputs.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

absl::Status ConstShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(Tensor value, c.Attr<Tensor>("value"));
  ASSIGN_OR_RETURN(DType dtype, c.Attr<DType>("dtype"));
  if (value.dtype() != dtype) {
    return InvalidArgument("attribute 'value' is ", DTypeName(value.dtype()), ", attribute 'dtype' says ",
                           DTypeName(dtype));
  }
  c.SetOutput(0, value.shape());
  return absl::OkStatus();
}

// Graphs of producers before version 24 wrote the shape [] for "not known".
absl::Status PlaceholderShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape s, c.Attr<PartialShape>("shape"));
  c.SetOutput(0, std::move(s));
  return absl::OkStatus();
}

}  // namespace

void DefineSourceOps(OpRegistry& ops) {
  ops.Define("NoOp", "Does nothing: a point for control edges.").Traits(kCheap).Shape(NoOutputs());
  ops.Define("ControlTrigger", "Does nothing, and runs although what it waits for was not taken.")
      .Traits(kCheap)
      .Shape(NoOutputs());
  ops.Define("Const", "A constant tensor.")
      .Output("output", "dtype")
      .Attr("value: tensor")
      .Attr("dtype: type")
      .Traits(kConstant | kCheap | kNotDifferentiable)
      .Shape(ConstShape);
  for (const char* name : {"Placeholder", "PlaceholderV2"}) {
    OpBuilder b = ops.Define(name, "A tensor that each step must feed.");
    b.Output("output", "dtype").Attr("dtype: type");
    b.Attr(std::string(name) == "Placeholder" ? "shape: shape = { unknown_rank: true }" : "shape: shape");
    b.Traits(kSource | kCheap | kNotDifferentiable).Shape(PlaceholderShape);
    if (std::string(name) == "PlaceholderV2") b.Deprecated(23, "Placeholder now behaves the same as PlaceholderV2.");
  }
  ops.Define("PlaceholderWithDefault", "A tensor that a step may feed; else its input passes through.")
      .Input("input", "dtype")
      .Output("output", "dtype")
      .Attr("dtype: type")
      .Attr("shape: shape")
      .Traits(kMayAlias | kCheap | kSource)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape shape, c.Attr<PartialShape>("shape"));
        // The shape may be less specific than the default, never contradict it.
        RETURN_IF_ERROR(shape.MergeWith(c.input(0)).status());
        c.SetOutput(0, std::move(shape));
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) { g.Into("input") = g.dy(); });
}

}  // namespace sluice
