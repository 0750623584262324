#include "runtime/executor/dataflow.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/base/ref_counted.h"
#include "core/base/status.h"
#include "runtime/executor/lanes.h"

namespace sluice {
namespace {

class DataflowRun;

struct Ready {
  Frame* frame = nullptr;
  uint32_t k = 0;
};
using ReadyList = std::vector<Ready>;

constexpr double kShareFromNs = 10e3;  // less than this a thread has done before another one has heard of it
constexpr double kTaskNs = 5e3;        // what a thread takes at once of what was offered

double WorkOf(const Ready& r) { return r.frame->plan.instructions[r.k].work_ns; }

// Instructions that one thread may run now.
struct WorkLists {
  ReadyList ended;  // waits that have completed and whose successors are not told yet
  ReadyList waits;  // asynchronous ones: begun first, so that what others send meanwhile finds its receiver
  ReadyList cheap;
  ReadyList heavy;    // worth another thread
  ReadyList claimed;  // of what was offered
  double heavy_ns = 0;

  void AddHeavy(const Ready& r) {
    heavy.push_back(r);
    heavy_ns += WorkOf(r);
  }
  // False when there is none.
  bool TakeExpensive(Ready* r) {
    ReadyList& list = claimed.empty() ? heavy : claimed;
    if (list.empty()) return false;
    *r = list.back();
    list.pop_back();
    if (&list == &heavy) heavy_ns = list.empty() ? 0 : heavy_ns - WorkOf(*r);
    return true;
  }
  void Clear() {
    for (ReadyList* list : {&ended, &waits, &cheap, &heavy, &claimed}) list->clear();
    heavy_ns = 0;
  }
};

// What a helper finds that was scheduled on the pool when it finally runs: the run that goes on now, or nothing. One
// for the life of a step; a helper that comes too late for one run may help the next.
struct HelperGate : public RefCounted {
  absl::Mutex mu;  // before the run's. Helpers are inside together; the end of a run waits for them
  DataflowRun* run ABSL_GUARDED_BY(mu) = nullptr;
  std::atomic<int> coming{0};  // helpers that were scheduled and have not left
};

}  // namespace

struct DataflowMemory {
  WorkLists driver;
  ReadyList offered, ended, waiting;
  std::vector<std::unique_ptr<WorkLists>> of_helpers;
  RefPtr<HelperGate> gate;
};

void DeleteDataflowMemory::operator()(DataflowMemory* memory) const { delete memory; }
std::unique_ptr<DataflowMemory, DeleteDataflowMemory> MakeDataflowMemory() {
  return std::unique_ptr<DataflowMemory, DeleteDataflowMemory>(new DataflowMemory);
}

namespace {

constexpr uint32_t kNone = ~uint32_t{0};

class DataflowRun final : public StepProgress::Waiter {
 public:
  DataflowRun(absl::Span<Frame* const> frames, const StepCall& call, DataflowMemory* memory)
      : frames_(frames),
        call_(call),
        slow_(call.trace != nullptr || call.progress != nullptr || call.deadline != absl::InfiniteFuture()),
        pool_(frames[0]->context.pool),
        helpers_(pool_ == nullptr ? 0 : pool_->parallelism() - 1),
        token_(frames[0]->context.cancellation),
        rendezvous_(frames[0]->context.rendezvous),
        memory_(*memory) {}

  absl::Status Run() {
    int64_t callback = token_->Register([this] { Abort(token_->status()); });
    if (callback == 0) return token_->status();
    if (call_.progress != nullptr) call_.progress->Begin(this);
    WorkLists& lists = memory_.driver;
    for (Frame* f : frames_) {
      if (f->plan.tier == Tier::kDataflow) Prepare(f, &lists);
    }
    // Waits begin before lanes run.
    if (!lists.waits.empty()) BeginWaits(&lists);
    for (Frame* f : frames_) {
      if (f->plan.tier == Tier::kDataflow || failed_.load(std::memory_order_acquire)) continue;
      absl::Status s = RunLanes(*f, call_);
      if (!s.ok()) Fail(s);
    }
    Drive(&lists);
    if (call_.progress != nullptr) call_.progress->End(this);
    token_->Unregister(callback);
    CloseGate();
    absl::MutexLock lock(&mu_);
    memory_.ended.clear();                                       // of a run that failed
    for (Frame* f : frames_) f->counters_are_set = error_.ok();  // each instruction that ran has set its own again
    return error_;
  }

  std::vector<std::string> WaitingFor() override {
    absl::MutexLock lock(&mu_);
    return Waits();
  }

