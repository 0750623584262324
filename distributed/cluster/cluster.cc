#include "distributed/cluster/cluster.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/proto/cluster.pb.h"

namespace sluice {
namespace {

bool IsJobName(absl::string_view name) {
  if (name.empty() || !absl::ascii_isalpha(name[0])) return false;
  for (char c : name) {
    if (!absl::ascii_isalnum(c) && c != '_') return false;
  }
  return true;
}

absl::Status CheckAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == absl::string_view::npos || colon == 0) return InvalidArgument("wanted host:port");
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535)
    return InvalidArgument("'", address.substr(colon + 1), "' is no port");
  return absl::OkStatus();
}

}  // namespace

std::string TaskName(absl::string_view job, int task) { return absl::StrCat("/job:", job, "/replica:0/task:", task); }

absl::string_view TaskOfDevice(absl::string_view device) {
  const size_t at = device.find("/task:");
  if (at == absl::string_view::npos) return {};
  return device.substr(0, device.find('/', at + 1));
}

absl::StatusOr<Cluster> Cluster::FromProto(const proto::ClusterDef& def) {
  Cluster cluster;
  std::map<std::string, std::string> task_at;
  for (const proto::JobDef& job : def.job()) {
    if (!IsJobName(job.name()))
      return InvalidArgument("the cluster has a job '", job.name(), "': wanted a letter, then letters, digits and '_'");
    for (const auto& [index, address] : job.tasks()) {
      if (index < 0) return InvalidArgument("job '", job.name(), "' has a task ", index);
      const std::string task = TaskName(job.name(), index);
      absl::Status valid = CheckAddress(address);
      if (!valid.ok()) return Annotate(valid, absl::StrCat("the address '", address, "' of ", task, ": "));
      auto [other, fresh] = task_at.emplace(address, task);
      if (!fresh && !absl::EndsWith(address, ":0"))
        return InvalidArgument("the address '", address, "' is given to both ", other->second, " and ", task);
      if (!cluster.addresses.emplace(task, address).second) return InvalidArgument(task, " is there twice");
    }
  }
  return cluster;
}

std::vector<std::string> Cluster::tasks() const {
  std::vector<std::string> names;
  for (const auto& [task, address] : addresses) names.push_back(task);
  return names;
}

absl::StatusOr<std::string> Cluster::Find(const std::string& task) const {
  auto it = addresses.find(task);
  if (it != addresses.end()) return it->second;
  return NotFound("the cluster has no task ", task, "; it has ", absl::StrJoin(tasks(), ", "));
}

}  // namespace sluice
