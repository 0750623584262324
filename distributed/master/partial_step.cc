#include "distributed/master/partial_step.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "distributed/cluster/cluster.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/worker/worker.h"

namespace sluice {
namespace {

// How long a part that failed waits for the step to say why.
constexpr absl::Duration kGrace = absl::Seconds(2);
constexpr absl::Duration kSendTimeout = absl::Minutes(10);
constexpr absl::Duration kReceiveTimeout =
    absl::Hours(24 * 30);  // a part has a limit of its own, a lost task ends the step

}  // namespace

PartialStep::PartialStep(CallableSpec spec, const PartialPlan* plan, const std::vector<FeedCheck>* feeds,
                         const std::vector<TaskPart>* parts, std::string session, int64_t id, Clock* clock,
                         std::shared_ptr<const void> keep)
    : spec_(std::move(spec)),
      plan_(*plan),
      feeds_(*feeds),
      parts_(*parts),
      session_(std::move(session)),
      id_(id),
      clock_(clock),
      keep_(std::move(keep)),
      book_(&spec_, plan) {}

void PartialStep::Start(std::string handle, std::shared_ptr<ClusterStep> step, absl::Duration limit) {
  handle_ = std::move(handle);
  limit_ = limit;
  {
    absl::MutexLock lock(&mu_);
    step_ = step;
    touched_ = clock_->Now();
    ScheduleLook(limit_);
  }
  step->Start();
}

void PartialStep::ScheduleLook(absl::Duration after) {
  timer_ = clock_->RunAfter(after, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Look();
  });
}

void PartialStep::Look() {
  absl::Status why;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration idle = clock_->Now() - touched_;
    if (released_) return;
    if (!running_.empty() || idle < limit_) return ScheduleLook(std::max(absl::Milliseconds(1), limit_ - idle));
    why = absl::DeadlineExceededError(absl::StrCat("nobody has gone on with it for ", absl::FormatDuration(limit_),
                                                   "; still to be fetched: ", book_.Open()));
  }
  End(why);
}

void PartialStep::End(const absl::Status& why) {
  std::shared_ptr<ClusterStep> step;
  bool over = false;
  {
    absl::MutexLock lock(&mu_);
    if (status_.ok()) status_ = why;
    step = step_;
    over = over_;
  }
  if (!over && step) step->Cancel(why);  // which calls Ended
  Settle();
}

bool PartialStep::over() const {
  absl::MutexLock lock(&mu_);
  return over_;
}

bool PartialStep::finished() const {
  absl::MutexLock lock(&mu_);
  return over_ && book_.complete();
}

absl::StatusOr<std::shared_ptr<PartialStep::Part>> PartialStep::Enter(const std::vector<std::string>& names,
                                                                      const TensorList& feeds,
                                                                      const std::vector<std::string>& fetches,
                                                                      std::vector<int>* feed_numbers,
                                                                      std::vector<int>* fetch_numbers) {
  absl::MutexLock lock(&mu_);
  if (!status_.ok()) return Annotate(status_, absl::StrCat("the partial run '", handle_, "' has ended: "));
  RETURN_IF_ERROR(book_.Find(names, fetches, feed_numbers, fetch_numbers));
  for (size_t i = 0; i < feeds.size(); ++i) RETURN_IF_ERROR(CheckFeed(feeds_[(*feed_numbers)[i]], feeds[i]));
  book_.Mark(*feed_numbers, *fetch_numbers);
  touched_ = clock_->Now();
  auto part = std::make_shared<Part>();
  part->last = book_.complete();
  part->values.resize(fetches.size());
  part->open = 1;  // until every call is on its way
  running_.push_back(part);
  return part;
}

const TaskPart* PartialStep::TaskOf(const PartialPort& port) const {
  for (const TaskPart& t : parts_) {
    if (t.task == TaskOfDevice(port.device)) return &t;
  }
  return nullptr;
}

