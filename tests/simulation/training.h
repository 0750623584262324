// One training from start to end under the faults of a seed.
//
//   Outcome o = Training(seed).Play();
//   EXPECT_EQ(o.broken, "");
#ifndef SLUICE_TESTS_SIMULATION_TRAINING_H_
#define SLUICE_TESTS_SIMULATION_TRAINING_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/simulation/cluster.h"
#include "tests/simulation/invariants.h"
#include "tests/simulation/trainer.h"
#include "tests/simulation/world.h"

namespace sluice::simulation {

struct Outcome {
  std::string broken;
  uint64_t history = 0;
  std::vector<std::string> lines;
  int kills = 0;
  int pauses = 0;
  int cuts = 0;
  int one_way_cuts = 0;
  int takeovers = 0;
  int disk_losses = 0;
  Damage damage;
  HistoryCounts counts;
  int sessions = 0;
  int64_t messages = 0;
  absl::Duration simulated;
};

inline constexpr absl::Duration kTakenForDead = absl::Seconds(12);

class Training {
 public:
  explicit Training(uint64_t seed)
      : world_(seed), model_{1 + static_cast<int>(seed % 2), 1 + static_cast<int>(seed / 2 % 3)} {}

  Outcome Play() {
    world_.weather.lose = world_.Chance("weather lose") < 0.5 ? 0 : 0.01 * world_.Chance("lose");
    world_.weather.duplicate = world_.Chance("weather duplicate") < 0.5 ? 0 : 0.05 * world_.Chance("duplicate");
    world_.weather.slow = world_.Chance("weather slow") < 0.5 ? 0 : 0.05 * world_.Chance("slow");
    world_.weather.skew = world_.Chance("weather skew") < 0.5;
    cluster_ = std::make_unique<SimCluster>(&world_, model_.ps, model_.workers);
    settings_.steps = 40;
    settings_.save_every = 1 + static_cast<int64_t>(world_.Chance("save every") * 12);
    StartChief();
    const int faults = static_cast<int>(world_.Chance("faults") * 6);
    for (int i = 0; i < faults; ++i) ScheduleFault(i);
    constexpr absl::Duration kLimit = absl::Hours(2);
    while (chief_ == nullptr || !chief_->done()) {
      if (!world_.Step()) return Fail("I5: nothing happens any more");
      if (chief_ && !chief_->broken().empty()) return Fail(chief_->broken());
      for (const auto& t : retired_) {
        if (!t->broken().empty()) return Fail("a chief that was replaced: " + t->broken());
      }
      if (world_.now() > kLimit) return Fail("I5: training did not end within two simulated hours");
      if (chief_ && chief_->superseded()) return Fail("the newest chief was told that another has taken over");
    }
    if (disk_.committed.empty() || disk_.committed.back().step != settings_.steps ||
        disk_.committed.back().values != model_.After(settings_.steps)) {
      return Fail("I1: the last checkpoint is not that of an undisturbed run");
    }
    // What nobody needs any more goes away by itself.
    world_.weather = Weather();
    for (const std::string& t : cluster_->tasks()) world_.Resume(t);
    for (const auto& [a, b] : cut_) {
      world_.Heal(a, b);
      world_.Heal(b, a);
    }
    const absl::Duration until = world_.now() + absl::Minutes(10);
    while (world_.now() < until && world_.Step()) {
    }
    for (const std::string& t : cluster_->tasks()) {
      if (!cluster_->IsUp(t)) continue;
      Event state;
      state.kind = EventKind::kState;
      state.task = t;
      state.text = cluster_->Leftovers(t);
      world_.Record(std::move(state));
    }
    return Finish();
  }

 private:
  Outcome Fail(const std::string& what) {
    outcome_.broken = what;
    return Finish();
  }

  // Holds the history to the invariants, too.
  Outcome Finish() {
    const std::vector<std::string> rules = CheckHistory(world_.recorded(), &outcome_.counts);
    if (!rules.empty())
      absl::StrAppend(&outcome_.broken, outcome_.broken.empty() ? "" : "; ", absl::StrJoin(rules, "; "));
    outcome_.damage = world_.damage();
    outcome_.history = world_.history();
    outcome_.lines = world_.lines();
    outcome_.sessions = static_cast<int>(disk_.epoch);
    outcome_.messages = world_.messages();
    outcome_.simulated = world_.now();
    return outcome_;
  }

  // On the task that was chosen last.
  void StartChief() {
    if (chief_) retired_.push_back(std::move(chief_));
    chief_ = std::make_unique<Trainer>(cluster_.get(), chief_task_, model_, settings_, &disk_);
    chief_->Start();
  }

