#include "runtime/executor/lanes.h"

#include <sched.h>

#include <atomic>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/base/ref_counted.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "runtime/executor/run_instruction.h"

namespace sluice {
namespace {

constexpr int64_t kWaitNs = 5'000;         // in a lane, before its thread looks for another one
constexpr int64_t kHelperIdleNs = 20'000;  // without a lane, before a thread goes back to the pool
constexpr int64_t kDriverIdleNs = 50'000;  // before the caller's thread sleeps
constexpr int kPausesBetweenLooks = 32;

inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// Spins until `there` or for `ns`; returns whether `there`.
template <typename There>
bool SpinUntil(int64_t ns, There there) {
  if (there()) return true;
  if (ns == 0) return false;
  const int64_t until = StepTrace::Now() + ns;
  do {
    for (int i = 0; i < kPausesBetweenLooks; ++i) {
      Pause();
      if (there()) return true;
    }
  } while (StepTrace::Now() < until);
  return false;
}

class LanesRun;

// The way in for threads of the pool: who was asked to come may come when the run, or the step, is over.
struct LanesGate : public RefCounted {
  std::atomic<LanesRun*> run{nullptr};
  std::atomic<int> inside{0};  // counted before `run` is read: the end of a run waits for those inside
  std::atomic<int> coming{0};  // asked to come, and without a lane
};

enum LaneState : uint32_t { kFree, kTaken, kEnded };

// Written by the thread that has the lane; `progress` is read by those that wait.
struct alignas(128) Lane {
  std::atomic<uint32_t> progress{0};
  std::atomic<uint32_t> state{kFree};
  std::atomic<uint32_t> at{0};  // its next entry, when it is free
};

}  // namespace

struct LanesMemory {
  explicit LanesMemory(int count) : lanes(count), gate(MakeRef<LanesGate>()) {}
  std::vector<Lane> lanes;
  RefPtr<LanesGate> gate;
};

void DeleteLanesMemory::operator()(LanesMemory* memory) const { delete memory; }
std::unique_ptr<LanesMemory, DeleteLanesMemory> MakeLanesMemory(int lanes) {
  return std::unique_ptr<LanesMemory, DeleteLanesMemory>(new LanesMemory(lanes));
}

namespace {

// Who changes something that the sleeping driver may wait for (a progress word, a lane's state, the error) changes it
// first and then looks at `asleep_`; the driver sets `asleep_` first and then looks at all of these. Both in one order
// for all threads, so one of the two sees the other.
class LanesRun {
 public:
  LanesRun(Frame& frame, const StepCall& call)
      : frame_(frame),
        plan_(frame.plan),
        call_(call),
        mode_(ModeOf(call)),
        pool_(frame.context.pool),
        token_(frame.context.cancellation),
        lanes_(frame.lanes->lanes),
        gate_(*frame.lanes->gate),
        count_(static_cast<uint32_t>(lanes_.size())) {}

  absl::Status Run() {
    for (uint32_t l = 0; l < count_; ++l) {
      const bool empty = plan_.lane_begin[l] == plan_.lane_begin[l + 1];
      lanes_[l].progress.store(0, std::memory_order_relaxed);
      lanes_[l].at.store(0, std::memory_order_relaxed);
      lanes_[l].state.store(empty ? kEnded : kFree, std::memory_order_relaxed);
      if (empty) ended_.fetch_add(1, std::memory_order_relaxed);
    }
    gate_.run.store(this);
    // The first lane is the caller's; others are taken by who comes, or by the caller when it has to wait.
    if (lanes_[0].state.load() == kFree && Take(0)) {
      Invite();
      RunLane(0, kWaitNs);
    }
    while (!Over()) {
      const int lane = TakeAny();
      if (lane >= 0) {
        RunLane(static_cast<uint32_t>(lane), kWaitNs);
      } else {
        WaitForChange();
      }
    }
    CloseGate();
    for (uint32_t s : plan_.final_releases) frame_.slots[s] = Tensor();
    absl::MutexLock lock(&mu_);
    return error_;
  }

