#include "kernels/queue/timer.h"

#include <thread>

#include "absl/time/clock.h"

namespace sluice {

Timer& Timer::Process() {
  static Timer* timer = new Timer;  // never destroyed: its thread has no end
  return *timer;
}

Timer::Id Timer::Start(absl::Duration after, std::function<void()> call) {
  absl::MutexLock lock(&mu_);
  Id id(absl::Now() + after, next_++);
  bool first = waiting_.empty() || id < waiting_.begin()->first;
  waiting_.emplace(id, std::move(call));
  if (!running_) {
    running_ = true;
    std::thread([this] { Loop(); }).detach();
  } else if (first) {
    changed_.Signal();
  }
  return id;
}

void Timer::Cancel(const Id& id) {
  // Declared before the lock so that it is destroyed after it: it may hold the last reference of something large.
  std::function<void()> call;
  absl::MutexLock lock(&mu_);
  auto it = waiting_.find(id);
  if (it == waiting_.end()) return;
  call = std::move(it->second);
  waiting_.erase(it);
}

void Timer::Loop() {
  while (true) {
    std::function<void()> call;
    {
      absl::MutexLock lock(&mu_);
      while (waiting_.empty() || waiting_.begin()->first.first > absl::Now()) {
        changed_.WaitWithDeadline(&mu_, waiting_.empty() ? absl::InfiniteFuture() : waiting_.begin()->first.first);
      }
      call = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
    }
    call();
  }
}

}  // namespace sluice
