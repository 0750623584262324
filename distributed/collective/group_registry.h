// Who is in which group: kept by one task of the cluster, the leader of all groups.
//
// A group forms when as many members have asked as its size says; each gets the list of all, and a number that names
// this meeting, the generation. It ends for all when one member says so, or asks anew because it was started again.
//
// Threads: any method from any thread. Replies run outside the lock.
#ifndef SLUICE_DISTRIBUTED_COLLECTIVE_GROUP_REGISTRY_H_
#define SLUICE_DISTRIBUTED_COLLECTIVE_GROUP_REGISTRY_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "distributed/proto/worker.pb.h"

namespace sluice {

class GroupRegistry : public std::enable_shared_from_this<GroupRegistry> {
 public:
  using Done = std::function<void(absl::StatusOr<proto::JoinGroupResponse>)>;
  struct Ended {
    int64_t generation = 0;
    std::vector<std::string> devices;
    absl::Status why;
  };

  // `tasks` are those of the cluster, for messages.
  GroupRegistry(std::vector<std::string> tasks, Clock* clock) : tasks_(std::move(tasks)), clock_(clock) {}

  // `done` runs when the group is complete, or with DEADLINE_EXCEEDED that names who is missing. Returns the generation
  // that ends with this, if one does: its members must be told.
  std::optional<Ended> Join(const proto::JoinGroupRequest& request, Done done);
  // A member, by its id, has found that its group is over.
  std::optional<Ended> End(int64_t group_key, uint64_t member, const absl::Status& why);
  void Shutdown(const absl::Status& why);

 private:
  struct Waiting {
    proto::GroupMember member;
    Done done;
    Clock::TimerId timer = 0;
  };
  struct Group {
    int64_t size = 0;
    int64_t generation = 0;                   // 0 while it forms
    std::vector<proto::GroupMember> members;  // once formed, in order
    std::map<std::string, Waiting> waiting;   // by device
  };
  using Replies = std::vector<std::pair<Waiting, absl::StatusOr<proto::JoinGroupResponse>>>;

  void TimeOut(int64_t group_key, uint64_t member, absl::Duration waited);
  std::string Missing(int64_t group_key, const Group& group) const;
  void Send(Replies replies);

  const std::vector<std::string> tasks_;
  Clock* const clock_;
  absl::Mutex mu_;
  std::map<int64_t, Group> groups_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_COLLECTIVE_GROUP_REGISTRY_H_
