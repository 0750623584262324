// Calls that were made and have not ended: each ends once, at the latest when its time is over.
//
//   const uint64_t id = calls->Add(method, timeout, std::move(done));
//   ... calls->End(id, std::move(reply));     // or nothing happens: it has ended already
//
// Threads: any method from any thread. `done` runs on the thread that ends the call, without a lock; for deadlines that
// is the clock's.
#ifndef SLUICE_DISTRIBUTED_RPC_PENDING_CALLS_H_
#define SLUICE_DISTRIBUTED_RPC_PENDING_CALLS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/recycled_memory.h"
#include "distributed/rpc/transport.h"

namespace sluice {

class PendingCalls : public std::enable_shared_from_this<PendingCalls> {
 public:
  // `peer` appears in errors: "the task at localhost:2222".
  explicit PendingCalls(std::string peer) : peer_(std::move(peer)) {}

  uint64_t Add(const std::string& method, absl::Duration timeout, Reply done);
  void End(uint64_t id, absl::StatusOr<Message> result);
  // With an error of the transport: "<method> to <peer>: <what>".
  void Fail(uint64_t id, absl::StatusCode code, absl::string_view what);
  // As Fail, from the clock's thread: for a caller that must not run callbacks.
  void FailLater(uint64_t id, absl::StatusCode code, absl::string_view what);
  // Every call that was added before the last BeginGeneration (or all).
  void FailEarlier(absl::StatusCode code, absl::string_view what);
  void FailAllLater(absl::StatusCode code, absl::string_view what);
  void BeginGeneration();
  // False when it has ended.
  bool TimeLeft(uint64_t id, absl::Duration* left);

 private:
  struct Call {
    Reply done;
    Bytes method;
    absl::Duration timeout, deadline;
    uint64_t generation = 0;
  };

  bool Take(uint64_t id, Call* call);
  void FailBefore(uint64_t generation, absl::StatusCode code, absl::string_view what);
  absl::Status Error(const Call& call, absl::StatusCode code, absl::string_view what) const;
  void Arm(absl::Duration deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnTimer(absl::Duration which);

  const std::string peer_;
  absl::Mutex mu_;
  uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  uint64_t generation_ ABSL_GUARDED_BY(mu_) = 0;
  std::unordered_map<uint64_t, Call, std::hash<uint64_t>, std::equal_to<uint64_t>,
                     RecyclingAllocator<std::pair<const uint64_t, Call>>>
      calls_ ABSL_GUARDED_BY(mu_);
  using Deadline = std::pair<absl::Duration, uint64_t>;
  std::set<Deadline, std::less<Deadline>, RecyclingAllocator<Deadline>> deadlines_ ABSL_GUARDED_BY(mu_);
  // The one timer that is set; calls that end before it leave it alone.
  absl::Duration armed_ ABSL_GUARDED_BY(mu_) = absl::InfiniteDuration();
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_PENDING_CALLS_H_
