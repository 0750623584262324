// Ops that the runtime makes: users cannot, since their names begin with '_'.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

// A node across devices: half of a pair that the partitioner makes for each (tensor, destination).
OpBuilder DefineTransfer(OpRegistry& ops, const char* name, const char* summary, bool send) {
  OpBuilder b = ops.Define(name, summary);
  if (send) {
    b.Input("tensor", "T").Type("T");
  } else {
    b.Output("tensor", "tensor_type").Type("tensor_type");
  }
  b.Attr("tensor_name: string")
      .Attr("send_device: string")
      .Attr("send_device_incarnation: int")
      .Attr("recv_device: string")
      .Attr("client_terminated: bool = false")
      .Attr("shape: shape = { unknown_rank: true }");
  b.Traits(kStateful | kSideEffect | kNotDifferentiable | (send ? kKeepsInputs : kBlocking));
  b.Shape(send ? NoOutputs() : FromAttr("shape"));
  return b;
}

}  // namespace

void DefineRuntimeOps(OpRegistry& ops) {
  ops.Define("_Arg", "Argument `index` of a function or feed `index` of a step.")
      .Output("output", "T")
      .Type("T")
      .Attr("index: int >= 0")
      .Attr("shape: shape = { unknown_rank: true }")
      .Traits(kStateful | kSource | kCheap | kNotDifferentiable)
      .Shape(FromAttr("shape"));
  ops.Define("_Retval", "Result `index` of a function or fetch `index` of a step.")
      .Input("input", "T")
      .Type("T")
      .Attr("index: int >= 0")
      .Traits(kStateful | kSideEffect | kKeepsInputs | kCheap | kNotDifferentiable)
      .Shape(NoOutputs());
  ops.Define("_ReadRef", "The value of the variable behind a reference, where a tensor is wanted.")
      .Input("ref", "Ref(T)")
      .Output("value", "T")
      .Type("T")
      .Traits(kStateful | kReadsState | kCheap)
      .Shape(SameAs("ref"))
      .Gradient([](GradientScope& g) { g.Into("ref") = g.dy(); });
  ops.Define("_Fused", "Several element-wise ops in one pass over memory; made by the fusion pass.")
      .Input("inputs", "Tin")
      .Output("output", "T")
      .Attr("Tin: list(type) >= 1")
      .Type("T")
      .Attr("program: list(func) >= 1")
      .Attr("operands: list(int) >= 1")
      .Attr("types: list(type) >= 1")
      .Attr("shape: shape = { unknown_rank: true }")
      .Traits(kElementwise | kNotDifferentiable)
      .Shape(FromAttr("shape"))
      .Doc(
          "Instruction i computes program[i] of the values operands[2i] and operands[2i + 1] (-1: it takes one), and "
          "makes value N + i of type types[i]; values 0 to N - 1 are the inputs. The last one is the output.");
  ops.Define("_FusedRows",
             "Element-wise ops and reductions over rows in one pass over memory; made by the row_fusion pass.")
      .Input("inputs", "Tin")
      .Output("output", "T")
      .Attr("Tin: list(type) >= 1")
      .Type("T")
      .Attr("program: list(func) >= 1")
      .Attr("operands: list(int) >= 1")
      .Attr("types: list(type) >= 1")
      .Attr("row: int >= 1")
      .Attr("keep_dims: bool = true")
      .Attr("shape: shape = { unknown_rank: true }")
      .Traits(kNotDifferentiable)
      .Shape(FromAttr("shape"))
      .Doc(
          "As _Fused, of inputs whose last axis has `row` elements or one. An instruction that reduces takes one "
          "operand, and makes one element of each row. Without keep_dims the output has no last axis.");
  ops.Define(
         "_FusedMatMul",
         "A product of matrices and element-wise ops on it in one pass over memory; made by the epilogue_fusion pass.")
      .Input("inputs", "Tin")
      .Output("output", "T")
      .Attr("Tin: list(type) >= 2")
      .Type("T", {DType::kFloat, DType::kDouble})
      .Attr("transpose_a: bool = false")
      .Attr("transpose_b: bool = false")
      .Attr("program: list(func) >= 1")
      .Attr("operands: list(int) >= 1")
      .Attr("types: list(type) >= 1")
      .Attr("shape: shape = { unknown_rank: true }")
      .Traits(kNotDifferentiable)
      .Shape(FromAttr("shape"))
      .Doc(
          "Multiplies inputs 0 and 1. The program is one of _Fused in which the product stands in the place of input "
          "0: "
          "each instruction reads the one before, and input 2 or a later one, which has one element, the product's "
          "columns or its shape.");
  ops.Define("_FusedUpdates", "Updates of several variables by one rule at once; made by the update_fusion pass.")
      .Input("inputs", "Tin")
      .Attr("Tin: list(type) >= 2")
      .Type("T", kFloatingTypes)
      .Attr("op: string")
      .Attr("count: int >= 1")
      .Attr("states: list(string) >= 1")
      .Attr("sources: list(string) >= 1")
      .Attr("use_nesterov: bool = false")
      .Attr("update_slots: bool = true")
      .Traits(kStateful | kReadsState | kWritesState | kSideEffect | kNotDifferentiable)
      .Shape(NoOutputs())
      .Doc(
          "Each of `count` updates is what `op` does. Its inputs are the states in their order and the gradient, one "
          "update after the other; then come the hyper-parameters, in the order of `op`. For messages: the names of "
          "the states, and the node that each update was.");
  DefineTransfer(ops, "_Send", "Hands its input to the _Recv of the same name.", true);
  DefineTransfer(ops, "_HostSend", "As _Send, from host memory.", true);
  DefineTransfer(ops, "_Recv", "Waits for the tensor of the _Send of the same name.", false);
  DefineTransfer(ops, "_HostRecv", "As _Recv, into host memory.", false);
}

}  // namespace sluice
