// Gradient accumulators: sums of gradients of one step, taken when enough have arrived; late ones are dropped.
//
// Beside TensorFlow's attributes AccumulatorApplyGradient and SparseAccumulatorApplyGradient may carry `_replica`, an
// integer that says whose gradient it is. Such gradients are kept apart, one for each replica and step, and added in
// the order of the replicas, so that the sum does not depend on who came first.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/queue/queue_ops.h"

namespace sluice {
namespace {

constexpr uint32_t kWrites = kStateful | kWritesState | kNotDifferentiable | kSideEffect | kHostOnly;

absl::Status NumRequiredShape(ShapeContext& c) {
  if (c.input(1).known_rank() && c.input(1).rank() > 1) {
    return InvalidArgument("num_required must be a number, or a vector of replicas, found shape ",
                           c.input(1).ToString());
  }
  return absl::OkStatus();
}

void DefineAccumulator(OpRegistry& ops, const char* name, const char* summary, bool resource) {
  ops.Define(name, summary)
      .Output("handle", resource ? "resource" : "Ref(string)")
      .Type("dtype", kNumberTypes)
      .Attr("shape: shape")
      .Attr("container: string = ''")
      .Attr("shared_name: string = ''")
      .Attr("reduction_type: {'MEAN', 'SUM'} = 'MEAN'")
      .Traits(kStateful | kCheap | kNotDifferentiable)
      .Shape([resource](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(DType dtype, c.Attr<DType>("dtype"));
        ASSIGN_OR_RETURN(PartialShape shape, c.Attr<PartialShape>("shape"));
        c.SetOutput(0, resource ? Shape() : Shape({2}));
        if (resource) c.SetOutputHandle(0, HandleData{{dtype}, {std::move(shape)}});
        return absl::OkStatus();
      });
}

void DefineDense(OpRegistry& ops) {
  for (bool resource : {false, true}) {
    const char* handle = resource ? "resource" : "Ref(string)";
    const std::string prefix = resource ? "Resource" : "";
    DefineAccumulator(ops, resource ? "ResourceConditionalAccumulator" : "ConditionalAccumulator",
                      "Adds up gradients of the current step until they are taken.", resource);
    ops.Define(prefix + "AccumulatorApplyGradient",
               "Adds a gradient, unless it was computed for a step that is over (local_step < the accumulator's).")
        .Input("handle", handle)
        .Input("local_step", "int64")
        .Input("gradient", "dtype")
        .Type("dtype", kNumberTypes)
        .Traits(kWrites | kKeepsInputs)
        .Shape(NoOutputs());
    ops.Define(prefix + "AccumulatorTakeGradient",
               "Waits for num_required gradients, yields their average (or sum), and moves on to the next step.")
        .Input("handle", handle)
        .Input("num_required", "int32", "A number; with `_replica` also the vector of replicas that make the sum.")
        .Output("average", "dtype")
        .Type("dtype", kNumberTypes)
        .Traits(kStateful | kBlocking | kWritesState | kNotDifferentiable | kHostOnly)
        .Shape([](ShapeContext& c) -> absl::Status {
          RETURN_IF_ERROR(NumRequiredShape(c));
          const HandleData* h = c.handle(0);
          if (h != nullptr && !h->shapes.empty()) c.SetOutput(0, h->shapes[0]);
          return absl::OkStatus();
        });
    ops.Define(prefix + "AccumulatorNumAccumulated", "How many gradients are in the sum.")
        .Input("handle", handle)
        .Output("num_accumulated", "int32")
        .Traits(kStateful | kReadsState | kNotDifferentiable | kHostOnly)
        .Shape(ScalarShape());
    ops.Define(prefix + "AccumulatorSetGlobalStep", "Says which step gradients are wanted of.")
        .Input("handle", handle)
        .Input("new_global_step", "int64")
        .Traits(kWrites)
        .Shape(NoOutputs());
  }
}

void DefineSparse(OpRegistry& ops) {
  DefineAccumulator(ops, "SparseConditionalAccumulator",
                    "Adds up sparse gradients (rows and their indices) of the current step until they are taken.",
                    false);
  ops.Define("SparseAccumulatorApplyGradient",
             "Adds rows of a gradient, unless it was computed for a step that is over.")
      .Input("handle", "Ref(string)")
      .Input("local_step", "int64")
      .Input("gradient_indices", "int64")
      .Input("gradient_values", "dtype")
      .Input("gradient_shape", "int64")
      .Type("dtype", kNumberTypes)
      .Attr("has_known_shape: bool")
      .Traits(kWrites | kKeepsInputs)
      .Shape(NoOutputs());
  ops.Define(
         "SparseAccumulatorTakeGradient",
         "Waits for num_required gradients, yields the average (or sum) of each row, and moves on to the next step.")
      .Input("handle", "Ref(string)")
      .Input("num_required", "int32", "A number; with `_replica` also the vector of replicas that make the sum.")
      .Output("indices", "int64")
      .Output("values", "dtype")
      .Output("shape", "int64")
      .Type("dtype", kNumberTypes)
      .Traits(kStateful | kBlocking | kWritesState | kNotDifferentiable | kHostOnly)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(NumRequiredShape(c));
        c.SetOutput(0, PartialShape::UnknownDims(1));
        c.SetOutput(2, PartialShape::UnknownDims(1));
        return absl::OkStatus();
      });
}

}  // namespace

void DefineAccumulators(OpRegistry& ops) {
  DefineDense(ops);
  DefineSparse(ops);
}

}  // namespace sluice
