// Clocks of workers, for bounded staleness. TensorFlow has no such op.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/queue/queue_ops.h"

namespace sluice {

void DefineClocks(OpRegistry& ops) {
  ops.Define("WorkerClock", "How many steps each of several workers has finished.")
      .Output("handle", "resource")
      .Attr("num_workers: int >= 1")
      .Attr("container: string = ''")
      .Attr("shared_name: string = ''")
      .Traits(kStateful | kCheap | kNotDifferentiable)
      .Shape(ScalarShape());
  ops.Define("WorkerClockSet", "Says how many steps a worker has finished.")
      .Input("handle", "resource")
      .Input("worker", "int32")
      .Input("clock", "int64")
      .Traits(kStateful | kWritesState | kNotDifferentiable | kSideEffect | kHostOnly)
      .Shape(NoOutputs());
  ops.Define("WorkerClockRead", "How many steps each worker has finished.")
      .Input("handle", "resource")
      .Output("clocks", "int64")
      .Traits(kStateful | kReadsState | kNotDifferentiable | kHostOnly)
      .Shape([](ShapeContext& c) -> absl::Status {
        c.SetOutput(0, PartialShape::UnknownDims(1));
        return absl::OkStatus();
      });
  ops.Define("WorkerClockWait", "Waits until every worker has finished at least that many steps.")
      .Input("handle", "resource")
      .Input("at_least", "int64")
      .Output("least", "int64", "The clock of the slowest worker.")
      .Attr("timeout_ms: int = -1", "How long to wait; negative: without limit.")
      .Traits(kStateful | kBlocking | kReadsState | kNotDifferentiable | kSideEffect | kHostOnly)
      .Shape(ScalarShape());
}

}  // namespace sluice
