// Activations and their gradients. An activation whose gradient is simplest in terms of its result (Relu, Elu, Selu)
// keeps the result; the others keep their argument.
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/expr/expr.h"
#include "ops/nn/nn_ops.h"
#include "ops/nn/rules.h"

namespace sluice {
namespace {

OpBuilder Activation(OpRegistry& ops, absl::string_view name, absl::string_view summary, DTypeSet types,
                     DType default_type = DType::kInvalid) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("features", "T")
      .Output("activations", "T")
      .Type("T", types, default_type)
      .Traits(kElementwise)
      .Shape(SameAs("features"));
  return b;
}

// `with` is what the gradient is computed from: "features" or "outputs".
OpBuilder ActivationGrad(OpRegistry& ops, absl::string_view name, absl::string_view summary, absl::string_view with,
                         DTypeSet types, DType default_type = DType::kInvalid) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("gradients", "T").Input(with, "T").Output("backprops", "T").Type("T", types, default_type);
  b.Traits(kElementwise).Shape(MergeInputs());
  return b;
}

void DefineRelus(OpRegistry& ops) {
  Activation(ops, "Relu", "max(features, 0), element by element; NaN stays NaN.", kRealTypes | DTypeSet{DType::kQint8})
      .Traits(kMonotone)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("ReluGrad", {g.dy(), g.output(0)});
      });
  ActivationGrad(ops, "ReluGrad", "The gradients where features > 0, else 0.", "features", kRealTypes)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("ReluGrad", {g.dy(), g.input(1)});
        g.Into(1) = ZerosLike(g.input(1));
      });
  Activation(ops, "Relu6", "min(max(features, 0), 6), element by element.", kRealTypes)
      .Traits(kMonotone)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("Relu6Grad", {g.dy(), g.output(0)});
      });
  ActivationGrad(ops, "Relu6Grad", "The gradients where 0 < features < 6, else 0.", "features", kRealTypes)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("Relu6Grad", {g.dy(), g.input(1)});
        g.Into(1) = ZerosLike(g.input(1));
      });
  Activation(ops, "LeakyRelu", "features where positive, else alpha * features.", kFloatingTypes, DType::kFloat)
      .Attr("alpha: float = 0.2")
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("LeakyReluGrad", {g.dy(), g.input(0)}, SameAttrs(g, {"alpha"}));
      });
  ActivationGrad(ops, "LeakyReluGrad", "The gradients where features > 0, else alpha * gradients.", "features",
                 kFloatingTypes, DType::kFloat)
      .Attr("alpha: float = 0.2")
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("LeakyReluGrad", {g.dy(), g.input(1)}, SameAttrs(g, {"alpha"}));
        g.Into(1) = ZerosLike(g.input(1));
      });
}

// d/dx of grad(g, y(x)) for Elu and Selu: their slope below zero is y plus a constant, so it changes as fast as y does.
void ExponentialSecondOrder(GradientScope& g, absl::string_view grad_op) {
  Out outputs = g.input(1);
  g.Into(0) = g.Op(grad_op, {g.dy(), outputs});
  Out bend = g.dy() * g.input(0);
  g.Into(1) = Select(Less(outputs, ZerosLike(outputs)), bend, ZerosLike(bend));
}

void DefineExponentialUnits(OpRegistry& ops) {
  Activation(ops, "Elu", "features where positive, else exp(features) - 1.", kFloatingTypes)
      .Traits(kMonotone)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("EluGrad", {g.dy(), g.output(0)});
      });
  ActivationGrad(ops, "EluGrad", "gradients * (outputs + 1) where outputs < 0, else gradients.", "outputs",
                 kFloatingTypes)
      .Gradient([](GradientScope& g) { ExponentialSecondOrder(g, "EluGrad"); });
  Activation(ops, "Selu",
             "scale * features where positive, else scale * alpha * (exp(features) - 1); Klambauer et al. 2017.",
             kFloatingTypes)
      .Traits(kMonotone)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("SeluGrad", {g.dy(), g.output(0)});
      });
  ActivationGrad(ops, "SeluGrad", "gradients * (outputs + scale * alpha) where outputs < 0, else gradients * scale.",
                 "outputs", kFloatingTypes)
      .Gradient([](GradientScope& g) { ExponentialSecondOrder(g, "SeluGrad"); });
}

void DefineSoftUnits(OpRegistry& ops) {
  Activation(ops, "Softplus", "log(1 + exp(features)), element by element, safe for large |features|.", kFloatingTypes)
      .Traits(kMonotone)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("SoftplusGrad", {g.dy(), g.input(0)});
      });
  ActivationGrad(ops, "SoftplusGrad", "gradients * sigmoid(features).", "features", kFloatingTypes)
      .Gradient([](GradientScope& g) {
        Out dy = g.input(0), x = g.input(1);
        Out s = Sigmoid(x);
        g.Into(0) = g.Op("SoftplusGrad", {g.dy(), x});
        g.Into(1) = g.dy() * dy * s * (1.0 - s);
      });
  Activation(ops, "Softsign", "features / (|features| + 1), element by element.", kFloatingTypes)
      .Traits(kMonotone)
      .Gradient([](GradientScope& g) {
        g.Into(0) = g.Op("SoftsignGrad", {g.dy(), g.input(0)});
      });
  ActivationGrad(ops, "SoftsignGrad", "gradients / (|features| + 1)^2.", "features", kFloatingTypes)
      .Gradient([](GradientScope& g) {
        Out dy = g.input(0), x = g.input(1);
        Out once = g.Op("SoftsignGrad", {g.dy(), x});
        g.Into(0) = once;
        g.Into(1) = -2.0 * (once * dy * Sign(x) / (Op1("Abs", x) + 1.0));
      });
}

}  // namespace

void DefineActivationOps(OpRegistry& ops) {
  DefineRelus(ops);
  DefineExponentialUnits(ops);
  DefineSoftUnits(ops);
}

}  // namespace sluice
