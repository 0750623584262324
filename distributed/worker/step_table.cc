#include "distributed/worker/step_table.h"

#include <algorithm>
#include <utility>

#include "core/base/status.h"
#include "distributed/testing/bugs.h"

namespace sluice {

// Steps that ended, with the memory of their parts. Lives as long as anybody holds a step.
struct StepTable::Spare {
  static constexpr size_t kMost = 64;
  Spare() { steps.reserve(kMost); }
  ~Spare() {
    for (WorkerStep* s : steps) delete s;
  }
  absl::Mutex mu;
  std::vector<WorkerStep*> steps ABSL_GUARDED_BY(mu);
};

StepTable::StepTable(std::string task, StepRendezvous::Fetch fetch, Clock* clock)
    : task_(std::move(task)),
      rendezvous_(std::make_shared<StepRendezvousPool>(task_, std::move(fetch))),
      clock_(clock),
      over_(absl::AbortedError(absl::StrCat("the step has ended on ", task_))),
      spare_(std::make_shared<Spare>()) {}

StepTable::~StepTable() {
  EndSession("", absl::CancelledError(absl::StrCat(task_, " shuts down")));
  std::map<int64_t, IdleWait> waits;
  {
    absl::MutexLock lock(&mu_);
    waits.swap(idle_waits_);
  }
  for (auto& [id, wait] : waits) {
    clock_->CancelTimer(wait.timer);
    wait.done(false);
  }
}

absl::Status StepTable::Ended(int64_t id) const {
  return absl::AbortedError(absl::StrCat("step ", id, " has ended on ", task_));
}

absl::StatusOr<std::shared_ptr<WorkerStep>> StepTable::Find(int64_t id) {
  absl::MutexLock lock(&mu_);
  if (steps_.size() >= kMaxSteps && !steps_.contains(id)) {
    return ResourceExhausted(task_, " knows ", steps_.size(),
                             " steps that have not ended, and takes no questions for more");
  }
  return FindOrMake(id);
}

absl::StatusOr<std::shared_ptr<WorkerStep>> StepTable::FindOrMake(int64_t id) {
  if (ended_.contains(id) && !Bug(kEndedStepRuns)) return Ended(id);
  std::shared_ptr<WorkerStep>& step = steps_[id];
  if (!step) step = MakeStep(id);
  return step;
}

std::shared_ptr<WorkerStep> StepTable::MakeStep(int64_t id) {
  WorkerStep* step = nullptr;
  {
    absl::MutexLock lock(&spare_->mu);
    if (!spare_->steps.empty()) {
      step = spare_->steps.back();
      spare_->steps.pop_back();
    }
  }
  if (step == nullptr) step = new WorkerStep;
  step->id = id;
  step->since = clock_->Now();
  step->running = step->ran = false;
  step->session.clear();
  if (step->cancellation.cancelled()) step->cancellation.Reset();
  step->rendezvous = rendezvous_->Take(id);
  const auto give_back = [spare = spare_](WorkerStep* s) {
    s->rendezvous = nullptr;
    {
      absl::MutexLock lock(&spare->mu);
      if (spare->steps.size() < Spare::kMost) {
        spare->steps.push_back(s);
        return;
      }
    }
    delete s;
  };
  return std::shared_ptr<WorkerStep>(step, give_back, RecyclingAllocator<WorkerStep>());
}

absl::StatusOr<std::shared_ptr<WorkerStep>> StepTable::Begin(int64_t id, const std::string& session) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(std::shared_ptr<WorkerStep> step, FindOrMake(id));
  if (ended_sessions_.contains(session)) {
    return absl::AbortedError(absl::StrCat("session ", session, " has ended on ", task_));
  }
  if ((step->ran || step->running) && !Bug(kDuplicatePartRuns)) {
    return absl::AbortedError(absl::StrCat("step ", id, " was already run on ", task_, ": a duplicate is refused"));
  }
  step->running = true;
  step->session = session;
  ++running_of_[session];
  return step;
}

