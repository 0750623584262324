#include "distributed/collective/group_registry.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/kernel/collectives.h"
#include "distributed/cluster/cluster.h"

namespace sluice {
namespace {

int64_t RandomGeneration() {
  std::random_device random;
  int64_t id = 0;
  while (id == 0) id = static_cast<int64_t>(((uint64_t{random()} << 32) | random()) >> 1);
  return id;
}

std::string Names(const std::vector<proto::GroupMember>& members) {
  return absl::StrJoin(members, ", ", [](std::string* out, const proto::GroupMember& m) { *out += m.device(); });
}

}  // namespace

std::optional<GroupRegistry::Ended> GroupRegistry::Join(const proto::JoinGroupRequest& request, Done done) {
  const int64_t key = request.group_key();
  const std::string& device = request.member().device();
  if (request.group_size() < 2 || request.group_size() > 1'000'000 || device.empty() || request.member().id() == 0) {
    done(InvalidArgument("a request to join group ", key, " with size ", request.group_size()));
    return std::nullopt;
  }
  std::optional<Ended> ended;
  Replies replies;
  {
    absl::MutexLock lock(&mu_);
    Group& group = groups_[key];
    if (group.generation != 0) {
      const bool known = std::any_of(group.members.begin(), group.members.end(),
                                     [&](const proto::GroupMember& m) { return m.device() == device; });
      if (!known && request.group_size() == group.size) {
        absl::Status refusal =
            InvalidArgument("group ", key, " has its ", group.size, " members already: ", Names(group.members), "; ",
                            device, " is one too many");
        replies.emplace_back(Waiting{request.member(), std::move(done), 0}, refusal);
      } else {
        ended.emplace();
        ended->generation = group.generation;
        for (const auto& m : group.members) ended->devices.push_back(m.device());
        ended->why = absl::AbortedError(
            absl::StrCat(device, " has joined group ", key, " anew: it was started again, or its step had failed"));
        group = Group();
      }
    }
    if (replies.empty()) {
      if (group.waiting.empty()) group.size = request.group_size();
      if (group.size != request.group_size()) {
        absl::Status differ =
            InvalidArgument("group ", key, " has ", group.size, " members for ", group.waiting.begin()->first, " and ",
                            request.group_size(), " for ", device);
        for (auto& [name, w] : group.waiting) replies.emplace_back(std::move(w), differ);
        replies.emplace_back(Waiting{request.member(), std::move(done), 0}, differ);
        groups_.erase(key);
      } else {
        Waiting& place = group.waiting[device];
        if (place.done) {
          replies.emplace_back(std::move(place),
                               absl::AbortedError(absl::StrCat(device, " has joined group ", key, " anew")));
        }
        place = Waiting{request.member(), std::move(done), 0};
        const absl::Duration limit = absl::Milliseconds(std::max<int64_t>(1, request.timeout_ms()));
        place.timer = clock_->RunAfter(limit, [weak = weak_from_this(), key, id = request.member().id(), limit] {
          if (auto self = weak.lock()) self->TimeOut(key, id, limit);
        });
        if (static_cast<int64_t>(group.waiting.size()) == group.size) {
          for (const auto& [name, w] : group.waiting) group.members.push_back(w.member);
          std::sort(group.members.begin(), group.members.end(),
                    [](const auto& a, const auto& b) { return DeviceBefore(a.device(), b.device()); });
          group.generation = RandomGeneration();
          proto::JoinGroupResponse response;
          response.set_generation(group.generation);
          for (const auto& m : group.members) *response.add_member() = m;
          for (auto& [name, w] : group.waiting) replies.emplace_back(std::move(w), response);
          group.waiting.clear();
        }
      }
    }
  }
  Send(std::move(replies));
  return ended;
}

std::optional<GroupRegistry::Ended> GroupRegistry::End(int64_t group_key, uint64_t member, const absl::Status& why) {
  std::optional<Ended> ended;
  Replies replies;
  {
    absl::MutexLock lock(&mu_);
    auto it = groups_.find(group_key);
    if (it == groups_.end()) return ended;
    Group& group = it->second;
    for (auto w = group.waiting.begin(); w != group.waiting.end(); ++w) {
      if (w->second.member.id() != member) continue;
      replies.emplace_back(std::move(w->second), why);
      group.waiting.erase(w);
      break;
    }
    const bool of_it = std::any_of(group.members.begin(), group.members.end(),
                                   [&](const proto::GroupMember& m) { return m.id() == member; });
    if (of_it) {
      ended.emplace();
      ended->generation = group.generation;
      for (const auto& m : group.members) ended->devices.push_back(m.device());
      ended->why = why;
      groups_.erase(it);
    }
  }
  Send(std::move(replies));
  return ended;
}

void GroupRegistry::TimeOut(int64_t group_key, uint64_t member, absl::Duration waited) {
  Replies replies;
  {
    absl::MutexLock lock(&mu_);
    auto it = groups_.find(group_key);
    if (it == groups_.end()) return;
    Group& group = it->second;
    for (auto w = group.waiting.begin(); w != group.waiting.end(); ++w) {
      if (w->second.member.id() != member) continue;
      replies.emplace_back(std::move(w->second),
                           absl::DeadlineExceededError(
                               absl::StrCat("waited ", absl::FormatDuration(waited), Missing(group_key, group))));
      group.waiting.erase(w);
      break;
    }
  }
  Send(std::move(replies));
}

std::string GroupRegistry::Missing(int64_t group_key, const Group& group) const {
  std::vector<std::string> here, absent;
  for (const auto& [device, w] : group.waiting) here.push_back(device);
  const std::string job = here.front().substr(0, here.front().find("/replica"));
  for (const std::string& task : tasks_) {
    const bool there =
        std::any_of(here.begin(), here.end(), [&](const std::string& d) { return TaskOfDevice(d) == task; });
    if (!there && absl::StartsWith(task, job + "/")) absent.push_back(task);
  }
  std::string text = absl::StrCat(" for group ", group_key, ": ", here.size(), " of ", group.size,
                                  " members came: ", absl::StrJoin(here, ", "));
  if (!absent.empty()) absl::StrAppend(&text, "; nothing from ", absl::StrJoin(absent, ", "));
  return text;
}

void GroupRegistry::Shutdown(const absl::Status& why) {
  Replies replies;
  {
    absl::MutexLock lock(&mu_);
    for (auto& [key, group] : groups_) {
      for (auto& [device, w] : group.waiting) replies.emplace_back(std::move(w), why);
    }
    groups_.clear();
  }
  Send(std::move(replies));
}

void GroupRegistry::Send(Replies replies) {
  for (auto& [waiting, reply] : replies) {
    if (waiting.timer != 0) clock_->CancelTimer(waiting.timer);
    waiting.done(std::move(reply));
  }
}

}  // namespace sluice
