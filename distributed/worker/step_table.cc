#include "distributed/worker/step_table.h"

#include <algorithm>
#include <utility>

#include "core/base/status.h"

namespace sluice {

StepTable::StepTable(std::string task, StepRendezvous::Fetch fetch, Clock* clock)
    : task_(std::move(task)), fetch_(std::move(fetch)), clock_(clock) {}

StepTable::~StepTable() { EndSession("", absl::CancelledError(absl::StrCat(task_, " shuts down"))); }

absl::Status StepTable::Ended(int64_t id) const {
  return absl::AbortedError(absl::StrCat("step ", id, " has ended on ", task_));
}

absl::StatusOr<std::shared_ptr<WorkerStep>> StepTable::Find(int64_t id) {
  absl::MutexLock lock(&mu_);
  if (ended_.contains(id)) return Ended(id);
  std::shared_ptr<WorkerStep>& step = steps_[id];
  if (!step) {
    step = std::make_shared<WorkerStep>();
    step->id = id;
    step->since = clock_->Now();
    step->rendezvous = MakeRef<StepRendezvous>(task_, id, fetch_);
  }
  return step;
}

absl::StatusOr<std::shared_ptr<WorkerStep>> StepTable::Begin(int64_t id, const std::string& session) {
  ASSIGN_OR_RETURN(std::shared_ptr<WorkerStep> step, Find(id));
  absl::MutexLock lock(&mu_);
  if (ended_sessions_.contains(session)) {
    return absl::AbortedError(absl::StrCat("session ", session, " has ended on ", task_));
  }
  if (step->ran || step->running) {
    return absl::AbortedError(absl::StrCat("step ", id, " was already run on ", task_, ": a duplicate is refused"));
  }
  step->running = true;
  step->session = session;
  ++running_of_[session];
  return step;
}

void StepTable::Ran(WorkerStep& step) {
  absl::MutexLock lock(&mu_);
  step.running = false;
  step.ran = true;
  auto it = running_of_.find(step.session);
  if (--it->second == 0) running_of_.erase(it);
}

bool StepTable::AwaitIdle(const std::string& session, absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  auto idle = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !running_of_.contains(session); };
  return mu_.AwaitWithTimeout(absl::Condition(&idle), timeout);
}

void StepTable::End(int64_t id, const absl::Status& why, bool cancel) {
  std::shared_ptr<WorkerStep> step;
  {
    absl::MutexLock lock(&mu_);
    if (!ended_.insert(id).second) return;
    order_.push_back(id);
    if (order_.size() > kRemembered) {
      ended_.erase(order_.front());
      order_.pop_front();
    }
    auto it = steps_.find(id);
    if (it == steps_.end()) return;
    step = std::move(it->second);
    steps_.erase(it);
  }
  const absl::Status reason = why.ok() ? Ended(id) : why;
  if (cancel) step->cancellation.Cancel(reason);
  step->rendezvous->Abort(reason);
}

void StepTable::EndSession(const std::string& session, const absl::Status& why) {
  std::vector<int64_t> ids;
  {
    absl::MutexLock lock(&mu_);
    if (!session.empty()) ended_sessions_.insert(session);
    for (const auto& [id, step] : steps_) {
      if (session.empty() || step->session == session) ids.push_back(id);
    }
  }
  for (int64_t id : ids) End(id, why, true);
}

void StepTable::Sweep(absl::Duration age) {
  std::vector<int64_t> ids;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = clock_->Now();
    for (const auto& [id, step] : steps_) {
      if (!step->running && now - step->since > age) ids.push_back(id);
    }
  }
  for (int64_t id : ids) {
    End(id, absl::AbortedError(absl::StrCat("step ", id, " was not run on ", task_, " within ", absl::FormatDuration(age))),
        true);
  }
}

std::vector<StepTable::View> StepTable::List() const {
  std::vector<std::shared_ptr<WorkerStep>> steps;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, step] : steps_) steps.push_back(step);
  }
  std::vector<View> views;
  for (const auto& s : steps) views.push_back({s->id, clock_->Now() - s->since, s->rendezvous->Waiting()});
  std::sort(views.begin(), views.end(), [](const View& a, const View& b) { return a.age > b.age; });
  return views;
}

int StepTable::running() const {
  absl::MutexLock lock(&mu_);
  int count = 0;
  for (const auto& [session, running] : running_of_) count += running;
  return count;
}

}  // namespace sluice
