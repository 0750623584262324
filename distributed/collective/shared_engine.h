// Collectives of members on one host, through memory that they share: no system call on the way while members keep up.
//
// Each member has one thread here. A request is announced on the member's board; when member 0 has seen it on all
// boards, and all agree, it enters it in the schedule; every member runs what is scheduled, in that order. So members
// may ask in any order, and a disagreement is found before a byte moves.
//
// A tensor passes in chunks through slots that stay in the caches. Two members read each other's chunk and merge:
//
//     publish: input -> own slot          merge: slot 0 + slot 1 -> output
//
// More than two divide each chunk: each merges its part from all slots in the order of members, straight from there,
// puts the result back into its slot, and all read the parts they lack. So each number is merged once.
// Both give member 0 op member 1 op member 2 ...
//
// Threads:  any method from any thread. `done` runs on the engine's thread; keep it short.
// Blocking: the destructor, until the thread has ended. A wait spins for some microseconds and then sleeps.
// Errors:   the first failure of any member ends all runs of all members.
#ifndef SLUICE_DISTRIBUTED_COLLECTIVE_SHARED_ENGINE_H_
#define SLUICE_DISTRIBUTED_COLLECTIVE_SHARED_ENGINE_H_

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/kernel/collectives.h"
#include "distributed/collective/shared_segment.h"
#include "distributed/stats/wire_stats.h"

namespace sluice {

class SharedEngine {
 public:
  // `devices` are the members', by rank. What this member reads of each other one is counted, where there is a counter.
  using Counters = std::vector<std::shared_ptr<WireCounters>>;
  SharedEngine(std::unique_ptr<SharedSegment> segment, int rank, std::vector<std::string> devices, Counters counters);
  ~SharedEngine();

  void Start(CollectiveRequest request, int64_t run, Collectives::Done done);
  bool OnOwnThread() const { return std::this_thread::get_id() == thread_.get_id(); }
  // Ends every run of this generation, on all members.
  void Fail(const absl::Status& why);
  // As Fail, naming this member as the one that found it.
  void Leave(const absl::Status& why);
  // The members that have not announced a run, or are behind in it; may be empty.
  std::string WaitsFor(int64_t instance, int64_t run);

 private:
  using Id = std::pair<uint64_t, uint64_t>;  // instance, run
  struct Pending {
    CollectiveRequest request;
    Collectives::Done done;
  };

  void Loop();
  bool Look();  // announces, schedules; true when there is a run to do
  void Announce() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Schedule();
  absl::Status Do(const CollectiveRequest& request, int source);
  absl::Status Exchange(const CollectiveRequest& request, int source);
  absl::Status Divide(const CollectiveRequest& request);
  // Counts a run: one tensor of each member that it has read from.
  void Count(const CollectiveRequest& request, int source, bool divided, absl::Duration took) const;
  // False when the group has failed.
  bool Wait(absl::FunctionRef<bool()> ready);
  bool WaitAll(std::atomic<uint64_t> SharedSegment::Member::*counter, uint64_t at_least);
  void Post(std::atomic<uint64_t> SharedSegment::Member::*counter, uint64_t value);
  void RingAll();
  std::string NameOf(int rank) const;

  const std::unique_ptr<SharedSegment> segment_;
  const int rank_;
  const std::vector<std::string> devices_;
  const int members_;
  const Counters counters_;
  uint64_t chunks_ = 0;  // that all runs so far had
  uint64_t runs_ = 0;
  // Member 0: what it has seen, by run.
  std::map<Id, std::vector<SharedSegment::Entry>> announced_;

  absl::Mutex mu_;
  std::map<Id, Pending> pending_ ABSL_GUARDED_BY(mu_);
  std::deque<Id> backlog_ ABSL_GUARDED_BY(mu_);  // not announced yet
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_COLLECTIVE_SHARED_ENGINE_H_
