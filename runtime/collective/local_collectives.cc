#include "runtime/collective/local_collectives.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "runtime/collective/merge.h"

namespace sluice {
namespace {

constexpr int64_t kBlock = 2048;  // elements that are merged before the outputs, which may be inputs, are written

std::string Where(const CollectiveRequest& r) {
  return absl::StrCat(r.node, " (group ", r.group_key, ", instance ", r.instance_key, ")");
}

void Reduce(const std::vector<CollectiveRequest*>& members, int64_t begin, int64_t end) {
  const CollectiveRequest& first = *members[0];
  const size_t size = ElementSize(first.dtype);
  alignas(64) char block[kBlock * 16];
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t count = std::min(kBlock, end - at);
    auto input = [&](size_t m) { return static_cast<const char*>(members[m]->input) + at * size; };
    std::memcpy(block, input(0), count * size);
    for (size_t m = 1; m < members.size(); ++m) Merge(first.dtype, first.merge, block, input(m), block, count);
    if (first.divide) DivideBy(first.dtype, static_cast<int64_t>(members.size()), block, count);
    for (CollectiveRequest* m : members) std::memcpy(static_cast<char*>(m->output) + at * size, block, count * size);
  }
}

}  // namespace

absl::Status RunCollective(const std::vector<CollectiveRequest*>& members, ThreadPool* pool) {
  const CollectiveRequest& first = *members[0];
  int sources = 0;
  const CollectiveRequest* source = nullptr;
  for (const CollectiveRequest* m : members) {
    if (m->Signature() != first.Signature()) {
      return InvalidArgument("the members of group ", first.group_key, " do not agree on instance ", first.instance_key,
                             ": ", first.device, " runs ", first.Signature(), " and ", m->device, " runs ",
                             m->Signature());
    }
    if (m->is_source) source = m, ++sources;
  }
  const size_t bytes = first.num_bytes();
  switch (first.kind) {
    case CollectiveKind::kReduce:
      pool->ParallelFor(
          first.num_elements(), 0.2 * static_cast<double>(members.size()),
          [&](int64_t begin, int64_t end) { Reduce(members, begin, end); }, 16);
      return absl::OkStatus();
    case CollectiveKind::kGather:
      for (size_t from = 0; from < members.size(); ++from) {
        for (CollectiveRequest* to : members) {
          if (bytes > 0) std::memcpy(static_cast<char*>(to->output) + from * bytes, members[from]->input, bytes);
        }
      }
      return absl::OkStatus();
    case CollectiveKind::kBroadcast:
      if (sources != 1) {
        return InvalidArgument("instance ", first.instance_key, " of group ", first.group_key, " has ", sources,
                               " members that send (CollectiveBcastSend), wanted 1");
      }
      for (CollectiveRequest* to : members) {
        if (to->output != source->input && bytes > 0) std::memcpy(to->output, source->input, bytes);
      }
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Duration CollectiveTimeout() {
  double seconds = 0;
  const char* text = std::getenv("SLUICE_COLLECTIVE_TIMEOUT");
  if (text != nullptr && absl::SimpleAtod(text, &seconds) && seconds > 0) return absl::Seconds(seconds);
  return absl::Minutes(10);
}

LocalCollectives::LocalCollectives(int devices, ThreadPool* pool, Clock* clock, absl::Duration timeout)
    : devices_(devices), pool_(pool), clock_(clock), timeout_(timeout) {}

void LocalCollectives::Start(CollectiveRequest request, Done done) {
  if (request.group_size > devices_) {
    return done(FailedPrecondition(Where(request), ": the group has ", request.group_size, " members and this session ",
                                   devices_,
                                   " devices; members in other processes need a session of a server (target)"));
  }
  const Key key(request.step_id, request.group_key, request.instance_key);
  RefPtr<LocalCollectives> self = RefPtr<LocalCollectives>::Share(this);
  std::unique_ptr<Meeting> complete;
  std::string refusal;
  CancellationToken* token = request.cancellation;
  int64_t number = 0;
  {
    absl::MutexLock lock(&mu_);
    auto& [id, meeting] = meetings_[key];
    if (!meeting) {
      id = next_++;
      meeting = std::make_unique<Meeting>();
    }
    number = id;
    for (const Member& m : meeting->members) {
      if (m.request.device == request.device) {
        refusal = absl::StrCat(request.device, " is already a member there, by ", m.request.node,
                               "; members are on devices of their own");
      } else if (m.request.group_size != request.group_size) {
        refusal = absl::StrCat("group_size is ", request.group_size, ", and ", m.request.group_size, " for ",
                               m.request.node, " on ", m.request.device);
      }
    }
    if (refusal.empty()) {
      meeting->members.push_back({std::move(request), std::move(done), 0});
      Member& m = meeting->members.back();
      if (static_cast<int64_t>(meeting->members.size()) == m.request.group_size) {
        complete = std::move(meeting);
        meetings_.erase(key);
      } else {
        if (meeting->members.size() == 1) {
          meeting->timer = clock_->RunAfter(
              timeout_, [self, key, number] { self->Fail(key, number, absl::DeadlineExceededError("")); });
        }
        // Cancel runs its callbacks outside its lock, and this one is only a hand-over.
        if (token != nullptr) {
          m.callback = token->Register([self, key, number, token] {
            self->pool_->ScheduleBlocking([self, key, number, why = token->status()] { self->Fail(key, number, why); });
          });
        }
      }
    }
  }
  if (!refusal.empty()) {
    absl::Status why = InvalidArgument(Where(request), ": ", refusal);
    Fail(key, number, why);
    return done(why);
  }
  if (complete) {
    const absl::Status status = Run(complete->members);
    return Finish(*complete, status);
  }
  if (token != nullptr && token->cancelled()) Fail(key, number, token->status());
}

void LocalCollectives::Fail(const Key& key, int64_t number, absl::Status why) {
  std::unique_ptr<Meeting> meeting;
  {
    absl::MutexLock lock(&mu_);
    auto it = meetings_.find(key);
    if (it == meetings_.end() || it->second.first != number) return;
    meeting = std::move(it->second.second);
    meetings_.erase(it);
  }
  if (meeting->members.empty()) return;
  const CollectiveRequest& first = meeting->members[0].request;
  if (why.message().empty()) {
    std::vector<std::string> here;
    for (const Member& m : meeting->members) here.push_back(m.request.device);
    why =
        absl::DeadlineExceededError(absl::StrCat(Where(first), ": waited ", absl::FormatDuration(timeout_), " for ",
                                                 first.group_size - static_cast<int64_t>(here.size()), " of ",
                                                 first.group_size, " members; there are ", absl::StrJoin(here, ", ")));
  }
  Finish(*meeting, why);
}

void LocalCollectives::Finish(Meeting& meeting, const absl::Status& status) {
  if (meeting.timer != 0) clock_->CancelTimer(meeting.timer);
  for (Member& m : meeting.members) {
    if (m.callback != 0) m.request.cancellation->Unregister(m.callback);
  }
  for (Member& m : meeting.members) m.done(status);
}

absl::Status LocalCollectives::Run(std::vector<Member>& members) {
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return DeviceBefore(a.request.device, b.request.device); });
  std::vector<CollectiveRequest*> requests;
  for (Member& m : members) requests.push_back(&m.request);
  return RunCollective(requests, pool_);
}

}  // namespace sluice
