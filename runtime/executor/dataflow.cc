#include "runtime/executor/dataflow.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/base/recycled_memory.h"
#include "core/base/shared_function.h"
#include "core/base/status.h"

namespace sluice {
namespace {

struct Ready {
  Frame* frame = nullptr;
  uint32_t k = 0;
  int64_t since_ns = 0;
};
using ReadyList = absl::InlinedVector<Ready, 16>;

class DataflowRun;

// What a helper that was scheduled on the pool finds when it finally runs: the step, or nothing when that has ended.
struct HelperGate : public RefCounted {
  explicit HelperGate(DataflowRun* the_run) : run(the_run) {}
  absl::Mutex mu;  // before the run's
  DataflowRun* run ABSL_GUARDED_BY(mu);
};

class DataflowRun final : public StepProgress::Waiter {
 public:
  DataflowRun(absl::Span<Frame* const> frames, const StepCall& call)
      : frames_(frames),
        call_(call),
        has_deadline_(call.deadline != absl::InfiniteFuture()),
        token_(frames[0]->context.cancellation),
        rendezvous_(frames[0]->context.rendezvous) {}

  absl::Status Run() {
    int64_t callback = token_->Register([this] { Abort(token_->status()); });
    if (callback == 0) return token_->status();
    if (call_.progress != nullptr) call_.progress->Begin(this);
    ReadyList ready;
    for (Frame* f : frames_) {
      if (f->plan.tier != Tier::kDataflow) continue;
      Prepare(f);
      for (uint32_t k : f->plan.initial) ready.push_back({f, k, Now()});
    }
    // Waits begin first, so that what others send meanwhile finds its receiver.
    StartWaits(&ready);
    for (Frame* f : frames_) {
      if (f->plan.tier != Tier::kLane || failed_.load(std::memory_order_acquire)) continue;
      absl::Status s = RunLane(*f, call_);
      if (!s.ok()) Fail(s);
    }
    Drive(&ready);
    if (call_.progress != nullptr) call_.progress->End(this);
    token_->Unregister(callback);
    CloseGate();
    absl::MutexLock lock(&mu_);
    return error_;
  }

  std::vector<std::string> WaitingFor() override {
    absl::MutexLock lock(&mu_);
    return Waits();
  }

  // On a thread of the pool.
  void Help() {
    ReadyList local;
    {
      absl::MutexLock lock(&mu_);
      if (queue_.empty()) return;
      ++outstanding_;
      TakeShare(&local);
    }
    while (true) {
      RunReady(&local);
      absl::MutexLock lock(&mu_);
      if (!queue_.empty()) {
        TakeShare(&local);
        continue;
      }
      --outstanding_;
      changed_.Signal();
      return;
    }
  }

 private:
  int64_t Now() const { return call_.trace != nullptr ? StepTrace::Now() : 0; }

  static void Prepare(Frame* f) {
    for (size_t k = 0; k < f->plan.instructions.size(); ++k) {
      f->pending[k].store(static_cast<int32_t>(f->plan.instructions[k].num_predecessors), std::memory_order_relaxed);
    }
    for (size_t s = 0; s < f->plan.slots.size(); ++s) {
      f->readers[s].store(static_cast<int32_t>(f->plan.slots[s].readers), std::memory_order_relaxed);
    }
  }

  void StartWaits(ReadyList* ready) {
    ReadyList rest, waits;
    for (const Ready& r : *ready) {
      bool async = (r.frame->plan.instructions[r.k].flags & kAsyncInstruction) != 0;
      (async ? waits : rest).push_back(r);
    }
    *ready = std::move(rest);
    for (const Ready& r : waits) Execute(r, ready);
  }

