#include "distributed/rpc/pending_calls.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "distributed/rpc/status_codec.h"

namespace sluice {

uint64_t PendingCalls::Add(const std::string& method, absl::Duration timeout, Reply done) {
  absl::MutexLock lock(&mu_);
  const uint64_t id = next_id_++;
  const absl::Duration deadline = SystemClock()->Now() + timeout;
  calls_.emplace(id, Call{std::move(done), Bytes(method), timeout, deadline, generation_});
  deadlines_.emplace(deadline, id);
  if (deadline < armed_) Arm(deadline);
  return id;
}

bool PendingCalls::Take(uint64_t id, Call* call) {
  absl::MutexLock lock(&mu_);
  auto it = calls_.find(id);
  if (it == calls_.end()) return false;
  *call = std::move(it->second);
  deadlines_.erase({call->deadline, id});
  calls_.erase(it);
  return true;
}

void PendingCalls::End(uint64_t id, absl::StatusOr<Message> result) {
  Call call;
  if (Take(id, &call)) call.done(std::move(result));
}

void PendingCalls::Fail(uint64_t id, absl::StatusCode code, absl::string_view what) {
  Call call;
  if (Take(id, &call)) call.done(Error(call, code, what));
}

void PendingCalls::FailLater(uint64_t id, absl::StatusCode code, absl::string_view what) {
  SystemClock()->RunAfter(absl::ZeroDuration(), [self = shared_from_this(), id, code, text = std::string(what)] {
    self->Fail(id, code, text);
  });
}

void PendingCalls::FailBefore(uint64_t generation, absl::StatusCode code, absl::string_view what) {
  std::vector<uint64_t> ids;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, call] : calls_) {
      if (call.generation < generation) ids.push_back(id);
    }
  }
  for (uint64_t id : ids) Fail(id, code, what);
}

void PendingCalls::FailEarlier(absl::StatusCode code, absl::string_view what) {
  uint64_t generation;
  {
    absl::MutexLock lock(&mu_);
    generation = generation_;
  }
  FailBefore(generation, code, what);
}

void PendingCalls::FailAllLater(absl::StatusCode code, absl::string_view what) {
  SystemClock()->RunAfter(absl::ZeroDuration(), [self = shared_from_this(), code, text = std::string(what)] {
    self->FailBefore(UINT64_MAX, code, text);
  });
}

void PendingCalls::BeginGeneration() {
  absl::MutexLock lock(&mu_);
  ++generation_;
}

bool PendingCalls::TimeLeft(uint64_t id, absl::Duration* left) {
  absl::MutexLock lock(&mu_);
  auto it = calls_.find(id);
  if (it == calls_.end()) return false;
  *left = std::max(it->second.deadline - SystemClock()->Now(), absl::Milliseconds(1));
  return true;
}

absl::Status PendingCalls::Error(const Call& call, absl::StatusCode code, absl::string_view what) const {
  return TransportError(code, absl::StrCat(call.method, " to ", peer_, ": ", what));
}

void PendingCalls::Arm(absl::Duration deadline) {
  armed_ = deadline;
  SystemClock()->RunAfter(deadline - SystemClock()->Now(), [weak = weak_from_this(), deadline] {
    if (auto self = weak.lock()) self->OnTimer(deadline);
  });
}

void PendingCalls::OnTimer(absl::Duration which) {
  std::vector<uint64_t> expired;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = SystemClock()->Now();
    auto it = deadlines_.begin();
    for (; it != deadlines_.end() && it->first <= now; ++it) expired.push_back(it->second);
    if (armed_ == which) {
      armed_ = absl::InfiniteDuration();
      if (it != deadlines_.end()) Arm(it->first);
    }
  }
  for (uint64_t id : expired) {
    Call call;
    if (!Take(id, &call)) continue;
    call.done(Error(call, absl::StatusCode::kDeadlineExceeded,
                    absl::StrCat("did not end within ", absl::FormatDuration(call.timeout))));
  }
}

}  // namespace sluice
