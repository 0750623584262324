// Kernels of barriers.
#include <utility>

#include "core/base/status.h"
#include "kernels/queue/barrier.h"
#include "kernels/queue/handle.h"
#include "kernels/queue/queue_kernels.h"

namespace sluice {
namespace {

class BarrierHandleKernel final : public HandleKernel<Barrier> {
  absl::StatusOr<Barrier::Options> ReadOptions(PrepareContext& p) const override {
    Barrier::Options o;
    ASSIGN_OR_RETURN(o.types, p.Attr<std::vector<DType>>("component_types"));
    ASSIGN_OR_RETURN(o.shapes, p.Attr<std::vector<PartialShape>>("shapes"));
    ASSIGN_OR_RETURN(int64_t capacity, p.Attr<int64_t>("capacity"));
    if (capacity != -1) return InvalidArgument("a barrier has no limit: capacity must be -1, found ", capacity);
    return o;
  }
  void Describe(const Barrier::Options& o, ResourceHandle* handle) const override {
    handle->type_name = "Barrier";
    handle->dtypes = o.types;
    handle->shapes = o.shapes;
    handle->shapes.resize(o.types.size());
  }
};

absl::StatusOr<RefPtr<Barrier>> FindBarrier(const KernelContext& c) {
  return FindByHandle<Barrier>(c.input(0), *c.resources(), "a barrier");
}

class InsertKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(index_, p.Attr<int64_t>("component_index"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Barrier> barrier, FindBarrier(c));
    return barrier->Insert(c.input(1), c.input(2), index_);
  }

 private:
  int64_t index_ = 0;
};

class TakeKernel final : public AsyncKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(allow_small_, p.Attr<bool>("allow_small_batch"));
    ASSIGN_OR_RETURN(wait_for_incomplete_, p.Attr<bool>("wait_for_incomplete"));
    ASSIGN_OR_RETURN(timeout_ms_, p.Attr<int64_t>("timeout_ms"));
    return absl::OkStatus();
  }
  void Start(KernelContext& c, Done done) const override {
    absl::StatusOr<RefPtr<Barrier>> found = FindBarrier(c);
    if (!found.ok()) return done(found.status());
    if (!c.input(1).shape().IsScalar()) {
      return done(InvalidArgument("num_elements must be a scalar, found shape ", c.input(1).shape().ToString()));
    }
    const std::vector<DType>& types = (*found)->options().types;
    bool same = static_cast<int>(types.size()) == c.num_outputs() - 2;
    for (size_t i = 0; same && i < types.size(); ++i) same = types[i] == c.node().output_types[i + 2];
    if (!same) return done(InvalidArgument((*found)->Title(), " does not have the component types to be taken"));
    (*found)->Take(
        c.input(1).IntAt(0), allow_small_, wait_for_incomplete_, c.cancellation(), timeout_ms_,
        [&c](Barrier::Batch b) {
          c.SetOutput(0, std::move(b.indices));
          c.SetOutput(1, std::move(b.keys));
          for (size_t i = 0; i < b.values.size(); ++i) c.SetOutput(static_cast<int>(i) + 2, std::move(b.values[i]));
          return absl::OkStatus();
        },
        std::move(done));
  }

 private:
  bool allow_small_ = false, wait_for_incomplete_ = false;
  int64_t timeout_ms_ = -1;
};

class CloseKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(cancel_, p.Attr<bool>("cancel_pending_enqueues"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Barrier> barrier, FindBarrier(c));
    return barrier->Close(cancel_);
  }

 private:
  bool cancel_ = false;
};

template <bool kReady>
class SizeKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Barrier> barrier, FindBarrier(c));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    out->scalar<int32_t>() = static_cast<int32_t>(kReady ? barrier->ready_size() : barrier->incomplete_size());
    return absl::OkStatus();
  }
};

}  // namespace

void AddBarrierKernelsCpu(KernelRegistry& k) {
  k.Add("Barrier", kCpu, KernelDef().Make<BarrierHandleKernel>());
  k.Add("BarrierInsertMany", kCpu, KernelDef().Make<InsertKernel>());
  k.Add("BarrierTakeMany", kCpu, KernelDef().Make<TakeKernel>());
  k.Add("BarrierClose", kCpu, KernelDef().Make<CloseKernel>());
  k.Add("BarrierReadySize", kCpu, KernelDef().Make<SizeKernel<true>>());
  k.Add("BarrierIncompleteSize", kCpu, KernelDef().Make<SizeKernel<false>>());
}

}  // namespace sluice
