// Kernels of the clocks of workers.
#include <algorithm>
#include <utility>

#include "core/base/status.h"
#include "kernels/queue/clock.h"
#include "kernels/queue/handle.h"
#include "kernels/queue/queue_kernels.h"

namespace sluice {
namespace {

class ClockHandleKernel final : public HandleKernel<WorkerClock> {
  absl::StatusOr<WorkerClock::Options> ReadOptions(PrepareContext& p) const override {
    WorkerClock::Options o;
    ASSIGN_OR_RETURN(o.num_workers, p.Attr<int64_t>("num_workers"));
    return o;
  }
  void Describe(const WorkerClock::Options&, ResourceHandle* handle) const override {
    handle->type_name = "WorkerClock";
  }
};

absl::StatusOr<RefPtr<WorkerClock>> FindClock(const KernelContext& c) {
  return FindByHandle<WorkerClock>(c.input(0), *c.resources(), "a clock of workers");
}

absl::StatusOr<int64_t> ScalarAt(const KernelContext& c, int i, const char* name) {
  if (!c.input(i).shape().IsScalar()) {
    return InvalidArgument(name, " must be a scalar, found shape ", c.input(i).shape().ToString());
  }
  return c.input(i).IntAt(0);
}

class SetKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<WorkerClock> clock, FindClock(c));
    ASSIGN_OR_RETURN(int64_t worker, ScalarAt(c, 1, "worker"));
    ASSIGN_OR_RETURN(int64_t value, ScalarAt(c, 2, "clock"));
    return clock->Set(worker, value);
  }
};

class ReadKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<WorkerClock> clock, FindClock(c));
    const std::vector<int64_t> clocks = clock->Read();
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({static_cast<int64_t>(clocks.size())})));
    std::copy(clocks.begin(), clocks.end(), out->data<int64_t>());
    return absl::OkStatus();
  }
};

class WaitKernel final : public AsyncKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(timeout_ms_, p.Attr<int64_t>("timeout_ms"));
    return absl::OkStatus();
  }
  void Start(KernelContext& c, Done done) const override {
    absl::StatusOr<RefPtr<WorkerClock>> clock = FindClock(c);
    if (!clock.ok()) return done(clock.status());
    absl::StatusOr<int64_t> at_least = ScalarAt(c, 1, "at_least");
    if (!at_least.ok()) return done(at_least.status());
    auto deliver = [&c](int64_t least) {
      c.SetOutput(0, Tensor::Scalar(least));
      return absl::OkStatus();
    };
    (*clock)->Wait(*at_least, c.cancellation(), timeout_ms_, std::move(deliver), std::move(done));
  }

 private:
  int64_t timeout_ms_ = -1;
};

}  // namespace

void AddClockKernelsCpu(KernelRegistry& k) {
  k.Add("WorkerClock", kCpu, KernelDef().Make<ClockHandleKernel>());
  k.Add("WorkerClockSet", kCpu, KernelDef().Make<SetKernel>());
  k.Add("WorkerClockRead", kCpu, KernelDef().Make<ReadKernel>());
  k.Add("WorkerClockWait", kCpu, KernelDef().Make<WaitKernel>());
}

}  // namespace sluice
