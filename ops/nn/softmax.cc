// Softmax over the last dimension, the cross entropies built on it, and L2Loss.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/expr/expr.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

Out LastAxis(GradientScope& g) { return g.Ints({-1}); }

// x times a vector along dimension 0 of the matrix x.
Out TimesRows(GradientScope& g, Out rows, Out x) { return ExpandDims(rows, g.Int(-1)) * x; }

absl::Status AtLeastVector(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape logits, c.WithRankAtLeast(0, 1));
  c.SetOutput(0, logits);
  return absl::OkStatus();
}

// Both outputs depend on the logits: the loss by `backprop`, and backprop (softmax - labels) by the Jacobian of the
// softmax. The second is there only where somebody differentiated a gradient.
Out LogitsGradient(GradientScope& g) {
  Out logits = g.input(0), backprop = g.output(1);
  Out gradient = g.has_dy(0) ? TimesRows(g, g.dy(0), backprop) : Out();
  if (g.has_dy(1)) {
    Out softmax = Op1("Softmax", logits);
    Out second = (g.dy(1) - Sum(g.dy(1) * softmax, LastAxis(g), true)) * softmax;
    gradient = gradient.valid() ? gradient + second : second;
  }
  return gradient;
}

void DefineSoftmax(OpRegistry& ops) {
  ops.Define("Softmax", "exp(logits) / sum(exp(logits)) over the last dimension.")
      .Input("logits", "T")
      .Output("softmax", "T")
      .Type("T", kFloatingTypes)
      .Shape(AtLeastVector)
      .Gradient([](GradientScope& g) {
        Out dy = g.dy(), y = g.output(0);
        g.Into(0) = (dy - Sum(dy * y, LastAxis(g), true)) * y;
      });
  ops.Define("LogSoftmax", "logits - log(sum(exp(logits))) over the last dimension.")
      .Input("logits", "T")
      .Output("logsoftmax", "T")
      .Type("T", kFloatingTypes)
      .Shape(AtLeastVector)
      .Gradient([](GradientScope& g) {
        Out dy = g.dy();
        g.Into(0) = dy - Sum(dy, LastAxis(g), true) * Exp(g.output(0));
      });
}

}  // namespace

void DefineSoftmaxOps(OpRegistry& ops) {
  DefineSoftmax(ops);
  ops.Define("SoftmaxCrossEntropyWithLogits",
             "-sum(labels * log_softmax(features)) of each row, and its gradient for features.")
      .Input("features", "T")
      .Input("labels", "T")
      .Output("loss", "T")
      .Output("backprop", "T")
      .Type("T", kFloatingTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape features, c.WithRank(0, 2));
        ASSIGN_OR_RETURN(PartialShape labels, c.WithRank(1, 2));
        ASSIGN_OR_RETURN(PartialShape both, BroadcastShapes(features, labels));
        c.SetOutput(0, {both.dim(0)});
        c.SetOutput(1, both);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into(0) = SumToShapeOf(LogitsGradient(g), g.input(0), g.input(1));
        Out labels = g.has_dy(0) ? TimesRows(g, g.dy(0), -Op1("LogSoftmax", g.input(0))) : Out();
        if (g.has_dy(1)) labels = labels.valid() ? labels - g.dy(1) : -g.dy(1);
        g.Into(1) = SumToShapeOf(labels, g.input(1), g.input(0));
      });
  ops.Define("SparseSoftmaxCrossEntropyWithLogits",
             "-log_softmax(features)[label] of each row, and its gradient for features. A label outside [0, classes) "
             "is an error.")
      .Input("features", "T")
      .Input("labels", "Tlabels")
      .Output("loss", "T")
      .Output("backprop", "T")
      .Type("T", kFloatingTypes)
      .Type("Tlabels", kIndexTypes, DType::kInt64)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape features, c.WithRank(0, 2));
        ASSIGN_OR_RETURN(PartialShape labels, c.WithRank(1, 1));
        if (features.dim(0) >= 0 && labels.dim(0) >= 0 && features.dim(0) != labels.dim(0)) {
          return InvalidArgument("features is ", features.ToString(), " but labels is ", labels.ToString(),
                                 ", wanted one label for each row");
        }
        const int64_t batch = features.dim(0) >= 0 ? features.dim(0) : labels.dim(0);
        c.SetOutput(0, {batch});
        c.SetOutput(1, {batch, features.dim(1)});
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) { g.Into(0) = LogitsGradient(g); });
  ops.Define("L2Loss", "Half the sum of the squares of t.")
      .Input("t", "T")
      .Output("output", "T")
      .Type("T", kFloatingTypes)
      .Shape(ScalarShape())
      .Gradient([](GradientScope& g) { g.Into(0) = g.input(0) * g.dy(); });
}

}  // namespace sluice
