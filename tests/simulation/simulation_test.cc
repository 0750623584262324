// Whole trainings on simulated clusters, each from a seed: what goes wrong, when, and how long messages take.
//
//   SLUICE_SIMULATION_SEEDS=100000 SLUICE_SIMULATION_FIRST=0   more of them, from another one
//   SLUICE_SIMULATION_PRINT=1                                  the history of each
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/simulation/training.h"

namespace sluice::simulation {
namespace {

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  int64_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

TEST(SimulationTest, EveryTrainingEndsWithTheBitsOfAnUndisturbedOne) {
  const int64_t first = FromEnvironment("SLUICE_SIMULATION_FIRST", 0);
  const int64_t seeds = FromEnvironment("SLUICE_SIMULATION_SEEDS", 2000);
  const bool print = FromEnvironment("SLUICE_SIMULATION_PRINT", 0) != 0;
  // In the order in which they are printed.
  std::vector<std::pair<const char*, int64_t>> counts;
  const auto add = [&counts](const char* name, int64_t n) {
    for (auto& [known, sum] : counts) {
      if (std::string(known) == name) {
        sum += n;
        return;
      }
    }
    counts.emplace_back(name, n);
  };
  int64_t played = 0, red = 0;
  absl::Duration simulated;
  for (int64_t seed = first; seed < first + seeds && red < 5; ++seed) {
    const Outcome o = Training(seed).Play();
    ++played;
    add("kills", o.kills);
    add("pauses", o.pauses);
    add("cuts", o.cuts);
    add("one-way cuts", o.one_way_cuts);
    add("takeovers", o.takeovers);
    add("checkpoints lost", o.disk_losses);
    add("skewed clocks", o.damage.skewed);
    add("messages lost", o.damage.lost);
    add("messages cut off", o.damage.cut);
    add("messages doubled", o.damage.duplicated);
    add("messages reordered", o.damage.reordered);
    add("messages delayed", o.damage.slowed);
    add("calls and commits refused", o.counts.refused);
    add("steps aborted", o.counts.aborted);
    add("restores", o.counts.restores);
    add("commits", o.counts.commits);
    add("sessions", o.sessions);
    add("messages", o.messages);
    simulated += o.simulated;
    if (print || !o.broken.empty()) {
      std::printf("seed %lld\n  %s\n", static_cast<long long>(seed), absl::StrJoin(o.lines, "\n  ").c_str());
    }
    if (!o.broken.empty()) {
      ++red;
      ADD_FAILURE() << "seed " << seed << ": " << o.broken << "\nrepeat with SLUICE_SIMULATION_FIRST=" << seed
                    << " SLUICE_SIMULATION_SEEDS=1";
    }
  }
  std::printf("%lld trainings, %lld red", static_cast<long long>(played), static_cast<long long>(red));
  for (const auto& [name, n] : counts) {
    std::printf(", %lld %s", static_cast<long long>(n), name);
    if (seeds >= 1000) {
      EXPECT_GT(n, 0) << name << ": never happened, so nothing was proved about it";
    }
  }
  std::printf(", %s simulated\n", absl::FormatDuration(absl::Trunc(simulated, absl::Seconds(1))).c_str());
}

TEST(SimulationTest, ASeedRepeatsItsHistory) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Outcome a = Training(seed).Play();
    const Outcome b = Training(seed).Play();
    EXPECT_EQ(a.history, b.history) << "seed " << seed << "\n"
                                    << absl::StrJoin(a.lines, "\n") << "\n--\n"
                                    << absl::StrJoin(b.lines, "\n");
    EXPECT_EQ(a.messages, b.messages) << "seed " << seed;
  }
}

}  // namespace
}  // namespace sluice::simulation