  std::string Pick(const std::string& what) {
    const std::vector<std::string> tasks = cluster_->tasks();
    return tasks[static_cast<size_t>(world_.Chance(what) * static_cast<double>(tasks.size()))];
  }

  void ScheduleFault(int i) {
    const std::string name = absl::StrCat("fault ", i);
    // Within the time that an undisturbed training takes, and a little more.
    const absl::Duration at = absl::Milliseconds(150 * world_.Chance(name + " at"));
    world_.After(nullptr, at, [this, name] {
      if (chief_ && chief_->done()) return;
      const double kind = world_.Chance(name + " kind");
      const std::string task = Pick(name + " task");
      if (kind < 0.55) {
        Kill(task, absl::Seconds(5 * world_.Chance(name + " down")));
      } else if (kind < 0.75) {
        Pause(task, absl::Seconds(40 * world_.Chance(name + " pause")));
      } else if (kind < 0.93) {
        Cut(task, Pick(name + " other"), absl::Seconds(30 * world_.Chance(name + " cut")),
            world_.Chance(name + " one way") < 0.5);
      } else {
        LoseCheckpoint();
      }
    });
  }

  void Kill(const std::string& task, absl::Duration down) {
    if (!cluster_->IsUp(task)) return;
    ++outcome_.kills;
    RecordFault(task, "kill");
    const bool chief = chief_ && task == chief_task_;
    if (chief) retired_.push_back(std::move(chief_));
    cluster_->Kill(task);
    world_.After(nullptr, down, [this, task, chief] {
      if (cluster_->IsUp(task)) return;
      cluster_->Start(task);
      if (chief && !chief_) StartChief();
    });
  }

  void Pause(const std::string& task, absl::Duration length) {
    if (!cluster_->IsUp(task)) return;
    ++outcome_.pauses;
    world_.Note(absl::StrCat("pause ", task));
    RecordFault(task, "pause");
    world_.Pause(task);
    world_.After(nullptr, length, [this, task] {
      world_.Note(absl::StrCat("resume ", task));
      world_.Resume(task);
    });
    if (task != chief_task_ || !chief_ || model_.workers < 2 || length < kTakenForDead) return;
    // Somebody takes the silent chief for dead and starts another, elsewhere; later the first one wakes up.
    world_.After(nullptr, kTakenForDead, [this, task] {
      if (!chief_ || chief_->done() || task != chief_task_) return;
      const std::string other = TaskName("worker", task == TaskName("worker", 0) ? 1 : 0);
      if (!cluster_->IsUp(other)) return;
      ++outcome_.takeovers;
      world_.Note(absl::StrCat(other, " takes over"));
      chief_task_ = other;
      StartChief();
    });
  }

  void Cut(const std::string& a, const std::string& b, absl::Duration length, bool one_way) {
    if (a == b) return;
    ++(one_way ? outcome_.one_way_cuts : outcome_.cuts);
    world_.Note(absl::StrCat("cut ", a, one_way ? " > " : " ", b));
    RecordFault(a, one_way ? "one-way cut" : "cut");
    world_.Cut(a, b);
    if (!one_way) world_.Cut(b, a);
    cut_.emplace_back(a, b);
    world_.After(nullptr, length, [this, a, b] {
      world_.Note(absl::StrCat("heal ", a, " ", b));
      world_.Heal(a, b);
      world_.Heal(b, a);
    });
  }

  // The disk loses the newest checkpoint; not the last of a training, nor the only one.
  void LoseCheckpoint() {
    if (disk_.committed.size() < 2 || disk_.committed.back().step == settings_.steps) return;
    ++outcome_.disk_losses;
    Event event;
    event.kind = EventKind::kLost;
    event.task = "disk";
    event.lineage = Disk::kFolder;
    event.step = disk_.committed.back().step;
    world_.Note(absl::StrCat("the disk loses step ", event.step));
    world_.Record(std::move(event));
    disk_.committed.pop_back();
  }

  void RecordFault(const std::string& task, const std::string& what) {
    Event event;
    event.kind = EventKind::kFault;
    event.task = task;
    event.text = what;
    world_.Record(std::move(event));
  }

  World world_;
  const Model model_;
  Trainer::Settings settings_;
  Disk disk_;
  std::unique_ptr<SimCluster> cluster_;
  std::vector<std::unique_ptr<Trainer>> retired_;
  std::string chief_task_ = TaskName("worker", 0);
  std::unique_ptr<Trainer> chief_;  // null while its process is down
  std::vector<std::pair<std::string, std::string>> cut_;
  Outcome outcome_;
};

}  // namespace sluice::simulation

#endif  // SLUICE_TESTS_SIMULATION_TRAINING_H_
