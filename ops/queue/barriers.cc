// Barriers: tuples whose components come one by one under a key, taken when complete.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/queue/queue_ops.h"

namespace sluice {

void DefineBarriers(OpRegistry& ops) {
  ops.Define("Barrier", "Collects the components of tuples by key; a tuple can be taken when all of them are there.")
      .Output("handle", "Ref(string)")
      .Attr("component_types: list(type) >= 1")
      .Attr("shapes: list(shape) >= 0 = []")
      .Attr("capacity: int = -1", "Must be -1: no limit.")
      .Attr("container: string = ''")
      .Attr("shared_name: string = ''")
      .Traits(kStateful | kCheap | kNotDifferentiable)
      .Shape([](ShapeContext& c) -> absl::Status {
        c.SetOutput(0, Shape({2}));
        return absl::OkStatus();
      });
  ops.Define("BarrierInsertMany", "Adds one component of several tuples, by their keys.")
      .Input("handle", "Ref(string)")
      .Input("keys", "string")
      .Input("values", "T")
      .Type("T")
      .Attr("component_index: int")
      .Traits(kStateful | kWritesState | kKeepsInputs | kNotDifferentiable | kSideEffect | kHostOnly)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRank(1, 1).status());
        return c.WithRankAtLeast(2, 1).status();
      });
  ops.Define("BarrierTakeMany",
             "Takes complete tuples, in the order in which their keys were first seen; waits until there are enough.")
      .Input("handle", "Ref(string)")
      .Input("num_elements", "int32")
      .Output("indices", "int64")
      .Output("keys", "string")
      .Output("values", "component_types")
      .Attr("component_types: list(type) >= 1")
      .Attr("allow_small_batch: bool = false", "Once closed, fewer than num_elements will do.")
      .Attr("wait_for_incomplete: bool = false", "Once closed, wait for the tuples that may still become complete.")
      .Attr("timeout_ms: int = -1", "How long to wait; negative: without limit.")
      .Traits(kStateful | kBlocking | kWritesState | kNotDifferentiable | kHostOnly)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRank(1, 0).status());
        c.SetOutput(0, PartialShape::UnknownDims(1));
        c.SetOutput(1, PartialShape::UnknownDims(1));
        return absl::OkStatus();
      });
  ops.Define("BarrierClose", "Ends the input of new keys.")
      .Input("handle", "Ref(string)")
      .Attr("cancel_pending_enqueues: bool = false", "Also refuses the missing components of known keys.")
      .Traits(kStateful | kWritesState | kNotDifferentiable | kSideEffect | kHostOnly)
      .Shape(NoOutputs());
  for (const char* which : {"Ready", "Incomplete"}) {
    ops.Define(absl::StrCat("Barrier", which, "Size"), std::string(which) == "Ready"
                                                           ? "How many complete tuples wait to be taken."
                                                           : "How many tuples lack a component.")
        .Input("handle", "Ref(string)")
        .Output("size", "int32")
        .Traits(kStateful | kReadsState | kNotDifferentiable | kHostOnly)
        .Shape(ScalarShape());
  }
}

}  // namespace sluice
