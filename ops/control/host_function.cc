// Calls of functions of the host language, registered under a token in this process.
#include "core/op/shape_context.h"
#include "ops/control/control_ops.h"

namespace sluice {

void DefineHostFunctionOps(OpRegistry& ops) {
  auto define = [&ops](const char* name, const char* summary, uint32_t traits) {
    ops.Define(name, summary)
        .Input("input", "Tin")
        .Output("output", "Tout")
        .Attr("token: string")
        .Attr("Tin: list(type) >= 0")
        .Attr("Tout: list(type) >= 0")
        .Traits(kHostOnly | kNotDifferentiable | traits)
        .Shape([](ShapeContext& c) {
          for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, PartialShape());
          return absl::OkStatus();
        });
  };
  define("PyFunc", "Calls the Python function registered as `token`.", kStateful | kSideEffect);
  define("PyFuncStateless", "As PyFunc, for a function whose result follows from its arguments.", kNoTraits);
}

}  // namespace sluice
