// The tensors of one step on one task. What is sent waits here for its receiver, which may be a node of this task or
// another task that asks (pull); what a node of this task receives from another task is fetched there.
//
//   node --Send--> table --RecvAsync--> node of this task
//                    `----RecvForPeer--> another task's RecvTensor
//   node <--RecvAsync-- fetch(task, key) of another task
//
// Threads, errors: as Rendezvous. After Abort nobody waits any more, whatever the network does later.
// Lifetime: reference-counted, since replies of other tasks may come after the step; used again for later steps.
#ifndef SLUICE_DISTRIBUTED_RENDEZVOUS_STEP_RENDEZVOUS_H_
#define SLUICE_DISTRIBUTED_RENDEZVOUS_STEP_RENDEZVOUS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/base/recycled_memory.h"
#include "core/base/ref_counted.h"
#include "core/kernel/rendezvous.h"
#include "runtime/rendezvous/local_rendezvous.h"

namespace sluice {

class StepRendezvousPool;

class StepRendezvous final : public Rendezvous, public RefCounted {
 public:
  // Asks `task` for the tensor; must call `done` once, on any thread.
  using Fetch = std::function<void(absl::string_view task, int64_t step_id, const Key& key, Callback done)>;

  // `task` is this one: "/job:worker/replica:0/task:1".
  StepRendezvous(std::string task, int64_t step_id, Fetch fetch);

  absl::Status Send(const Key& key, Value value) override;
  void RecvAsync(const Key& key, Callback done) override;
  void Abort(absl::Status why) override;

  void RecvForPeer(const Key& key, Callback done);
  // Something was sent that nobody has received.
  bool HoldsTensors() const { return table_.HoldsValues(); }
  // Keys that somebody waits for, sorted.
  std::vector<std::string> Waiting() const;

 private:
  friend class StepRendezvousPool;
  struct Fetching {
    std::basic_string<char, std::char_traits<char>, RecyclingAllocator<char>> key;
    Callback done;
  };

  void Destroy() const override;

  const std::string here_;  // with '/' at its end
  int64_t step_id_;
  const Fetch fetch_;
  LocalRendezvous table_;
  std::shared_ptr<StepRendezvousPool> pool_;  // null when it belongs to none, or is spare
  mutable absl::Mutex mu_;
  absl::Status aborted_ ABSL_GUARDED_BY(mu_);
  int64_t next_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<int64_t, Fetching> fetching_ ABSL_GUARDED_BY(mu_);
};

// The rendezvous of steps that have ended, with the memory of their tables, for the next ones.
//
// Threads: any method from any thread. Lives until the last rendezvous that it gave has come back.
class StepRendezvousPool : public std::enable_shared_from_this<StepRendezvousPool> {
 public:
  StepRendezvousPool(std::string task, StepRendezvous::Fetch fetch);
  ~StepRendezvousPool();
  RefPtr<StepRendezvous> Take(int64_t step_id);

 private:
  friend class StepRendezvous;
  static constexpr size_t kMost = 64;
  void GiveBack(StepRendezvous* rendezvous);

  const std::string task_;
  const StepRendezvous::Fetch fetch_;
  const absl::Status over_;  // for whoever still waits in one that comes back
  absl::Mutex mu_;
  std::vector<StepRendezvous*> spare_ ABSL_GUARDED_BY(mu_);
};

// An error that only tells of another task's: the one that a master reports last.
inline constexpr char kDerivedPayload[] = "sluice/derived";

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RENDEZVOUS_STEP_RENDEZVOUS_H_
