#include "kernels/queue/waiting.h"

#include "absl/strings/str_cat.h"

namespace sluice {

void WaitingResource::Begin(RefPtr<Attempt> attempt, CancellationToken* token, int64_t timeout_ms, Done done) {
  attempt->done_ = std::move(done);
  RefPtr<WaitingResource> self = RefPtr<WaitingResource>::Share(this);
  if (token != nullptr) {
    int64_t id = token->Register([self, attempt, token] { self->EndEarly(attempt, token->status()); });
    if (id == 0) return attempt->done_(token->status());
    attempt->token_ = token;
    attempt->callback_ = id;
  }
  if (timeout_ms >= 0) {
    attempt->timed_ = true;
    attempt->timer_ = Timer::Process().Start(absl::Milliseconds(timeout_ms), [self, attempt, timeout_ms] {
      self->EndEarly(attempt,
                     absl::DeadlineExceededError(absl::StrCat("waited ", timeout_ms, " ms for ", self->Title())));
    });
  }
  Ended ended;
  {
    absl::MutexLock lock(&mu_);
    if (attempt->ended_early_.ok()) {
      attempt->state_ = Attempt::kListed;
      List(attempt);
      Advance();
    } else {
      absl::Status why = attempt->ended_early_;
      Complete(std::move(attempt), std::move(why));
    }
    ended.swap(ended_);
  }
  Settle(std::move(ended));
}

absl::Status WaitingResource::Change(absl::FunctionRef<absl::Status()> change) {
  Ended ended;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    status = change();
    Advance();
    ended.swap(ended_);
  }
  Settle(std::move(ended));
  return status;
}

void WaitingResource::Complete(RefPtr<Attempt> attempt, absl::Status status) {
  attempt->state_ = Attempt::kOver;
  ended_.emplace_back(std::move(attempt), std::move(status));
}

void WaitingResource::EndEarly(const RefPtr<Attempt>& attempt, absl::Status why) {
  Ended ended;
  {
    absl::MutexLock lock(&mu_);
    if (attempt->state_ == Attempt::kOver) return;
    if (attempt->state_ == Attempt::kNew) {
      attempt->ended_early_ = std::move(why);
      return;
    }
    Unlist(attempt);
    Complete(attempt, std::move(why));
    Advance();
    ended.swap(ended_);
  }
  Settle(std::move(ended));
}

void WaitingResource::Settle(Ended ended) {
  for (auto& [attempt, status] : ended) {
    // A cancelled token has let go of its callbacks already. Asking it to forget one would wait for those that run, and
    // this may be one of them.
    if (attempt->callback_ != 0 && !attempt->token_->cancelled()) attempt->token_->Unregister(attempt->callback_);
    if (attempt->timed_) Timer::Process().Cancel(attempt->timer_);
    if (status.ok()) status = attempt->Deliver();
    Done done = std::move(attempt->done_);
    done(std::move(status));
  }
}

}  // namespace sluice