  void Drive(ReadyList* local) {
    while (true) {
      RunReady(local);
      absl::MutexLock lock(&mu_);
      while (queue_.empty()) {
        if (outstanding_ == 0) return;
        // Nothing runs when all that is outstanding are instructions that wait.
        const bool idle = call_.progress != nullptr && outstanding_ == static_cast<int>(waiting_.size());
        const int64_t since = idle ? StepTrace::Now() : 0;
        const bool late_now = changed_.WaitWithDeadline(&mu_, timed_out_ ? absl::InfiniteFuture() : call_.deadline);
        if (idle) call_.progress->Waited(StepTrace::Now() - since);
        if (!late_now) continue;
        if (!queue_.empty() || outstanding_ == 0 || timed_out_) continue;
        timed_out_ = true;
        absl::Status late =
            absl::DeadlineExceededError(absl::StrCat("the step ran out of time waiting for ", WaitsText()));
        mu_.Unlock();
        Fail(late);
        mu_.Lock();
      }
      local->assign(queue_.begin(), queue_.end());
      queue_.clear();
    }
  }

  std::vector<std::string> Waits() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<std::string> names;
    for (const Ready& r : waiting_) {
      if (names.size() == 8) {
        names.push_back(absl::StrCat("and ", waiting_.size() - 8, " more"));
        break;
      }
      const Node& node = *r.frame->plan.nodes[r.k];
      std::string text = node.info().Describe();
      absl::StatusOr<std::string> sender = node.info().Attr<std::string>("send_device");
      if (sender.ok()) absl::StrAppend(&text, " from ", *sender);
      names.push_back(std::move(text));
    }
    return names;
  }
  std::string WaitsText() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::vector<std::string> names = Waits();
    return names.empty() ? "other threads" : absl::StrJoin(names, ", ");
  }