void PartialStep::Run(const std::vector<std::string>& names, TensorList feeds, const std::vector<std::string>& fetches,
                      absl::Duration timeout, Done done) {
  std::vector<int> feed_numbers, fetch_numbers;
  auto entered = Enter(names, feeds, fetches, &feed_numbers, &fetch_numbers);
  if (!entered.ok()) return done(entered.status());
  const std::shared_ptr<Part>& part = *entered;
  {
    absl::MutexLock lock(&mu_);
    part->done = std::move(done);
    if (timeout > absl::ZeroDuration()) {
      const std::string what = fetches.empty() ? "its end" : absl::StrJoin(fetches, ", ");
      part->timer = clock_->RunAfter(timeout, [weak = weak_from_this(), timeout, what] {
        auto self = weak.lock();
        if (!self) return;
        self->End(absl::DeadlineExceededError(absl::StrCat("the partial run '", self->handle_, "' ran out of time (",
                                                           absl::FormatDuration(timeout), ") waiting for ", what)));
      });
    }
  }
  for (const TaskPart& task : parts_) {
    proto::SendTensorsRequest request;
    request.set_step_id(id_);
    request.set_session_handle(session_);
    request.set_incarnation(task.incarnation);
    Message message;
    for (const PartialPort& port : plan_.feeds) {
      auto it = std::find(feed_numbers.begin(), feed_numbers.end(), port.number);
      if (it == feed_numbers.end() || TaskOf(port) != &task) continue;
      request.add_rendezvous_key(port.key);
      message.tensors.push_back(feeds[it - feed_numbers.begin()]);
    }
    if (message.tensors.empty()) continue;
    message.body = Pack(request).body;
    Ask(task, "SendTensors", std::move(message), part, -1);
  }
  for (const PartialPort& port : plan_.fetches) {
    auto it = std::find(fetch_numbers.begin(), fetch_numbers.end(), port.number);
    const TaskPart* task = TaskOf(port);
    if (it == fetch_numbers.end() || task == nullptr) continue;
    proto::RecvTensorRequest request;
    request.set_step_id(id_);
    request.set_incarnation(task->incarnation);
    request.set_rendezvous_key(port.key);
    Ask(*task, "RecvTensor", Pack(request), part, static_cast<int>(it - fetch_numbers.begin()));
  }
  Came(part, -1, Message());  // every call is on its way
}

void PartialStep::Ask(const TaskPart& task, const char* method, Message message, const std::shared_ptr<Part>& part,
                      int value) {
  {
    absl::MutexLock lock(&mu_);
    ++part->open;
  }
  task.channel->Call(absl::StrCat(Worker::kService, method), std::move(message),
                     value < 0 ? kSendTimeout : kReceiveTimeout,
                     [self = shared_from_this(), part, value, received = task.received, way = task.channel->way(),
                      asked = clock_->Now()](absl::StatusOr<Message> reply) {
                       if (reply.ok() && received) {
                         received->Received(way, reply->tensors, absl::ToInt64Nanoseconds(self->clock_->Now() - asked));
                       }
                       self->Came(part, value, std::move(reply));
                     });
}

void PartialStep::Came(const std::shared_ptr<Part>& part, int value, absl::StatusOr<Message> reply) {
  bool first_failure = false;
  absl::Status failed;
  {
    absl::MutexLock lock(&mu_);
    --part->open;
    failed = reply.status();
    if (failed.ok() && value >= 0 && (reply->tensors.size() != 1 || !reply->tensors[0].IsValid())) {
      failed = InvalidArgument("the fetch has no value: the branch that makes it was not taken");
    }
    if (failed.ok() && value >= 0) part->values[value] = std::move(reply->tensors[0]);
    if (!failed.ok() && part->failed.ok()) {
      part->failed = failed;
      first_failure = !over_;
    }
  }
  if (first_failure) {
    // The step most likely has failed, and tells the cause; the part has only heard an echo of it.
    clock_->RunAfter(kGrace, [weak = weak_from_this(), failed] {
      auto self = weak.lock();
      if (self && !self->over()) self->End(failed);
    });
  }
  Settle();
}

void PartialStep::Ended(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    over_ = true;
    if (status_.ok()) status_ = status;
  }
  Settle();
}

void PartialStep::Settle() {
  std::vector<std::shared_ptr<Part>> answer;
  absl::Status status;
  std::shared_ptr<ClusterStep> release;
  Clock::TimerId timer = 0;
  {
    absl::MutexLock lock(&mu_);
    for (auto it = running_.begin(); it != running_.end();) {
      Part& part = **it;
      const bool ended = over_ && !status_.ok();
      const bool complete = part.open == 0 && part.failed.ok() && (!part.last || over_);
      if (!part.done || !(complete || ended || (over_ && !part.failed.ok()))) {
        ++it;
        continue;
      }
      if (!status_.ok()) part.failed = status_;
      if (!part.failed.ok() && status_.ok()) status_ = part.failed;
      answer.push_back(std::move(*it));
      it = running_.erase(it);
    }
    touched_ = clock_->Now();
    if (over_ && !released_ && running_.empty() && (book_.complete() || !status_.ok())) {
      released_ = true;
      release = std::move(step_);  // which holds this
      std::swap(timer, timer_);
    }
  }
  if (timer != 0) clock_->CancelTimer(timer);
  if (release) release->Release();
  for (const auto& part : answer) {
    if (part->timer != 0) clock_->CancelTimer(part->timer);
    if (!part->failed.ok()) {
      part->done(part->failed);
    } else {
      part->done(std::move(part->values));
    }
  }
}

}  // namespace sluice