  // On a thread of the pool.
  void Help() {
    while (true) {
      int lane = -1;
      SpinUntil(Spin(kHelperIdleNs), [&] { return failed_.load() || AllEnded() || (lane = TakeAny()) >= 0; });
      if (lane < 0) return;
      gate_.coming.fetch_sub(1, std::memory_order_relaxed);
      RunLane(static_cast<uint32_t>(lane), kHelperIdleNs);
      gate_.coming.fetch_add(1, std::memory_order_relaxed);
    }
  }

 private:
  int64_t Spin(int64_t ns) const { return plan_.lanes_spin ? ns : 0; }
  bool AllEnded() const { return ended_.load() == count_; }
  // Nothing runs, and nothing will.
  bool Over() const { return AllEnded() || (failed_.load() && taken_.load() == 0); }

  // Null when none is left. Of a lane that others may take it is out of date at any moment.
  const LaneEntry* Next(uint32_t l) const {
    const uint32_t at = plan_.lane_begin[l] + lanes_[l].at.load(std::memory_order_relaxed);
    return at < plan_.lane_begin[l + 1] ? &plan_.lane_entries[at] : nullptr;
  }
  bool MayGoOn(const LaneEntry& entry) const {
    for (uint32_t w = entry.wait_begin; w < entry.wait_end; ++w) {
      const LaneWait& wait = plan_.lane_waits[w];
      if (lanes_[wait.lane].progress.load() < wait.progress) return false;
    }
    return true;
  }
  // What a lane goes on with that nobody has, or null. Another thread may take it at any moment.
  const LaneEntry* Open(uint32_t l) const {
    if (lanes_[l].state.load() != kFree) return nullptr;
    const LaneEntry* next = Next(l);
    return next != nullptr && MayGoOn(*next) ? next : nullptr;
  }

  // --- Taking and running lanes ---

  bool Take(uint32_t l) {
    // Before the error is looked at: the driver sees either the lane taken or has been seen to have failed.
    taken_.fetch_add(1);
    uint32_t state = kFree;
    if (!failed_.load() && lanes_[l].state.compare_exchange_strong(state, kTaken)) {
      if (MayGoOn(*Next(l))) return true;
      lanes_[l].state.store(kFree);  // it was taken and left in between
    }
    taken_.fetch_sub(1);
    Tell();
    return false;
  }

  int TakeAny() {
    for (uint32_t l = 0; l < count_; ++l) {
      if (Open(l) != nullptr && Take(l)) return static_cast<int>(l);
    }
    return -1;
  }

  void RunLane(uint32_t l, int64_t wait_ns) {
    switch (mode_) {
      case kFast:
        return RunFrom<kFast>(l, Spin(wait_ns));
      case kCounted:
        return RunFrom<kCounted>(l, Spin(wait_ns));
      case kSlow:
        return RunFrom<kSlow>(l, Spin(wait_ns));
    }
  }

  // REQUIRES: the lane is taken, and its next entry need not wait.
  template <LaneMode kMode>
  void RunFrom(uint32_t l, int64_t wait_ns) {
    Lane& lane = lanes_[l];
    const LaneEntry* entries = plan_.lane_entries.data() + plan_.lane_begin[l];
    const uint32_t end = plan_.lane_begin[l + 1] - plan_.lane_begin[l];
    uint32_t at = lane.at.load(std::memory_order_relaxed);
    while (at < end) {
      const LaneEntry& entry = entries[at];
      if (ABSL_PREDICT_FALSE(failed_.load(std::memory_order_acquire))) break;
      if (ABSL_PREDICT_FALSE(token_->cancelled())) {
        Fail(token_->status());
        break;
      }
      if (entry.wait_begin != entry.wait_end && !WaitFor(entry, wait_ns)) break;
      const uint32_t k = entry.instruction;
      absl::Status error;
      if (ABSL_PREDICT_FALSE(!RunInstruction<kMode>(frame_, plan_, call_, k, &frame_.contexts[k], &error))) {
        Fail(error);
        break;
      }
      ++at;
      if (entry.publish) {
        lane.progress.store(at);
        Tell();
        if (at < end && taken_.load(std::memory_order_relaxed) < static_cast<int>(count_)) Invite();
      }
    }
    lane.at.store(at, std::memory_order_relaxed);
    if (at == end) {
      lane.state.store(kEnded);
      ended_.fetch_add(1);
    } else {
      lane.state.store(kFree);
    }
    taken_.fetch_sub(1);
    Tell();
  }

