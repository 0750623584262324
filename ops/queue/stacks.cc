// Stacks: tensors of one step, last in, first out.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/queue/queue_ops.h"

namespace sluice {

void DefineStacks(OpRegistry& ops) {
  for (bool resource : {false, true}) {
    const char* handle = resource ? "resource" : "Ref(string)";
    const char* v = resource ? "V2" : "";
    constexpr uint32_t kChanges = kStateful | kWritesState | kNotDifferentiable | kHostOnly;
    {
      OpBuilder op = ops.Define(absl::StrCat("Stack", v), "A stack that lasts for one step.");
      if (resource) op.Input("max_size", "int32", "Elements it holds; negative: no limit.");
      op.Output("handle", handle);
      op.Attr("elem_type: type").Attr("stack_name: string = ''");
      op.Traits(kStateful | kNotDifferentiable | kHostOnly);
      op.Shape([resource](ShapeContext& c) -> absl::Status {
        c.SetOutput(0, resource ? Shape() : Shape({2}));
        return absl::OkStatus();
      });
    }
    ops.Define(absl::StrCat("StackPush", v), "Puts a tensor on top, and yields it.")
        .Input("handle", handle)
        .Input("elem", "T")
        .Output("output", "T")
        .Type("T")
        .Attr("swap_memory: bool = false")
        .Traits(kChanges | kKeepsInputs)
        .Shape(SameAs("elem"));
    ops.Define(absl::StrCat("StackPop", v), "Takes the tensor on top.")
        .Input("handle", handle)
        .Output("elem", "elem_type")
        .Attr("elem_type: type")
        .Traits(kChanges)
        .Shape(UnknownShape());
    ops.Define(absl::StrCat("StackClose", v), "Empties the stack; it takes no more.")
        .Input("handle", handle)
        .Traits(kChanges | kSideEffect)
        .Shape(NoOutputs());
  }
}

}  // namespace sluice
