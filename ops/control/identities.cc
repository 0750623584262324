// Nodes that pass their inputs through.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

// Shapes, known elements and what is behind handles all pass through.
absl::Status PassThrough(ShapeContext& c) {
  for (int i = 0; i < c.num_outputs(); ++i) {
    c.SetOutput(i, c.input(i));
    if (const HandleData* h = c.handle(i)) c.SetOutputHandle(i, *h);
  }
  return absl::OkStatus();
}

void PassValues(ShapeContext& c) {
  for (int i = 0; i < c.num_outputs(); ++i) {
    std::optional<PartialValue> v = IsInteger(c.input_type(i)) ? c.value(i) : std::nullopt;
    if (v) c.SetOutputValue(i, *std::move(v));
  }
}

void PassGradients(GradientScope& g) {
  for (int i = 0; i < g.node()->num_inputs(); ++i) {
    if (!g.has_dy(i)) continue;
    const Grad& dy = g.grad(i);
    if (dy.is_sparse()) {
      g.dxs()[i] = dy;
    } else {
      g.Into(i) = g.dy(i);
    }
  }
}

OpBuilder DefinePass(OpRegistry& ops, const char* name, const char* summary, const char* output = "output") {
  OpBuilder b = ops.Define(name, summary);
  b.Input("input", "T")
      .Output(output, "T")
      .Type("T")
      .Traits(kMayAlias | kIdentity | kCheap)
      .Shape(PassThrough)
      .Value(PassValues);
  return b;
}

}  // namespace

void DefineIdentityOps(OpRegistry& ops) {
  DefinePass(ops, "Identity", "Its input.").Gradient(PassGradients);
  DefinePass(ops, "Snapshot", "Its input as it is now.").Gradient(PassGradients);
  DefinePass(ops, "StopGradient", "Its input; gradients take it for a constant.").NotDifferentiable();
  DefinePass(ops, "GuaranteeConst", "Its input, promised to be the same in every step.").NotDifferentiable();
  DefinePass(ops, "PreventGradient", "Its input; asking for gradients through it is an error.")
      .Attr("message: string = ''")
      .Gradient([](GradientScope& g) -> absl::Status {
        return absl::FailedPreconditionError(absl::StrCat("a gradient through ", g.node()->info().Describe(),
                                                          " was asked for: ", g.MustAttr<std::string>("message")));
      });
  ops.Define("IdentityN", "Its inputs.")
      .Input("input", "T")
      .Output("output", "T")
      .Attr("T: list(type) >= 1")
      .Traits(kMayAlias | kCheap)
      .Shape(PassThrough)
      .Value(PassValues)
      .Gradient(PassGradients);
  ops.Define("RefIdentity", "Its input, a reference.")
      .Input("input", "Ref(T)")
      .Output("output", "Ref(T)")
      .Type("T")
      .Traits(kMayAlias | kCheap | kAllowsUninitialized)
      .Shape(PassThrough)
      .Gradient(PassGradients);
}

}  // namespace sluice