  void TakeShare(ReadyList* local) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    local->push_back(queue_.back());
    queue_.pop_back();
  }

  void RunReady(ReadyList* local) {
    while (!local->empty()) {
      if (failed_.load(std::memory_order_acquire)) {
        local->clear();
        return;
      }
      Ready r = local->back();
      local->pop_back();
      if (ABSL_PREDICT_FALSE(has_deadline_) && absl::Now() >= call_.deadline) {
        Fail(absl::DeadlineExceededError(
            absl::StrCat("the step ran out of time before ", r.frame->plan.nodes[r.k]->info().Describe())));
        continue;
      }
      Execute(r, local);
      if (local->size() > 1) Share(local);
    }
  }

  // Offers all but one of the expensive instructions to other threads.
  void Share(ReadyList* local) {
    ThreadPool* pool = frames_[0]->context.pool;
    if (pool->parallelism() == 1) return;
    ReadyList keep, offer;
    for (const Ready& r : *local) {
      bool worth = (r.frame->plan.instructions[r.k].flags & kWorthSharing) != 0;
      (worth ? offer : keep).push_back(r);
    }
    if (offer.size() < 2) return;
    keep.push_back(offer.back());
    offer.pop_back();
    *local = std::move(keep);
    {
      absl::MutexLock lock(&mu_);
      queue_.insert(queue_.end(), offer.begin(), offer.end());
    }
    int wanted = std::min(static_cast<int>(offer.size()), pool->parallelism() - 1);
    for (int i = 0; i < wanted; ++i) {
      RefPtr<HelperGate> gate = Gate();
      pool->Schedule([gate] {
        absl::ReaderMutexLock lock(&gate->mu);  // helpers at once; closing waits for them
        if (gate->run != nullptr) gate->run->Help();
      });
    }
  }

  RefPtr<HelperGate> Gate() {
    absl::MutexLock lock(&mu_);
    if (!gate_) {
      gate_ = MakeRef<HelperGate>(this);
    }
    return gate_;
  }

  void CloseGate() {
    RefPtr<HelperGate> gate;
    {
      absl::MutexLock lock(&mu_);
      gate = gate_;
    }
    if (!gate) return;
    absl::MutexLock lock(&gate->mu);
    gate->run = nullptr;
  }

  void Execute(const Ready& r, ReadyList* ready) {
    const Instruction& i = r.frame->plan.instructions[r.k];
    KernelContext& context = r.frame->contexts[r.k];
    int64_t start = Now();
    if ((i.flags & kAsyncInstruction) != 0) {
      {
        absl::MutexLock lock(&mu_);
        ++outstanding_;
        waiting_.push_back(r);
      }
      using Done = SharedFunction<void(absl::Status)>;
      i.kernel->Start(context, Done::ExactlyOnce([this, frame = r.frame, k = r.k](absl::Status status) {
        Completed(frame, k, std::move(status));
      }));
      return;
    }
    absl::Status status = ABSL_PREDICT_TRUE(call_.progress == nullptr) ? i.kernel->Run(context) : RunAndTell(r);
    if (call_.trace != nullptr) Trace(*r.frame, r.k, r.since_ns, start, call_.trace);
    Finish(r.frame, r.k, status, ready);
  }

  absl::Status RunAndTell(const Ready& r) {
    call_.progress->Running(r.frame->plan.nodes[r.k]);
    absl::Status status = r.frame->plan.instructions[r.k].kernel->Run(r.frame->contexts[r.k]);
    call_.progress->Running(nullptr);
    call_.progress->Completed();
    return status;
  }

  void Completed(Frame* frame, uint32_t k, absl::Status status) {
    ReadyList ready;
    int64_t since = 0;
    {
      absl::MutexLock lock(&mu_);
      for (size_t i = 0; i < waiting_.size(); ++i) {
        if (waiting_[i].frame != frame || waiting_[i].k != k) continue;
        since = waiting_[i].since_ns;
        waiting_[i] = waiting_.back();
        waiting_.pop_back();
        break;
      }
    }
    if (call_.progress != nullptr) call_.progress->Completed();
    if (call_.trace != nullptr) Trace(*frame, k, since, since, call_.trace);
    Finish(frame, k, status, &ready);
    absl::MutexLock lock(&mu_);
    queue_.insert(queue_.end(), ready.begin(), ready.end());
    --outstanding_;
    changed_.Signal();
  }

  void Finish(Frame* f, uint32_t k, const absl::Status& status, ReadyList* ready) {
    if (!status.ok()) {
      Fail(DescribeFailure(*f, k, status));
      return;
    }
    const PartitionPlan& plan = f->plan;
    const Instruction& i = plan.instructions[k];
    for (uint32_t r = i.release_begin; r < i.release_end; ++r) {
      uint32_t s = plan.releases[r];
      const Slot& slot = plan.slots[s];
      if (slot.kind == Slot::kConstant || slot.is_result) continue;
      if (f->readers[s].fetch_sub(1, std::memory_order_acq_rel) == 1) f->slots[s] = Tensor();
    }
    for (uint32_t o = 0; o < i.num_outputs; ++o) {
      uint32_t s = plan.operands[i.first_operand + i.num_inputs + o];
      if (plan.slots[s].readers == 0 && !plan.slots[s].is_result) f->slots[s] = Tensor();
    }
    int64_t now = Now();
    for (uint32_t n = i.successor_begin; n < i.successor_end; ++n) {
      uint32_t next = plan.successors[n];
      if (f->pending[next].fetch_sub(1, std::memory_order_acq_rel) == 1) ready->push_back({f, next, now});
    }
  }

  void Fail(const absl::Status& status) {
    Abort(status);
    token_->Cancel(status);
  }

  // Also what the cancellation of the step runs.
  void Abort(const absl::Status& status) {
    {
      absl::MutexLock lock(&mu_);
      if (error_.ok()) error_ = status;
      queue_.clear();
      failed_.store(true, std::memory_order_release);
      changed_.Signal();
    }
    if (rendezvous_ != nullptr) rendezvous_->Abort(status);
  }

  const absl::Span<Frame* const> frames_;
  const StepCall& call_;
  const bool has_deadline_;
  CancellationToken* const token_;
  Rendezvous* const rendezvous_;
  std::atomic<bool> failed_{false};
  absl::Mutex mu_;
  absl::CondVar changed_;
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  std::vector<Ready, RecyclingAllocator<Ready>> queue_ ABSL_GUARDED_BY(mu_);
  std::vector<Ready, RecyclingAllocator<Ready>> waiting_ ABSL_GUARDED_BY(mu_);  // asynchronous instructions that have not completed
  int outstanding_ ABSL_GUARDED_BY(mu_) = 0;         // of those, and threads that help
  bool timed_out_ ABSL_GUARDED_BY(mu_) = false;
  RefPtr<HelperGate> gate_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::Status RunDataflow(absl::Span<Frame* const> frames, const StepCall& call) {
  return DataflowRun(frames, call).Run();
}

}  // namespace sluice
