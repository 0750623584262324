// Queues of tuples of tensors: making one, enqueue and dequeue, close, questions.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/queue/queue_ops.h"

namespace sluice {
namespace {

// TensorFlow's reference handles are pairs of strings, its resource handles scalars.
absl::Status HandleShape(ShapeContext& c, bool resource, bool priority) {
  if (!resource) {
    c.SetOutput(0, Shape({2}));
    return absl::OkStatus();
  }
  c.SetOutput(0, Shape());
  ASSIGN_OR_RETURN(std::vector<DType> types, c.Attr<std::vector<DType>>("component_types"));
  ASSIGN_OR_RETURN(std::vector<PartialShape> shapes, c.Attr<std::vector<PartialShape>>("shapes"));
  if (shapes.empty()) shapes.assign(types.size(), PartialShape());
  if (shapes.size() != types.size()) {
    return InvalidArgument("a queue needs a shape for each component or none, found ", shapes.size(), " shapes for ",
                           types.size(), " components");
  }
  if (priority) {
    types.insert(types.begin(), DType::kInt64);
    shapes.insert(shapes.begin(), PartialShape(Shape()));
  }
  c.SetOutputHandle(0, HandleData{std::move(types), std::move(shapes)});
  return absl::OkStatus();
}

// Component i of one element, as far as the handle tells.
PartialShape ComponentShape(const ShapeContext& c, int i) {
  const HandleData* h = c.handle(0);
  return h != nullptr && i < static_cast<int>(h->shapes.size()) ? h->shapes[i] : PartialShape();
}

PartialShape Batch(int64_t n, const PartialShape& row) {
  if (!row.known_rank()) return PartialShape();
  PartialShape s({n});
  for (int64_t d : row.dims()) s.AddDim(d);
  return s;
}

absl::Status DequeueShape(ShapeContext& c) {
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, ComponentShape(c, i));
  return absl::OkStatus();
}

ShapeRule DequeueBatchShape(bool up_to) {
  return [up_to](ShapeContext& c) -> absl::Status {
    RETURN_IF_ERROR(c.WithRank(1, 0).status());
    std::optional<int64_t> n = c.scalar(1);
    if (n && *n < 0) return InvalidArgument("n must be at least 0, found ", *n);
    for (int i = 0; i < c.num_outputs(); ++i) {
      c.SetOutput(i, Batch(up_to || !n ? kUnknownDim : *n, ComponentShape(c, i)));
    }
    return absl::OkStatus();
  };
}

struct Kind {
  const char* name;
  const char* summary;
};

void DefineKinds(OpRegistry& ops) {
  const Kind kinds[] = {
      {"FIFOQueue", "A queue that yields its elements in the order of their arrival."},
      {"RandomShuffleQueue", "A queue that yields its elements in a random order, given by its seeds."},
      {"PaddingFIFOQueue", "A first-in first-out queue whose batches are padded to their largest element."},
      {"PriorityQueue", "A queue that yields the element of the least priority (its first component, int64) first."},
  };
  for (const Kind& kind : kinds) {
    const bool priority = std::string(kind.name) == "PriorityQueue";
    for (bool resource : {false, true}) {
      OpBuilder op = ops.Define(absl::StrCat(kind.name, resource ? "V2" : ""), kind.summary);
      op.Output("handle", resource ? "resource" : "Ref(string)");
      op.Attr(priority ? "component_types: list(type) >= 0 = []" : "component_types: list(type) >= 1");
      op.Attr(priority ? "shapes: list(shape) >= 0" : "shapes: list(shape) >= 0 = []",
              "Of the components of one element; none: any shape, and no batches.");
      op.Attr("capacity: int = -1", "Elements it holds before an enqueue waits; negative: no limit.");
      if (std::string(kind.name) == "RandomShuffleQueue") {
        op.Attr("min_after_dequeue: int = 0", "Elements that stay until the queue is closed, so that order mixes.");
        op.Attr("seed: int = 0").Attr("seed2: int = 0");
      }
      op.Attr("container: string = ''").Attr("shared_name: string = ''", "Sessions that give one name share a queue.");
      op.Traits(kStateful | kCheap | kNotDifferentiable);
      op.Shape([resource, priority](ShapeContext& c) { return HandleShape(c, resource, priority); });
    }
  }
}

void DefineMoves(OpRegistry& ops) {
  constexpr uint32_t kMoves = kStateful | kBlocking | kWritesState | kNotDifferentiable | kHostOnly;
  for (bool resource : {false, true}) {
    const char* handle = resource ? "resource" : "Ref(string)";
    const char* v = resource ? "V2" : "";
    ops.Define(absl::StrCat("QueueEnqueue", v), "Adds one element; waits while the queue is full.")
        .Input("handle", handle)
        .Input("components", "Tcomponents")
        .Attr("Tcomponents: list(type) >= 1")
        .Attr("timeout_ms: int = -1", "How long to wait; negative: without limit.")
        .Traits(kMoves | kKeepsInputs | kSideEffect)
        .Shape(NoOutputs());
    ops.Define(absl::StrCat("QueueEnqueueMany", v),
               "Adds an element for each row of the components; waits while the queue is full.")
        .Input("handle", handle)
        .Input("components", "Tcomponents")
        .Attr("Tcomponents: list(type) >= 1")
        .Attr("timeout_ms: int = -1", "How long to wait; negative: without limit.")
        .Traits(kMoves | kKeepsInputs | kSideEffect)
        .Shape(NoOutputs());
    ops.Define(absl::StrCat("QueueDequeue", v), "Takes one element; waits until there is one.")
        .Input("handle", handle)
        .Output("components", "component_types")
        .Attr("component_types: list(type) >= 1")
        .Attr("timeout_ms: int = -1", "How long to wait; negative: without limit.")
        .Traits(kMoves)
        .Shape(DequeueShape);
    ops.Define(absl::StrCat("QueueDequeueMany", v),
               "Takes n elements as one batch; waits until it has them. OUT_OF_RANGE when they can come no more.")
        .Input("handle", handle)
        .Input("n", "int32")
        .Output("components", "component_types")
        .Attr("component_types: list(type) >= 1")
        .Attr("timeout_ms: int = -1", "How long to wait; negative: without limit.")
        .Traits(kMoves)
        .Shape(DequeueBatchShape(false));
    ops.Define(absl::StrCat("QueueDequeueUpTo", v),
               "Takes n elements as one batch, or the 1 to n-1 that a closed queue still has.")
        .Input("handle", handle)
        .Input("n", "int32")
        .Output("components", "component_types")
        .Attr("component_types: list(type) >= 1")
        .Attr("timeout_ms: int = -1", "How long to wait; negative: without limit.")
        .Traits(kMoves)
        .Shape(DequeueBatchShape(true));
    ops.Define(absl::StrCat("QueueClose", v),
               "Ends the input: later enqueues are CANCELLED, dequeues go on until the queue is empty.")
        .Input("handle", handle)
        .Attr("cancel_pending_enqueues: bool = false", "Also ends the enqueues that wait.")
        .Traits(kStateful | kWritesState | kNotDifferentiable | kSideEffect | kHostOnly)
        .Shape(NoOutputs());
    ops.Define(absl::StrCat("QueueIsClosed", v), "Whether the queue was closed.")
        .Input("handle", handle)
        .Output("is_closed", "bool")
        .Traits(kStateful | kReadsState | kNotDifferentiable | kHostOnly)
        .Shape(ScalarShape());
    ops.Define(absl::StrCat("QueueSize", v), "How many elements the queue holds.")
        .Input("handle", handle)
        .Output("size", "int32")
        .Traits(kStateful | kReadsState | kNotDifferentiable | kHostOnly)
        .Shape(ScalarShape());
  }
}

}  // namespace

void DefineQueues(OpRegistry& ops) {
  DefineKinds(ops);
  DefineMoves(ops);
}

}  // namespace sluice
