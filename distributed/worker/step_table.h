// The steps that a worker takes part in, from the first message about one, whichever comes first, to its end.
//
// A step that has ended is remembered for a while, so that what comes late for it (a duplicate, a message that was
// delayed, a peer that has not heard) is refused instead of waiting for something that will not happen.
//
// Threads: any method from any thread.
#ifndef SLUICE_DISTRIBUTED_WORKER_STEP_TABLE_H_
#define SLUICE_DISTRIBUTED_WORKER_STEP_TABLE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/cancellation.h"
#include "core/base/clock.h"
#include "core/base/recycled_memory.h"
#include "distributed/rendezvous/step_rendezvous.h"
#include "runtime/executor/progress.h"

namespace sluice {

// Used again for later steps when the last reference has gone.
struct WorkerStep {
  int64_t id = 0;
  RefPtr<StepRendezvous> rendezvous;
  CancellationToken cancellation;
  StepProgress progress;
  absl::Duration since;  // by the table's clock
  bool running = false;  // guarded by the table
  bool ran = false;      // guarded by the table
  std::string session;   // guarded by the table; empty while only peers know of it
};

class StepTable {
 public:
  StepTable(std::string task, StepRendezvous::Fetch fetch, Clock* clock);
  ~StepTable();

  // Makes it when this is the first that is heard of it. ABORTED when it has ended, RESOURCE_EXHAUSTED when there are
  // too many that no master has begun.
  absl::StatusOr<std::shared_ptr<WorkerStep>> Find(int64_t id);
  // As Find without that limit, for the one run of the step; ABORTED when it was run before.
  absl::StatusOr<std::shared_ptr<WorkerStep>> Begin(int64_t id, const std::string& session);
  // The run is over; the step stays for its peers until End.
  void Ran(WorkerStep& step);
  // Wakes everybody who waits with `why`, cancels the run when `cancel` or when it goes on still, and forgets the step.
  void End(int64_t id, const absl::Status& why, bool cancel);
  // Ends the steps of a session, or all of them when it is empty; none of that session begins after it.
  void EndSession(const std::string& session, const absl::Status& why);
  bool HasEnded(const std::string& session) const;
  // The session of a step that was begun here; empty for others.
  std::string SessionOf(int64_t id) const;
  // Calls `done` once, with true as soon as no step of the session runs (now, if none does), with false after
  // `timeout`.
  void WhenIdle(const std::string& session, absl::Duration timeout, std::function<void(bool idle)> done);
  // Ends steps that nobody has begun to run within `age` of being heard of, since their master is gone, and those that
  // ran before and hold no tensor for a peer, should nobody have ended them.
  void Sweep(absl::Duration age);

  struct View {
    int64_t id = 0;
    absl::Duration age;
    std::vector<std::string> waiting_for;    // keys of tensors
    std::vector<std::string> waiting_nodes;  // in words
    std::string running_node;
    int64_t completed = 0;
  };
  // The oldest first; all, or those of `ids`.
  template <typename Ids>
  std::vector<View> List(const Ids& ids) const {
    return Views(std::vector<int64_t>(ids.begin(), ids.end()));
  }
  int running() const;

 private:
  static constexpr size_t kRemembered = 100'000;
  static constexpr size_t kMaxSteps = 20'000;

  struct Spare;

  struct IdleWait {
    std::string session;
    std::function<void(bool)> done;
    Clock::TimerId timer = 0;
  };

  absl::StatusOr<std::shared_ptr<WorkerStep>> FindOrMake(int64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status Ended(int64_t id) const;
  std::vector<View> Views(const std::vector<int64_t>& ids) const;
  std::shared_ptr<WorkerStep> MakeStep(int64_t id);
  void IdleTimedOut(int64_t wait);

  const std::string task_;
  const std::shared_ptr<StepRendezvousPool> rendezvous_;
  Clock* const clock_;
  const absl::Status over_;  // for those who still wait in a step that ends well
  const std::shared_ptr<Spare> spare_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<int64_t, std::shared_ptr<WorkerStep>> steps_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<int64_t> ended_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<std::string> ended_sessions_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, int> running_of_ ABSL_GUARDED_BY(mu_);  // steps that run, by session
  int64_t next_wait_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<int64_t, IdleWait> idle_waits_ ABSL_GUARDED_BY(mu_);
  std::deque<int64_t, RecyclingAllocator<int64_t>> order_ ABSL_GUARDED_BY(mu_);  // of ended_, the oldest first
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_WORKER_STEP_TABLE_H_
