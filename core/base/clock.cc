#include "core/base/clock.h"

#include <time.h>

#include <map>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"

namespace sluice {
namespace {

class MonotonicClock final : public Clock {
 public:
  absl::Duration Now() const override {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return absl::DurationFromTimespec(t);
  }

  TimerId RunAfter(absl::Duration delay, std::function<void()> work) override {
    absl::MutexLock lock(&mu_);
    if (!started_) {
      started_ = true;
      std::thread([this] { Loop(); }).detach();  // the clock outlives every thread
    }
    const TimerId id = next_++;
    const auto key = std::make_pair(Now() + delay, id);
    const bool first = timers_.empty() || key < timers_.begin()->first;
    timers_.emplace(key, std::move(work));
    due_.emplace(id, key.first);
    if (first) changed_.Signal();
    return id;
  }

  void CancelTimer(TimerId id) override {
    std::function<void()> dropped;  // destroyed after the lock is given up
    absl::MutexLock lock(&mu_);
    auto it = due_.find(id);
    if (it != due_.end()) {
      auto timer = timers_.find({it->second, id});
      dropped = std::move(timer->second);
      timers_.erase(timer);
      due_.erase(it);
      return;
    }
    if (std::this_thread::get_id() == thread_) return;
    while (running_ == id) ended_.Wait(&mu_);
  }

 private:
  void Loop() {
    absl::MutexLock lock(&mu_);
    thread_ = std::this_thread::get_id();
    while (true) {
      if (timers_.empty()) {
        changed_.Wait(&mu_);
        continue;
      }
      auto first = timers_.begin();
      const absl::Duration wait = first->first.first - Now();
      if (wait > absl::ZeroDuration()) {
        changed_.WaitWithTimeout(&mu_, wait);
        continue;
      }
      std::function<void()> work = std::move(first->second);
      running_ = first->first.second;
      due_.erase(running_);
      timers_.erase(first);
      mu_.Unlock();
      work();
      work = nullptr;
      mu_.Lock();
      running_ = 0;
      ended_.SignalAll();
    }
  }

  absl::Mutex mu_;
  absl::CondVar changed_;
  absl::CondVar ended_;
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  TimerId next_ ABSL_GUARDED_BY(mu_) = 1;
  TimerId running_ ABSL_GUARDED_BY(mu_) = 0;
  std::thread::id thread_ ABSL_GUARDED_BY(mu_);
  std::map<std::pair<absl::Duration, TimerId>, std::function<void()>> timers_ ABSL_GUARDED_BY(mu_);
  std::map<TimerId, absl::Duration> due_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

Clock* SystemClock() {
  static Clock* clock = new MonotonicClock;
  return clock;
}

}  // namespace sluice
