// Who is where: the tasks of a cluster and their addresses.
#ifndef SLUICE_DISTRIBUTED_CLUSTER_CLUSTER_H_
#define SLUICE_DISTRIBUTED_CLUSTER_CLUSTER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

namespace proto {
class ClusterDef;  // core/proto/cluster.pb.h
}  // namespace proto

// Of the calls between clients, masters and workers: raised when those that speak an older one would misunderstand.
inline constexpr int kProtocolVersion = 1;

struct Cluster {
  std::map<std::string, std::string> addresses;  // by task, "/job:ps/replica:0/task:0" -> "host:port"

  // Errors name the job, the task and what is wrong with them.
  static absl::StatusOr<Cluster> FromProto(const proto::ClusterDef& def);
  std::vector<std::string> tasks() const;
  // The address, or an error that lists the tasks there are.
  absl::StatusOr<std::string> Find(const std::string& task) const;
};

// "/job:ps/replica:0/task:3"
std::string TaskName(absl::string_view job, int task);
// The task of a full device name: "/job:ps/replica:0/task:3/device:CPU:0" -> "/job:ps/replica:0/task:3".
absl::string_view TaskOfDevice(absl::string_view device);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_CLUSTER_CLUSTER_H_
