// Control flow as calls of functions: bodies are functions of the graph's library.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

// The attribute output_shapes, when it gives a shape for each output.
absl::Status ShapesFromAttr(ShapeContext& c) {
  ASSIGN_OR_RETURN(std::vector<PartialShape> shapes, c.Attr<std::vector<PartialShape>>("output_shapes"));
  for (int i = 0; i < c.num_outputs() && shapes.size() == static_cast<size_t>(c.num_outputs()); ++i)
    c.SetOutput(i, shapes[i]);
  return absl::OkStatus();
}

// A loop carries values whose shapes may change unless the attribute says otherwise.
absl::Status LoopShapes(ShapeContext& c) { return ShapesFromAttr(c); }

absl::Status SameTypes(ShapeContext& c, int first_input) {
  for (int i = 0; i < c.num_outputs(); ++i) {
    if (const HandleData* h = c.handle(first_input + i)) c.SetOutputHandle(i, *h);
  }
  return absl::OkStatus();
}

}  // namespace

void DefineFunctionalOps(OpRegistry& ops) {
  for (bool stateful : {false, true}) {
    // Arguments go into a step of their own, so they must not lie in planned memory of the caller's.
    uint32_t traits = kKeepsInputs | (stateful ? kStateful | kSideEffect : kNoTraits);
    ops.Define(stateful ? "StatefulPartitionedCall" : "PartitionedCall",
               "Calls a function, whose body may span devices.")
        .Input("args", "Tin")
        .Output("output", "Tout")
        .Attr("Tin: list(type) >= 0")
        .Attr("Tout: list(type) >= 0")
        .Attr("f: func")
        .Attr("config: string = ''")
        .Attr("config_proto: string = ''")
        .Attr("executor_type: string = ''")
        .Traits(traits)
        .Shape(UnknownShape());
    ops.Define(stateful ? "If" : "StatelessIf", "Calls then_branch or else_branch.")
        .Input("cond", "Tcond")
        .Input("input", "Tin")
        .Output("output", "Tout")
        .Type("Tcond")
        .Attr("Tin: list(type) >= 0")
        .Attr("Tout: list(type) >= 0")
        .Attr("then_branch: func")
        .Attr("else_branch: func")
        .Attr("output_shapes: list(shape) = []")
        .Traits(traits)
        .Shape(ShapesFromAttr);
    ops.Define(stateful ? "Case" : "StatelessCase",
               "Calls branch `branch_index`; the last one when the index is out of range.")
        .Input("branch_index", "int32")
        .Input("input", "Tin")
        .Output("output", "Tout")
        .Attr("Tin: list(type) >= 0")
        .Attr("Tout: list(type) >= 0")
        .Attr("branches: list(func) >= 1")
        .Attr("output_shapes: list(shape) = []")
        .Traits(traits)
        .Shape(ShapesFromAttr);
    ops.Define(stateful ? "While" : "StatelessWhile", "Calls body on its values as long as cond says true.")
        .Input("input", "T")
        .Output("output", "T")
        .Attr("T: list(type) >= 0")
        .Attr("cond: func")
        .Attr("body: func")
        .Attr("output_shapes: list(shape) = []")
        .Attr("parallel_iterations: int = 10")
        .Traits(traits)
        .Shape([](ShapeContext& c) -> absl::Status {
          RETURN_IF_ERROR(LoopShapes(c));
          return SameTypes(c, 0);
        });
  }
}

}  // namespace sluice
