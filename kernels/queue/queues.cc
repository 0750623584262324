// Kernels of queues: what waits is asynchronous and holds no thread.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "kernels/queue/handle.h"
#include "kernels/queue/queue.h"
#include "kernels/queue/queue_kernels.h"

namespace sluice {
namespace {

template <Queue::Kind kKind>
class QueueHandleKernel final : public HandleKernel<Queue> {
  absl::StatusOr<Queue::Options> ReadOptions(PrepareContext& p) const override {
    Queue::Options o;
    o.kind = kKind;
    ASSIGN_OR_RETURN(o.types, p.Attr<std::vector<DType>>("component_types"));
    ASSIGN_OR_RETURN(o.shapes, p.Attr<std::vector<PartialShape>>("shapes"));
    ASSIGN_OR_RETURN(o.capacity, p.Attr<int64_t>("capacity"));
    if (kKind == Queue::kShuffle) {
      ASSIGN_OR_RETURN(o.min_after_dequeue, p.Attr<int64_t>("min_after_dequeue"));
      ASSIGN_OR_RETURN(o.seed, p.Attr<int64_t>("seed"));
      ASSIGN_OR_RETURN(o.seed2, p.Attr<int64_t>("seed2"));
    }
    if (kKind == Queue::kPriority) {
      if (!o.shapes.empty() || o.types.empty()) o.shapes.insert(o.shapes.begin(), PartialShape(Shape()));
      o.types.insert(o.types.begin(), DType::kInt64);
    }
    return o;
  }
  void Describe(const Queue::Options& o, ResourceHandle* handle) const override {
    handle->type_name = "Queue";
    handle->dtypes = o.types;
    handle->shapes = o.shapes;
    handle->shapes.resize(o.types.size());
  }
};

absl::StatusOr<RefPtr<Queue>> FindQueue(const KernelContext& c) {
  return FindByHandle<Queue>(c.input(0), *c.resources(), "a queue");
}

// What the four ops that wait have in common.
class MovingKernel : public AsyncKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(timeout_ms_, p.Attr<int64_t>("timeout_ms"));
    return absl::OkStatus();
  }
  void Start(KernelContext& c, Done done) const final {
    absl::StatusOr<RefPtr<Queue>> queue = FindQueue(c);
    if (!queue.ok()) return done(queue.status());
    Start(c, **queue, std::move(done));
  }

 protected:
  virtual void Start(KernelContext& c, Queue& queue, Done done) const = 0;
  int64_t timeout_ms_ = -1;
};

template <bool kMany>
class EnqueueKernel final : public MovingKernel {
  void Start(KernelContext& c, Queue& queue, Done done) const override {
    Queue::Element element;
    for (int i = 1; i < c.num_inputs(); ++i) {
      absl::StatusOr<Tensor> t = c.TakeInput(i);
      if (!t.ok()) return done(t.status());
      element.push_back(*std::move(t));
    }
    if (kMany) {
      queue.EnqueueMany(element, c.cancellation(), timeout_ms_, std::move(done));
    } else {
      queue.Enqueue(std::move(element), c.cancellation(), timeout_ms_, std::move(done));
    }
  }
};

absl::Status CheckTypes(const KernelContext& c, const Queue& queue) {
  const std::vector<DType>& types = queue.options().types;
  bool same = static_cast<int>(types.size()) == c.num_outputs();
  for (int i = 0; same && i < c.num_outputs(); ++i) same = types[i] == c.node().output_types[i];
  return same ? absl::OkStatus()
              : InvalidArgument(queue.DebugString(), " does not have the component types that the dequeue names");
}

std::function<absl::Status(Queue::Element)> IntoOutputs(KernelContext& c) {
  return [&c](Queue::Element element) {
    for (size_t i = 0; i < element.size(); ++i) c.SetOutput(static_cast<int>(i), std::move(element[i]));
    return absl::OkStatus();
  };
}

class DequeueKernel final : public MovingKernel {
  void Start(KernelContext& c, Queue& queue, Done done) const override {
    absl::Status types = CheckTypes(c, queue);
    if (!types.ok()) return done(types);
    queue.Dequeue(c.cancellation(), timeout_ms_, IntoOutputs(c), std::move(done));
  }
};

template <bool kUpTo>
class DequeueManyKernel final : public MovingKernel {
  void Start(KernelContext& c, Queue& queue, Done done) const override {
    absl::Status types = CheckTypes(c, queue);
    if (!types.ok()) return done(types);
    if (!c.input(1).shape().IsScalar()) {
      return done(InvalidArgument("n must be a scalar, found shape ", c.input(1).shape().ToString()));
    }
    queue.DequeueMany(c.input(1).IntAt(0), kUpTo, c.cancellation(), timeout_ms_, IntoOutputs(c), std::move(done));
  }
};

class CloseKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(cancel_, p.Attr<bool>("cancel_pending_enqueues"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Queue> queue, FindQueue(c));
    return queue->Close(cancel_);
  }

 private:
  bool cancel_ = false;
};

class IsClosedKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Queue> queue, FindQueue(c));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    out->scalar<bool>() = queue->IsClosed();
    return absl::OkStatus();
  }
};

class SizeKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Queue> queue, FindQueue(c));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    out->scalar<int32_t>() = static_cast<int32_t>(queue->size());
    return absl::OkStatus();
  }
};

}  // namespace

void AddQueueKernelsCpu(KernelRegistry& k) {
  for (const char* v : {"", "V2"}) {
    auto add = [&](const char* op, KernelDef def) { k.Add(absl::StrCat(op, v), kCpu, std::move(def)); };
    add("FIFOQueue", KernelDef().Make<QueueHandleKernel<Queue::kFifo>>());
    add("RandomShuffleQueue", KernelDef().Make<QueueHandleKernel<Queue::kShuffle>>());
    add("PaddingFIFOQueue", KernelDef().Make<QueueHandleKernel<Queue::kPadding>>());
    add("PriorityQueue", KernelDef().Make<QueueHandleKernel<Queue::kPriority>>());
    add("QueueEnqueue", KernelDef().Make<EnqueueKernel<false>>());
    add("QueueEnqueueMany", KernelDef().Make<EnqueueKernel<true>>());
    add("QueueDequeue", KernelDef().Make<DequeueKernel>());
    add("QueueDequeueMany", KernelDef().Make<DequeueManyKernel<false>>());
    add("QueueDequeueUpTo", KernelDef().Make<DequeueManyKernel<true>>());
    add("QueueClose", KernelDef().Make<CloseKernel>());
    add("QueueIsClosed", KernelDef().Make<IsClosedKernel>());
    add("QueueSize", KernelDef().Make<SizeKernel>());
  }
}

}  // namespace sluice
