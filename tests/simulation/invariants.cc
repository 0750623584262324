#include "tests/simulation/invariants.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace sluice::simulation {
namespace {

// When a client's call must have ended: by its own limit, or that of the planning that it waits for. More when a
// machine has much to do and its clock goes wrong.
absl::Duration LatestEnd(absl::Duration limit) {
  constexpr absl::Duration kPlanning = absl::Minutes(2);
  return absl::Seconds(5) + 1.2 * std::max(limit, kPlanning);
}
constexpr int kAborted = static_cast<int>(absl::StatusCode::kAborted);

// The variable that counts steps.
bool IsCounter(const std::string& variable) { return variable == "global_step" || variable == "s"; }

using Life = std::pair<std::string, std::string>;  // task, life

struct OpenCall {
  Event event;
  bool of_older_epoch = false;
  bool of_aborted_step = false;
};

// One life of a task. A task that was replaced may live beside its successor.
struct TaskLife {
  std::map<int64_t, OpenCall> open;
  std::map<std::string, std::pair<std::string, int64_t>> sessions;  // handle -> (lineage, epoch)
  std::map<std::string, int64_t> newest;                            // lineage -> epoch that has begun here
  std::map<std::pair<std::string, std::string>, std::vector<std::string>> graphs;  // (session, graph) -> updates
  std::set<int64_t> aborted;
  std::map<int64_t, int> ran;
};

struct Session {
  std::string lineage;
  int64_t epoch = 0;
  std::map<std::string, std::set<int64_t>> applied;  // variable -> steps
  std::map<std::string, std::set<int64_t>> maybe;    // begun, and no good answer yet
};

struct Lineage {
  int64_t epoch = 0;                    // the newest that was taken
  int64_t newest = 0;                   // step of the newest checkpoint that is committed and not lost
  int64_t line = 0;                     // step that the training has for sure: restored or committed
  std::vector<int64_t> steps;           // committed, in order
  std::set<int64_t> known;              // every step whose commit was begun
  std::map<int64_t, int64_t> restored;  // epoch -> step
};

class Checker {
 public:
  explicit Checker(HistoryCounts* counts) : counts_(counts) {}

  void See(const Event& e) {
    ++counts_->events;
    switch (e.kind) {
      case EventKind::kStart:
        alive_[e.task] = e.life;
        break;
      case EventKind::kArrive:
        Arrive(e);
        break;
      case EventKind::kAnswer:
        Answer(e);
        break;
      case EventKind::kFault:
        ++counts_->faults[e.text.substr(0, e.text.find(':'))];
        if (absl::StartsWith(e.text, "pause")) paused_.insert(e.task);
        break;
      case EventKind::kEpoch: {
        ++counts_->epochs;
        Lineage& l = lineages_[e.lineage];
        if (e.epoch <= l.epoch) Break("I2", e, "epoch ", e.epoch, " was taken after ", l.epoch);
        l.epoch = std::max(l.epoch, e.epoch);
        break;
      }
      case EventKind::kRestore:
        Restore(e);
        break;
      case EventKind::kCommitting:
        lineages_[e.lineage].known.insert(e.step);
        break;
      case EventKind::kCommit:
        Commit(e);
        break;
      case EventKind::kRefused:
        ++counts_->refused;
        break;
      case EventKind::kLost: {
        Lineage& l = lineages_[e.lineage];
        if (!l.steps.empty()) l.steps.pop_back();
        l.newest = l.steps.empty() ? 0 : l.steps.back();
        break;
      }
      case EventKind::kState:
        if (!e.text.empty()) Break("I8", e, "at the end it still holds ", e.text);
        ends_[e.task] = e.at;
        break;
      case EventKind::kNumKinds:
        break;
    }
  }

  std::vector<std::string> Finish() {
    for (const auto& [task, life] : alive_) {
      auto end = ends_.find(task);
      if (end == ends_.end()) continue;  // nobody asked what it holds: its end is not known
      for (const auto& [id, call] : lives_[{task, life}].open) {
        if (call.event.at >= end->second) continue;
        Break("I5", call.event, call.event.method, " has no answer at the end, ",
              absl::FormatDuration(end->second - call.event.at), " later");
      }
    }
    return std::move(broken_);
  }

 private:
  template <typename... Parts>
  void Break(const char* rule, const Event& e, const Parts&... parts) {
    if (broken_.size() < 20)
      broken_.push_back(absl::StrCat(rule, ": ", e.task, " at ", absl::FormatDuration(e.at), ": ", parts...));
  }

  void Arrive(const Event& e) {
    TaskLife& life = lives_[{e.task, e.life}];
    OpenCall& call = life.open[e.call];
    call.event = e;
    if (e.method == "CreateWorkerSession") {
      call.of_older_epoch = !e.lineage.empty() && e.epoch < life.newest[e.lineage];
    } else if (e.method == "RunGraph" || e.method == "RegisterGraph") {
      auto session = life.sessions.find(e.session);
      if (session != life.sessions.end() && !session->second.first.empty()) {
        call.of_older_epoch = session->second.second < life.newest[session->second.first];
      }
    }
    if (e.method == "RunGraph") {
      for (const std::string& v : life.graphs[{e.session, e.graph}]) sessions_[e.session].maybe[v].insert(e.step);
    }
    call.of_aborted_step = (e.method == "RunGraph" || e.method == "RecvTensor") && life.aborted.count(e.step) > 0;
  }