  bool WaitFor(const LaneEntry& entry, int64_t ns) {
    if (MayGoOn(entry)) return true;
    SpinUntil(ns, [&] { return failed_.load(std::memory_order_acquire) || MayGoOn(entry); });
    return !failed_.load(std::memory_order_acquire) && MayGoOn(entry);
  }

  // --- Other threads ---

  // Asks threads of the pool to come for lanes that nobody has, when they have work for them.
  void Invite() {
    int wanted = 0;
    for (uint32_t l = 0; l < count_; ++l) {
      const LaneEntry* next = Open(l);
      if (next != nullptr && next->ahead_ns >= plan_.invite_ns) ++wanted;
    }
    wanted -= gate_.coming.load(std::memory_order_relaxed);
    for (; wanted > 0; --wanted) {
      gate_.coming.fetch_add(1, std::memory_order_relaxed);
      // The pool runs it exactly once, also when it ends. A plain pointer fits into the function object.
      gate_.Ref();
      LanesGate* held = &gate_;
      pool_->Schedule([held] {
        const RefPtr<LanesGate> gate = RefPtr<LanesGate>::Adopt(held);
        gate->inside.fetch_add(1);
        if (LanesRun* run = gate->run.load(); run != nullptr) run->Help();
        gate->coming.fetch_sub(1, std::memory_order_relaxed);
        gate->inside.fetch_sub(1);
      });
    }
  }

  // Those inside have no lane any more, and leave.
  void CloseGate() {
    gate_.run.store(nullptr);
    for (int i = 0; gate_.inside.load() != 0; ++i) {
      if (i < 2000) {
        Pause();
      } else {
        sched_yield();
      }
    }
  }

  // --- The driver's sleep ---

  bool Changed() const {
    if (Over()) return true;
    if (failed_.load()) return false;
    for (uint32_t l = 0; l < count_; ++l) {
      if (Open(l) != nullptr) return true;
    }
    return false;
  }

  void WaitForChange() {
    if (SpinUntil(Spin(kDriverIdleNs), [this] { return Changed(); })) return;
    absl::MutexLock lock(&mu_);
    asleep_.store(true);
    while (!Changed()) changed_.Wait(&mu_);
    asleep_.store(false);
  }

  void Tell() {
    if (ABSL_PREDICT_TRUE(!asleep_.load())) return;
    absl::MutexLock lock(&mu_);
    changed_.Signal();
  }

  void Fail(const absl::Status& status) {
    {
      absl::MutexLock lock(&mu_);
      if (error_.ok()) error_ = status;
    }
    failed_.store(true);
    Tell();
    // Ends what functions do in other lanes. The body of a function leaves it to its caller, who may know better.
    if (call_.parent == nullptr) token_->Cancel(status);
  }

  Frame& frame_;
  const PartitionPlan& plan_;
  const StepCall& call_;
  const LaneMode mode_;
  ThreadPool* const pool_;
  CancellationToken* const token_;
  std::vector<Lane>& lanes_;
  LanesGate& gate_;
  const uint32_t count_;
  std::atomic<bool> failed_{false};
  std::atomic<bool> asleep_{false};
  std::atomic<int> taken_{0};  // lanes that a thread has, or is about to
  std::atomic<uint32_t> ended_{0};
  absl::Mutex mu_;
  absl::CondVar changed_;
  absl::Status error_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

absl::Status RunLanes(Frame& frame, const StepCall& call) {
  if (frame.lanes == nullptr || frame.context.pool == nullptr || frame.context.pool->parallelism() == 1) {
    return RunLane(frame, call);
  }
  RETURN_IF_ERROR(frame.ReserveArena());
  return LanesRun(frame, call).Run();
}

}  // namespace sluice
