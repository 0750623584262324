// Ops that look at values while a step runs.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/control/control_ops.h"

namespace sluice {

void DefineCheckOps(OpRegistry& ops) {
  ops.Define("Assert", "Ends the step with INVALID_ARGUMENT and shows `data` when `condition` is false.")
      .Input("condition", "bool")
      .Input("data", "T")
      .Attr("T: list(type) >= 1")
      .Attr("summarize: int = 3")
      .Traits(kStateful | kSideEffect | kHostOnly | kNotDifferentiable)
      .Shape([](ShapeContext& c) -> absl::Status {
        if (c.input(0).known_rank() && c.input(0).rank() != 0) {
          return InvalidArgument("condition must be a scalar, found shape ", c.input(0).ToString());
        }
        return absl::OkStatus();
      });
  ops.Define("Print", "Its input; prints `data` to standard error on the way.")
      .Input("input", "T")
      .Input("data", "U")
      .Output("output", "T")
      .Type("T")
      .Attr("U: list(type) >= 0")
      .Attr("message: string = ''")
      .Attr("first_n: int = -1")
      .Attr("summarize: int = 3")
      .Traits(kStateful | kSideEffect | kMayAlias | kHostOnly)
      .Shape(SameAs("input"))
      .Gradient([](GradientScope& g) { g.Into("input") = g.dy(); });
  ops.Define("PrintV2", "Prints a string to a stream of the process, or to a file (file://PATH, appended).")
      .Input("input", "string")
      .Attr("output_stream: string = 'stderr'")
      .Attr("end: string = '\n'")
      .Traits(kStateful | kSideEffect | kHostOnly | kNotDifferentiable)
      .Shape(NoOutputs());
  ops.Define("CheckNumerics", "Its input; INVALID_ARGUMENT with `message` when an element is infinite or not a number.")
      .Input("tensor", "T")
      .Output("output", "T")
      .Type("T", kFloatingTypes)
      .Attr("message: string")
      .Traits(kMayAlias | kSideEffect)
      .Shape(SameAs("tensor"))
      .Gradient([](GradientScope& g) {
        g.Into("tensor") =
            g.Op("CheckNumerics", {g.dy()}, {{"message", "gradient of: " + g.MustAttr<std::string>("message")}});
      });
  ops.Define("Timestamp", "Seconds since 1970, when it runs.")
      .Output("ts", "double")
      .Traits(kStateful | kNotDifferentiable)
      .Shape(ScalarShape());
  ops.Define("Abort", "Ends the step with ABORTED and `error_msg`.")
      .Attr("error_msg: string = ''")
      .Attr("exit_without_error: bool = false")
      .Traits(kStateful | kSideEffect)
      .Shape(NoOutputs());
}

}  // namespace sluice
