#include "runtime/session/partial_run.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// The fetches of one part, which come in any order and may come after the part was given up.
struct Arrivals {
  absl::Mutex mu;
  size_t open ABSL_GUARDED_BY(mu) = 0;
  absl::Status failed ABSL_GUARDED_BY(mu);
  std::vector<Tensor> values ABSL_GUARDED_BY(mu);
};

}  // namespace

LocalPartialRun::LocalPartialRun(std::string handle, CallableSpec spec, std::shared_ptr<SessionPlan> plan)
    : handle_(std::move(handle)), spec_(std::move(spec)), plan_(std::move(plan)), book_(&spec_, &plan_->partial) {}

LocalPartialRun::~LocalPartialRun() {
  Clock::TimerId timer = 0;
  {
    absl::MutexLock lock(&mu_);
    timer = timer_;
  }
  if (timer != 0) SystemClock()->CancelTimer(timer);
}

void LocalPartialRun::Start(int64_t step_id, ThreadPool* pool, absl::Duration limit, std::function<void()> gone) {
  limit_ = limit;
  {
    absl::MutexLock lock(&mu_);
    touched_ = SystemClock()->Now();
    ScheduleLook(limit_);
  }
  pool->ScheduleBlocking([self = shared_from_this(), step_id, gone = std::move(gone)]() mutable {
    StepCall call;
    call.step_id = step_id;
    call.cancellation = &self->cancellation_;
    call.rendezvous = &self->rendezvous_;
    Step* step = self->plan_->step->Take();
    absl::Status status = step->Run(call, {}, nullptr, nullptr);
    self->plan_->step->GiveBack(step);
    if (!status.ok()) self->rendezvous_.Abort(status);
    {
      absl::MutexLock lock(&self->mu_);
      self->status_ = !status.ok() && !self->ended_.ok() ? self->ended_ : status;
      self->over_ = true;
    }
    self.reset();
    gone();
  });
}

void LocalPartialRun::ScheduleLook(absl::Duration after) {
  timer_ = SystemClock()->RunAfter(after, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Look();
  });
}

// Ends a run that was left alone.
void LocalPartialRun::Look() {
  absl::Status why;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration idle = SystemClock()->Now() - touched_;
    if (over_ && book_.complete()) return;
    if (calls_ > 0 || idle < limit_) return ScheduleLook(std::max(absl::Milliseconds(1), limit_ - idle));
    why = absl::DeadlineExceededError(absl::StrCat("nobody has gone on with it for ", absl::FormatDuration(limit_),
                                                   "; still to be fetched: ", book_.Open()));
  }
  End(why);
  rendezvous_.Abort(why);  // also when the step is over: frees what nobody has taken
}

void LocalPartialRun::End(const absl::Status& why) {
  {
    absl::MutexLock lock(&mu_);
    if (ended_.ok()) ended_ = why;
  }
  cancellation_.Cancel(why);
  rendezvous_.Abort(why);
}

absl::Status LocalPartialRun::Ended() const {
  const absl::Status& why = !ended_.ok() ? ended_ : status_;
  return why.ok() ? why : Annotate(why, absl::StrCat("the partial run '", handle_, "' has ended: "));
}

bool LocalPartialRun::over() const {
  absl::MutexLock lock(&mu_);
  return over_;
}

bool LocalPartialRun::finished() const {
  absl::MutexLock lock(&mu_);
  return over_ && book_.complete();
}

absl::Status LocalPartialRun::Run(absl::Span<const std::pair<std::string, Tensor>> feeds,
                                  absl::Span<const std::string> fetches, std::vector<Tensor>* results,
                                  absl::Duration timeout, CancellationToken* cancellation) {
  std::vector<std::string> names;
  for (const auto& [name, value] : feeds) names.push_back(name);
  std::vector<int> feed_numbers, fetch_numbers;
  bool last = false;
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(Ended());
    RETURN_IF_ERROR(book_.Find(names, fetches, &feed_numbers, &fetch_numbers));
    for (size_t i = 0; i < feeds.size(); ++i) {
      RETURN_IF_ERROR(CheckFeed(plan_->feeds[feed_numbers[i]], feeds[i].second));
    }
    book_.Mark(feed_numbers, fetch_numbers);
    last = book_.complete();
    touched_ = SystemClock()->Now();
    ++calls_;
  }
  int64_t callback = 0;
  if (cancellation != nullptr) {
    callback = cancellation->Register([this, cancellation] { End(cancellation->status()); });
    if (callback == 0) End(cancellation->status());
  }
  auto arrivals = std::make_shared<Arrivals>();
  {
    absl::MutexLock lock(&arrivals->mu);
    arrivals->open = fetches.size();
    arrivals->values.resize(fetches.size());
  }
  for (const PartialPort& port : plan_->partial.feeds) {
    auto it = std::find(feed_numbers.begin(), feed_numbers.end(), port.number);
    if (it == feed_numbers.end()) continue;
    // An error is that of the step, which the fetches tell as well.
    (void)rendezvous_.Send(port.key, {feeds[it - feed_numbers.begin()].second, false});
  }
  for (const PartialPort& port : plan_->partial.fetches) {
    auto it = std::find(fetch_numbers.begin(), fetch_numbers.end(), port.number);
    if (it == fetch_numbers.end()) continue;
    const size_t at = it - fetch_numbers.begin();
    rendezvous_.RecvAsync(port.key, [arrivals, at](absl::StatusOr<Rendezvous::Value> value) {
      absl::MutexLock lock(&arrivals->mu);
      if (value.ok()) arrivals->values[at] = std::move(value->tensor);
      if (!value.ok() && arrivals->failed.ok()) arrivals->failed = value.status();
      --arrivals->open;
    });
  }
  const absl::Time deadline = timeout > absl::ZeroDuration() ? absl::Now() + timeout : absl::InfiniteFuture();
  auto arrived = [&arrivals]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(arrivals->mu) { return arrivals->open == 0; };
  auto late = [&] {
    return absl::DeadlineExceededError(absl::StrCat("the partial run '", handle_, "' ran out of time (",
                                                    absl::FormatDuration(timeout), ") waiting for ",
                                                    fetches.empty() ? "its end" : absl::StrJoin(fetches, ", ")));
  };
  absl::Status failed;
  {
    absl::MutexLock lock(&arrivals->mu);
    if (!arrivals->mu.AwaitWithDeadline(absl::Condition(&arrived), deadline)) {
      arrivals->mu.Unlock();
      End(late());
      arrivals->mu.Lock();
      arrivals->mu.Await(absl::Condition(&arrived));
    }
    failed = arrivals->failed;
    if (failed.ok()) *results = std::move(arrivals->values);
  }
  if (last || !failed.ok()) {
    mu_.Lock();
    if (!mu_.AwaitWithDeadline(absl::Condition(&over_), deadline)) {
      mu_.Unlock();
      End(late());
      mu_.Lock();
      mu_.Await(absl::Condition(&over_));
    }
    if (!status_.ok()) failed = status_;
    mu_.Unlock();
  }
  if (callback != 0) cancellation->Unregister(callback);
  absl::MutexLock lock(&mu_);
  --calls_;
  touched_ = SystemClock()->Now();
  if (!failed.ok() && ended_.ok()) ended_ = failed;
  return failed;
}

}  // namespace sluice
