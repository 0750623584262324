// Calls functions when their time has come, on one thread of its own.
//
//   Timer::Id id = Timer::Process().Start(absl::Milliseconds(50), [] { ... });
//   Timer::Process().Cancel(id);                // it may be running at this moment: the function must bear that
//
// Threads:  any method from any thread.
// Blocking: neither call; functions must be short.
// Lifetime: the thread begins with the first Start and lasts as long as the process.
#ifndef SLUICE_KERNELS_QUEUE_TIMER_H_
#define SLUICE_KERNELS_QUEUE_TIMER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace sluice {

class Timer {
 public:
  using Id = std::pair<absl::Time, uint64_t>;
  static Timer& Process();

  Id Start(absl::Duration after, std::function<void()> call);
  // Forgets it, unless it runs or has run.
  void Cancel(const Id& id);

 private:
  Timer() = default;
  void Loop();

  absl::Mutex mu_;
  absl::CondVar changed_;
  std::map<Id, std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 1;
  bool running_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_TIMER_H_
