// A clock that moves when told.
//
// Threads: one. A cancelled timer still fires, as one may that is cancelled too late.
#ifndef SLUICE_CORE_TESTING_MANUAL_CLOCK_H_
#define SLUICE_CORE_TESTING_MANUAL_CLOCK_H_

#include <functional>
#include <map>
#include <utility>

#include "core/base/clock.h"

namespace sluice {

class ManualClock final : public Clock {
 public:
  absl::Duration Now() const override { return now_; }
  TimerId RunAfter(absl::Duration delay, std::function<void()> work) override {
    timers_.emplace(std::make_pair(now_ + delay, next_), std::move(work));
    return next_++;
  }
  void CancelTimer(TimerId) override {}
  // Runs what is due until then, each at its time.
  void Advance(absl::Duration by) {
    const absl::Duration until = now_ + by;
    while (!timers_.empty() && timers_.begin()->first.first <= until) {
      auto timer = timers_.extract(timers_.begin());
      now_ = timer.key().first;
      timer.mapped()();
    }
    now_ = until;
  }
  void Forget() { timers_.clear(); }
  size_t timers() const { return timers_.size(); }

 private:
  absl::Duration now_;
  TimerId next_ = 1;
  std::map<std::pair<absl::Duration, TimerId>, std::function<void()>> timers_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_TESTING_MANUAL_CLOCK_H_
