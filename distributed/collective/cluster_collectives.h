// Collectives between the tasks of a cluster: one object for each task.
//
//   kernel --Start--> join the group (once; the leader answers when all are there) --> a run for each request
//                                                                                     |-- SharedEngine: on one host
//                                                                                     |-- TwoLevel: on several hosts
//                                                                                     `-- Exchange: by messages
//
// Members of one host that can all map the memory that the first of them offers use that; they tell each other.
//
// A group that has formed has a generation. When a member fails, is cancelled, or is lost, the generation is over on
// every task, at once, with that member's error; the members' next steps form another one. So a task that was paused or
// replaced and still talks of an old generation is refused, and runs are counted anew.
//
// Threads:  any method from any thread. Blocking: none.
// Errors:   as Collectives says. Those that follow from another task's carry kDerivedPayload.
// Lifetime: reference-counted; what the options name must live until Shutdown has returned.
#ifndef SLUICE_DISTRIBUTED_COLLECTIVE_CLUSTER_COLLECTIVES_H_
#define SLUICE_DISTRIBUTED_COLLECTIVE_CLUSTER_COLLECTIVES_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/base/thread_pool.h"
#include "core/kernel/collectives.h"
#include "distributed/collective/exchange.h"
#include "distributed/collective/group_registry.h"
#include "distributed/collective/shared_engine.h"
#include "distributed/collective/two_level.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rendezvous/step_rendezvous.h"
#include "distributed/rpc/transport.h"
#include "distributed/stats/wire_stats.h"

namespace sluice {

struct ClusterCollectivesOptions {
  std::string task;
  std::string leader;                          // the task that keeps the groups
  std::vector<std::string> tasks;              // of the cluster, for messages
  std::string host;                            // equal for tasks that can share memory; empty: shares none
  absl::Duration timeout = absl::Minutes(10);  // of one wait for the other members
  std::shared_ptr<WireStats> wire;  // for what is read in shared memory; who calls counts messages. May be null
  Clock* clock = nullptr;
  Executor* executor = nullptr;
  ThreadPool* pool = nullptr;
  // Calls a method of another task's worker ("JoinGroup"); `done` runs once. Errors say who was asked, and how.
  std::function<void(const std::string& task, const std::string& method, Message request, absl::Duration timeout,
                     Reply done)>
      call;
};

class ClusterCollectives final : public Collectives {
 public:
  explicit ClusterCollectives(ClusterCollectivesOptions options);
  void Start(CollectiveRequest request, Done done) override;
  std::string DebugString() const override { return "collectives of " + options_.task; }

  // A step in which members of these groups take part has failed here: perhaps before it came to a collective that
  // others wait in.
  void StepFailed(const std::vector<int64_t>& groups, const absl::Status& why);
  // What other tasks ask: methods of the worker's service.
  static bool Handles(absl::string_view method);
  void Handle(absl::string_view method, const Message& request, Reply reply);
  // Ends everything with `why`; nothing starts after it, and options.call is used no more. From no callback of it.
  void Shutdown(const absl::Status& why);

 private:
  struct Run;
  struct Generation;
  struct Member;
  using MemberKey = std::pair<int64_t, std::string>;  // group, device
  using Runs = std::vector<std::shared_ptr<Run>>;

  void JoinGroup(const proto::JoinGroupRequest& request, Reply reply);
  void EndGroup(const proto::EndGroupRequest& request);
  void Pull(int64_t generation, const std::string& key, Rendezvous::Callback done);
  // The tensor `key` of a generation, from another task.
  void Fetch(const std::string& task, int64_t generation, const std::string& key, Rendezvous::Callback done);
  RefPtr<StepRendezvous> MakeRendezvous(int64_t generation);
  // options_.call, until Shutdown.
  void Call(const std::string& task, const char* method, Message request, absl::Duration timeout, Reply done);
  void Join(const MemberKey& key, uint64_t id, int64_t size);
  void Joined(const MemberKey& key, uint64_t id, absl::StatusOr<proto::JoinGroupResponse> response);
  // The members of one host: tell each other whether they can map the memory of the first, and use it if all can.
  void Vote(const MemberKey& key, const std::shared_ptr<Generation>& generation);
  HostView ViewOfHost(const Generation& generation, int rank, const GroupView& all,
                      std::unique_ptr<SharedSegment> segment) const;
  void Ready(const MemberKey& key, const std::shared_ptr<Generation>& generation);
  // Notices members that are lost: each has a question open at the others that nobody ever answers.
  void WatchOthers(const MemberKey& key, const std::shared_ptr<Generation>& generation);
  void Lost(int64_t generation, const absl::Status& why);
  void Begin(const std::shared_ptr<Run>& run);
  void Cancelled(const std::shared_ptr<Run>& run, const absl::Status& why);
  void FailRun(const std::shared_ptr<Run>& run, const absl::Status& why);
  void Finished(const std::shared_ptr<Run>& run, absl::Status status);
  void EndRun(Run& run, absl::Status status);
  // Ends a generation here; with `tell` also on the other tasks.
  void EndGeneration(int64_t generation, const absl::Status& why, bool tell);
  void TellLeader(int64_t group_key, int64_t generation, uint64_t member, const absl::Status& why);
  void TellMembers(int64_t group_key, const GroupRegistry::Ended& ended);
  Runs Detach(Member& member, const absl::Status& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  RefPtr<ClusterCollectives> Self() { return RefPtr<ClusterCollectives>::Share(this); }

  const ClusterCollectivesOptions options_;
  const std::shared_ptr<GroupRegistry> registry_;  // used when this task is the leader
  absl::Mutex mu_;
  absl::Status closed_ ABSL_GUARDED_BY(mu_);
  int calling_ ABSL_GUARDED_BY(mu_) = 0;
  int joining_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<MemberKey, std::unique_ptr<Member>> members_ ABSL_GUARDED_BY(mu_);
  std::map<int64_t, std::shared_ptr<Generation>> generations_ ABSL_GUARDED_BY(mu_);
  // What other members ask for before this task has heard that the group is complete.
  std::map<int64_t, RefPtr<StepRendezvous>> early_ ABSL_GUARDED_BY(mu_);
  std::deque<std::pair<int64_t, absl::Status>> ended_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_COLLECTIVE_CLUSTER_COLLECTIVES_H_