void StepTable::Ran(WorkerStep& step) {
  std::vector<IdleWait> over;
  {
    absl::MutexLock lock(&mu_);
    step.running = false;
    step.ran = true;
    auto it = running_of_.find(step.session);
    if (--it->second > 0) return;
    if (ended_sessions_.contains(step.session)) running_of_.erase(it);  // else it stays for the next step
    if (idle_waits_.empty()) return;
    for (auto wait = idle_waits_.begin(); wait != idle_waits_.end();) {
      if (wait->second.session == step.session) {
        over.push_back(std::move(wait->second));
        wait = idle_waits_.erase(wait);
      } else {
        ++wait;
      }
    }
  }
  for (IdleWait& wait : over) {
    clock_->CancelTimer(wait.timer);
    wait.done(true);
  }
}

bool StepTable::HasEnded(const std::string& session) const {
  absl::MutexLock lock(&mu_);
  return ended_sessions_.contains(session);
}

std::string StepTable::SessionOf(int64_t id) const {
  absl::MutexLock lock(&mu_);
  auto it = steps_.find(id);
  return it == steps_.end() ? std::string() : it->second->session;
}

void StepTable::WhenIdle(const std::string& session, absl::Duration timeout, std::function<void(bool idle)> done) {
  {
    absl::MutexLock lock(&mu_);
    auto running = running_of_.find(session);
    if (running != running_of_.end() && running->second > 0) {
      const int64_t id = next_wait_++;
      IdleWait& wait = idle_waits_[id];
      wait.session = session;
      wait.done = std::move(done);
      wait.timer = clock_->RunAfter(timeout, [this, id] { IdleTimedOut(id); });
      return;
    }
  }
  done(true);
}

void StepTable::IdleTimedOut(int64_t id) {
  std::function<void(bool)> done;
  {
    absl::MutexLock lock(&mu_);
    auto it = idle_waits_.find(id);
    if (it == idle_waits_.end()) return;
    done = std::move(it->second.done);
    idle_waits_.erase(it);
  }
  done(false);
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
    step = it->second;
    cancel |= step->running;  // word that the step has ended well may overtake word that it was cancelled
    if (!Bug(kStepsStay)) steps_.erase(it);
  }
  const absl::Status& reason = why.ok() ? over_ : why;
  if (cancel) step->cancellation.Cancel(reason);
  step->rendezvous->Abort(reason);
}

void StepTable::EndSession(const std::string& session, const absl::Status& why) {
  std::vector<int64_t> ids;
  {
    absl::MutexLock lock(&mu_);
    if (!session.empty()) {
      ended_sessions_.insert(session);
      auto running = running_of_.find(session);
      if (running != running_of_.end() && running->second == 0) running_of_.erase(running);
    }
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
      if (step->running || now - step->since <= age) continue;
      if (step->ran && step->rendezvous->HoldsTensors()) continue;  // a peer comes for them, or the session ends
      ids.push_back(id);
    }
  }
  for (int64_t id : ids) {
    End(id,
        absl::AbortedError(absl::StrCat("step ", id, " was not run on ", task_, " within ", absl::FormatDuration(age))),
        true);
  }
}

std::vector<StepTable::View> StepTable::Views(const std::vector<int64_t>& ids) const {
  std::vector<std::shared_ptr<WorkerStep>> steps;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, step] : steps_) {
      if (ids.empty() || std::find(ids.begin(), ids.end(), id) != ids.end()) steps.push_back(step);
    }
  }
  std::vector<View> views;
  for (const auto& s : steps) {
    View v;
    v.id = s->id;
    v.age = clock_->Now() - s->since;
    v.waiting_for = s->rendezvous->Waiting();
    v.waiting_nodes = s->progress.WaitingFor();
    v.running_node = s->progress.RunningNow();
    v.completed = s->progress.completed();
    views.push_back(std::move(v));
  }
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
