// Time and timers. The system's clock is monotonic: setting the wall clock changes nothing. Tests and the simulation
// have clocks of their own, which only move when told.
//
// Threads:  any method from any thread; timers run on a thread of the clock, so keep them short.
#ifndef SLUICE_CORE_BASE_CLOCK_H_
#define SLUICE_CORE_BASE_CLOCK_H_

#include <cstdint>
#include <functional>

#include "absl/time/time.h"

namespace sluice {

class Clock {
 public:
  using TimerId = int64_t;

  virtual ~Clock() = default;
  // Since some fixed moment.
  virtual absl::Duration Now() const = 0;
  // Runs `work` once, `delay` from now (at once, on the clock's thread, when it is not positive).
  virtual TimerId RunAfter(absl::Duration delay, std::function<void()> work) = 0;
  // After it returns the timer has run or never will; it waits for one that is running, unless called from it.
  virtual void CancelTimer(TimerId id) = 0;
};

// Lives as long as the process.
Clock* SystemClock();

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_CLOCK_H_