  // On a thread of the pool, with the gate held.
  void Help(HelperGate* gate) {
    std::unique_ptr<WorkLists> lists;
    {
      absl::MutexLock lock(&mu_);
      if (memory_.offered.empty()) return Leave(gate);
      ++outstanding_;
      if (memory_.of_helpers.empty()) {
        lists = std::make_unique<WorkLists>();
      } else {
        lists = std::move(memory_.of_helpers.back());
        memory_.of_helpers.pop_back();
      }
      TakeShare(lists.get());
    }
    while (true) {
      RunLists(lists.get());
      absl::MutexLock lock(&mu_);
      if (TakeShare(lists.get())) continue;
      memory_.of_helpers.push_back(std::move(lists));
      --outstanding_;
      changed_.Signal();
      return Leave(gate);
    }
  }

  static void Leave(HelperGate* gate) { gate->coming.fetch_sub(1, std::memory_order_relaxed); }

 private:
  void Prepare(Frame* f, WorkLists* lists) {
    const PartitionPlan& plan = f->plan;
    if (!f->counters_are_set) {
      for (size_t k = 0; k < plan.instructions.size(); ++k) {
        f->pending[k].store(static_cast<int32_t>(plan.instructions[k].num_predecessors), std::memory_order_relaxed);
      }
      for (size_t s = 0; s < plan.slots.size(); ++s) {
        f->readers[s].store(static_cast<int32_t>(plan.slots[s].readers), std::memory_order_relaxed);
      }
    }
    f->counters_are_set = false;
    f->dataflow = this;
    if (call_.trace != nullptr) f->ready_ns.assign(plan.instructions.size(), StepTrace::Now());
    // The last of a list runs first.
    for (auto k = plan.initial.rbegin(); k != plan.initial.rend(); ++k) {
      const uint32_t flags = plan.instructions[*k].flags;
      Put({f, *k}, (flags & kAsyncInstruction) != 0, (flags & kWorthSharing) != 0, lists);
    }
  }

  static void Put(const Ready& r, bool async, bool heavy, WorkLists* lists) {
    if (heavy && !async) return lists->AddHeavy(r);
    (async ? lists->waits : lists->cheap).push_back(r);
  }

  void Drive(WorkLists* lists) {
    while (true) {
      RunLists(lists);
      absl::MutexLock lock(&mu_);
      while (!TakeShare(lists)) {
        if (outstanding_ == 0) return;
        // Nothing runs when all that is outstanding are instructions that wait.
        const bool idle = call_.progress != nullptr && outstanding_ == static_cast<int>(memory_.waiting.size());
        const int64_t since = idle ? StepTrace::Now() : 0;
        const bool late_now = changed_.WaitWithDeadline(&mu_, timed_out_ ? absl::InfiniteFuture() : call_.deadline);
        if (idle) call_.progress->Waited(StepTrace::Now() - since);
        if (!late_now) continue;
        if (!memory_.offered.empty() || !memory_.ended.empty() || outstanding_ == 0 || timed_out_) continue;
        timed_out_ = true;
        absl::Status late =
            absl::DeadlineExceededError(absl::StrCat("the step ran out of time waiting for ", WaitsText()));
        mu_.Unlock();
        Fail(late);
        mu_.Lock();
      }
    }
  }