  void Answer(const Event& e) {
    TaskLife& life = lives_[{e.task, e.life}];
    auto it = life.open.find(e.call);
    if (it == life.open.end())
      return Break("I5", e, "an answer to call ", e.call, ", which did not arrive or was answered");
    const OpenCall call = std::move(it->second);
    life.open.erase(it);
    const absl::Duration took = e.at - call.event.at, limit = call.event.limit;
    const bool of_client = e.method == "RunStep" || e.method == "RunCallable" || e.method == "CreateSession";
    if (of_client && limit < absl::Hours(24) && took > LatestEnd(limit) && paused_.count(e.task) == 0) {
      Break("I5", e, e.method, " was answered after ", absl::FormatDuration(took), ", its limit is ",
            absl::FormatDuration(limit));
    }
    if (e.code != 0) {
      if (e.code == kAborted) ++counts_->refused;
      if (call.of_older_epoch) ++counts_->stale;
      return;
    }
    if (call.of_older_epoch) Break("I2", e, e.method, " of an older epoch (session ", e.session, ") was done");
    if (call.of_aborted_step) {
      Break("I6", e, e.method, " of step ", e.step, " was answered after the step had been aborted here");
    }
    if (e.method == "RunGraph") {
      if (++life.ran[e.step] > 1) Break("I1", e, "step ", e.step, " ran twice");
      for (const std::string& v : life.graphs[{e.session, e.graph}]) {
        ++counts_->updates;
        Session& session = sessions_[e.session];
        session.applied[v].insert(e.step);
        session.maybe[v].erase(e.step);
      }
    } else if (e.method == "CleanupGraph" && call.event.text == "aborted") {
      if (life.aborted.insert(e.step).second) ++counts_->aborted;
    } else if (e.method == "RegisterGraph") {
      life.graphs[{e.session, e.graph}] = call.event.updates;
    } else if (e.method == "CreateWorkerSession") {
      life.sessions[e.session] = {e.lineage, e.epoch};
      if (!e.lineage.empty()) {
        int64_t& newest = life.newest[e.lineage];
        newest = std::max(newest, e.epoch);
      }
      sessions_[e.session].lineage = e.lineage;
      sessions_[e.session].epoch = e.epoch;
    }
  }

  void Restore(const Event& e) {
    ++counts_->restores;
    Lineage& l = lineages_[e.lineage];
    if (e.step != 0 && l.known.count(e.step) == 0)
      Break("I3", e, "step ", e.step, " was restored, which nobody committed");
    if (e.step < l.newest) {
      Break("I7", e, "step ", e.step, " was restored although the checkpoint of step ", l.newest, " was acknowledged");
    }
    l.restored[e.epoch] = e.step;
    l.line = e.step;
  }

  void Commit(const Event& e) {
    ++counts_->commits;
    Lineage& l = lineages_[e.lineage];
    if (e.epoch < l.epoch)
      Break("I4", e, "epoch ", e.epoch, " committed step ", e.step, " after epoch ", l.epoch, " was taken");
    if (e.step < l.line) Break("I4", e, "step ", e.step, " was committed after ", l.line, " without a restore");
    l.line = l.newest = e.step;
    l.steps.push_back(e.step);
    CountUpdates(e, l);
  }

  // Every variable that is trained was updated once for each step since the restored one.
  void CountUpdates(const Event& e, const Lineage& l) {
    auto restored = l.restored.find(e.epoch);
    const int64_t wanted = e.step - (restored == l.restored.end() ? 0 : restored->second);
    std::map<std::string, std::pair<std::set<int64_t>, std::set<int64_t>>> variables;  // applied, perhaps applied
    std::set<int64_t> training;
    for (const auto& [handle, session] : sessions_) {
      if (session.lineage != e.lineage || session.epoch != e.epoch) continue;
      for (const auto& [v, steps] : session.applied) {
        variables[v].first.insert(steps.begin(), steps.end());
        if (IsCounter(v)) training.insert(steps.begin(), steps.end());
      }
      for (const auto& [v, steps] : session.maybe) {
        variables[v].second.insert(steps.begin(), steps.end());
        if (IsCounter(v)) training.insert(steps.begin(), steps.end());
      }
    }
    for (const auto& [v, steps] : variables) {
      const auto in = [&training](const std::set<int64_t>& some) {
        return std::count_if(some.begin(), some.end(), [&](int64_t s) { return training.count(s) > 0; });
      };
      const int64_t applied = in(steps.first), maybe = in(steps.second);
      if (applied == 0 && maybe == 0) continue;  // not one that is trained
      if (applied <= wanted && wanted <= applied + maybe) continue;
      Break("I1", e, "the checkpoint of step ", e.step, " is ", wanted, " steps ahead of what epoch ", e.epoch,
            " began with, and ", v, " was updated ", applied, " times",
            maybe > 0 ? absl::StrCat(", perhaps ", maybe, " more") : "");
    }
  }

  HistoryCounts* const counts_;
  std::vector<std::string> broken_;
  std::map<std::string, std::string> alive_;  // task -> life
  std::map<Life, TaskLife> lives_;
  std::map<std::string, Session> sessions_;
  std::map<std::string, Lineage> lineages_;
  std::set<std::string> paused_;
  std::map<std::string, absl::Duration> ends_;
};

}  // namespace

std::vector<std::string> CheckHistory(const std::vector<Event>& events, HistoryCounts* counts) {
  HistoryCounts unused;
  Checker checker(counts != nullptr ? counts : &unused);
  for (const Event& e : events) checker.See(e);
  return checker.Finish();
}

}  // namespace sluice::simulation
