// How long each replica of a synchronous training takes, from the beginning of a step until its last gradient is here,
// and which replica is much slower than the others, step after step.
//
// The accumulators of a process tell, in one place: a replica's share of a step is complete when the last of them has
// it. A gradient that comes when its step is over tells how late its replica is.
//
// Threads: any method from any thread.
#ifndef SLUICE_CORE_BASE_CONTRIBUTIONS_H_
#define SLUICE_CORE_BASE_CONTRIBUTIONS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/step_times.h"

namespace sluice {

class Contributions {
 public:
  static constexpr int64_t kMostReplicas = 4096;

  // Of this process; it says on stderr who has become a straggler.
  static Contributions& Process();

  // `now` is of one clock that only moves forward. Several may say so of one step: the first counts.
  void StepBegan(int64_t step, absl::Duration now);
  void Arrived(int64_t step, int64_t replica, absl::Duration now);

  std::vector<Stragglers::Straggler> Named() const;
  // By replica.
  std::vector<TimeCounts> Times() const;

 private:
  struct Replica {
    double seconds = -1;  // in this step, until its last gradient so far
    double late = -1;     // of a gradient that came when its step was over
    std::unique_ptr<StepTimes> times = std::make_unique<StepTimes>();
  };
  void Finish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  int64_t step_ ABSL_GUARDED_BY(mu_) = -1;
  std::map<int64_t, absl::Duration> began_ ABSL_GUARDED_BY(mu_);  // of the last steps
  std::vector<Replica> replicas_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Stragglers> stragglers_ ABSL_GUARDED_BY(mu_);
  bool print_ = false;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_CONTRIBUTIONS_H_