  std::vector<std::string> Waits() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<std::string> names;
    for (const Ready& r : memory_.waiting) {
      if (names.size() == 8) {
        names.push_back(absl::StrCat("and ", memory_.waiting.size() - 8, " more"));
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

  // All waits that have ended, and a task of expensive instructions: one, or several that are small, as far as enough
  // are left for others. False when there is neither.
  bool TakeShare(WorkLists* lists) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    lists->ended.swap(memory_.ended);
    if (memory_.offered.empty()) return !lists->ended.empty();
    double ns = 0;
    for (size_t left = 1 + memory_.offered.size() / (2 * static_cast<size_t>(helpers_ + 1));
         left > 0 && ns < kTaskNs && !memory_.offered.empty(); --left) {
      ns += WorkOf(memory_.offered.back());
      lists->claimed.push_back(memory_.offered.back());
      memory_.offered.pop_back();
    }
    return true;
  }

  // Until the lists are empty.
  void RunLists(WorkLists* lists) {
    if (slow_) {
      Loop<true>(lists);
    } else {
      Loop<false>(lists);
    }
  }

  template <bool kSlow>
  void Loop(WorkLists* lists) {
    if (failed_.load(std::memory_order_acquire)) return lists->Clear();
    for (const Ready& r : lists->ended) {
      const uint32_t next = Finish<kSlow>(r.frame, r.frame->plan.instructions[r.k], lists);
      if (next != kNone) lists->cheap.push_back({r.frame, next});
    }
    lists->ended.clear();
    while (true) {
      if (ABSL_PREDICT_FALSE(failed_.load(std::memory_order_acquire))) return lists->Clear();
      if (ABSL_PREDICT_FALSE(!lists->waits.empty())) BeginWaits(lists);
      if (ABSL_PREDICT_FALSE(lists->heavy.size() > 1) && lists->heavy_ns >= kShareFromNs && helpers_ > 0) Share(lists);
      Ready r;
      if (ABSL_PREDICT_TRUE(!lists->cheap.empty())) {
        r = lists->cheap.back();
        lists->cheap.pop_back();
      } else if (!lists->TakeExpensive(&r)) {
        return;
      }
      Follow<kSlow>(r.frame, r.k, lists);
    }
  }

  // Runs an instruction, and after it a cheap one that waited for it alone, and so on.
  template <bool kSlow>
  void Follow(Frame* f, uint32_t k, WorkLists* lists) {
    do {
      const Instruction& i = f->plan.instructions[k];
      absl::Status status;
      if constexpr (kSlow) {
        if (!InTime(f, k)) return;
        status = RunAndTell(f, k);
      } else {
        status = i.kernel->Run(f->contexts[k]);
      }
      if (ABSL_PREDICT_FALSE(!status.ok())) return Fail(DescribeFailure(*f, k, status));
      k = Finish<kSlow>(f, i, lists);
    } while (k != kNone && !failed_.load(std::memory_order_acquire));
  }

  bool InTime(const Frame* f, uint32_t k) {
    if (call_.deadline == absl::InfiniteFuture() || absl::Now() < call_.deadline) return true;
    Fail(absl::DeadlineExceededError(
        absl::StrCat("the step ran out of time before ", f->plan.nodes[k]->info().Describe())));
    return false;
  }

  absl::Status RunAndTell(Frame* f, uint32_t k) {
    const int64_t start = call_.trace != nullptr ? StepTrace::Now() : 0;
    if (call_.progress != nullptr) call_.progress->Running(f->plan.nodes[k]);
    absl::Status status = f->plan.instructions[k].kernel->Run(f->contexts[k]);
    if (call_.progress != nullptr) {
      call_.progress->Running(nullptr);
      call_.progress->Completed();
    }
    if (call_.trace != nullptr) Trace(*f, k, f->ready_ns[k], start, call_.trace);
    return status;
  }

  // Counts down. Before the first instruction is offered to other threads the driver is alone (who completes a wait
  // counts nothing), and needs no atomic change. The release of one count and the acquire of the last one make what was
  // computed before visible to what runs after it.
  bool IsLast(std::atomic<int32_t>* count) const {
    if (shared_) return count->fetch_sub(1, std::memory_order_acq_rel) == 1;
    const int32_t left = count->load(std::memory_order_relaxed) - 1;
    count->store(left, std::memory_order_relaxed);
    return left == 0;
  }

  // Empties slots, and lists what has become ready but for one cheap instruction, which is returned. A counter is set
  // for the next step by who counts it down to zero: nobody else touches it any more in this one.
  template <bool kSlow>
  uint32_t Finish(Frame* f, const Instruction& i, WorkLists* lists) {
    const PartitionPlan& plan = f->plan;
    uint32_t r = i.release_begin;
    for (; r < i.release_end; ++r) {
      const uint32_t s = plan.releases[r];
      if (!IsLast(&f->readers[s])) continue;
      f->readers[s].store(static_cast<int32_t>(plan.slots[s].readers), std::memory_order_relaxed);
      f->slots[s] = Tensor();
    }
    for (; r < i.drop_end; ++r) f->slots[plan.releases[r]] = Tensor();
    uint32_t next = kNone;
    for (uint32_t n = i.successor_begin; n < i.successor_end; ++n) {
      const uint32_t successor = plan.successors[n], to = successor & kSuccessor;
      if ((successor & kOnlyPredecessor) == 0) {
        if (!IsLast(&f->pending[to])) continue;
        f->pending[to].store(static_cast<int32_t>(plan.instructions[to].num_predecessors), std::memory_order_relaxed);
      }
      if constexpr (kSlow) {
        if (call_.trace != nullptr) f->ready_ns[to] = StepTrace::Now();
      }
      if (ABSL_PREDICT_FALSE((successor & (kSuccessorWaits | kSuccessorIsHeavy)) != 0)) {
        Put({f, to}, (successor & kSuccessorWaits) != 0, true, lists);
      } else if (next == kNone) {
        next = to;
      } else {
        lists->cheap.push_back({f, to});
      }
    }
    return next;
  }

  // --- Other threads ---

  // Offers all but one of the expensive instructions.
  void Share(WorkLists* lists) {
    int wanted = 0;
    RefPtr<HelperGate> gate;
    {
      absl::MutexLock lock(&mu_);
      if (!shared_) shared_ = true;  // before any other thread can know of an instruction
      if (!memory_.gate) memory_.gate = MakeRef<HelperGate>();
      gate = memory_.gate;
      memory_.offered.insert(memory_.offered.end(), lists->heavy.begin(), lists->heavy.end() - 1);
      lists->heavy.erase(lists->heavy.begin(), lists->heavy.end() - 1);
      lists->heavy_ns = WorkOf(lists->heavy.front());
      wanted =
          std::min(static_cast<int>(memory_.offered.size()), helpers_) - gate->coming.load(std::memory_order_relaxed);
      if (wanted > 0) gate->coming.fetch_add(wanted, std::memory_order_relaxed);
    }
    OpenGate(gate.get());
    for (; wanted > 0; --wanted) {
      // The pool runs it exactly once, also when it ends. A plain pointer fits into the function object.
      HelperGate* held = RefPtr<HelperGate>(gate).release();
      pool_->Schedule([held] {
        const RefPtr<HelperGate> gate = RefPtr<HelperGate>::Adopt(held);
        absl::ReaderMutexLock lock(&gate->mu);
        if (gate->run != nullptr) {
          gate->run->Help(gate.get());
        } else {
          Leave(gate.get());
        }
      });
    }
  }

  // By the driver before helpers are inside; a helper that shares finds it open.
  void OpenGate(HelperGate* gate) {
    if (gate_is_open_.load(std::memory_order_acquire)) return;
    absl::MutexLock lock(&gate->mu);
    gate->run = this;
    gate_is_open_.store(true, std::memory_order_release);
  }

  void CloseGate() {
    if (!gate_is_open_.load(std::memory_order_acquire)) return;
    absl::MutexLock lock(&memory_.gate->mu);
    memory_.gate->run = nullptr;
  }

  // --- Waits ---

  void BeginWaits(WorkLists* lists) {
    {
      absl::MutexLock lock(&mu_);
      outstanding_ += static_cast<int>(lists->waits.size());
      for (const Ready& r : lists->waits) {
        r.frame->waiting_at[r.k] = static_cast<uint32_t>(memory_.waiting.size());
        memory_.waiting.push_back(r);
      }
    }
    // A wait that completes at once only tells the driver, so the list stays as it is.
    for (const Ready& r : lists->waits) {
      // Small enough for the function object: the frame knows of its run, which ends after its waits.
      const Kernel& kernel = *r.frame->plan.instructions[r.k].kernel;
      kernel.Start(r.frame->contexts[r.k], [f = r.frame, k = uint64_t{r.k}](absl::Status s) {
        static_cast<DataflowRun*>(f->dataflow)->Completed(f, static_cast<uint32_t>(k), s);
      });
    }
    lists->waits.clear();
  }

  // On any thread.
  void Completed(Frame* f, uint32_t k, const absl::Status& status) {
    if (call_.progress != nullptr) call_.progress->Completed();
    if (call_.trace != nullptr) Trace(*f, k, f->ready_ns[k], f->ready_ns[k], call_.trace);
    if (!status.ok()) Fail(DescribeFailure(*f, k, status));
    absl::MutexLock lock(&mu_);
    const uint32_t at = f->waiting_at[k];
    const Ready last = memory_.waiting.back();
    memory_.waiting[at] = last;
    last.frame->waiting_at[last.k] = at;
    memory_.waiting.pop_back();
    if (status.ok()) memory_.ended.push_back({f, k});
    --outstanding_;
    changed_.Signal();
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
      memory_.offered.clear();
      failed_.store(true, std::memory_order_release);
      changed_.Signal();
    }
    if (rendezvous_ != nullptr) rendezvous_->Abort(status);
  }

  const absl::Span<Frame* const> frames_;
  const StepCall& call_;
  const bool slow_;  // watches the clock, tells, records
  ThreadPool* const pool_;
  const int helpers_;
  CancellationToken* const token_;
  Rendezvous* const rendezvous_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> gate_is_open_{false};
  bool shared_ = false;  // written with mu_ by the driver while it is alone, read by it and by helpers that came after
  absl::Mutex mu_;
  absl::CondVar changed_;
  DataflowMemory& memory_;  // but for the driver's lists, with mu_
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  int outstanding_ ABSL_GUARDED_BY(mu_) = 0;  // waits that have not ended, and threads that help
  bool timed_out_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace

absl::Status RunDataflow(absl::Span<Frame* const> frames, const StepCall& call, DataflowMemory* memory) {
  return DataflowRun(frames, call, memory).Run();
}

}  // namespace sluice
