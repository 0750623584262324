// Whole trainings on simulated clusters, each from a seed: what goes wrong, when, and how long messages take.
//
//   SLUICE_SIMULATION_SEEDS=100000 SLUICE_SIMULATION_FIRST=0   more of them, from another one
//   SLUICE_SIMULATION_PRINT=1                                  the history of each
#include <gtest/gtest.h>

#include <cstdlib>

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
  int64_t kills = 0, pauses = 0, cuts = 0, takeovers = 0, sessions = 0, messages = 0, red = 0;
  absl::Duration simulated;
  for (int64_t seed = first; seed < first + seeds && red < 5; ++seed) {
    const Outcome o = Training(seed).Play();
    kills += o.kills;
    pauses += o.pauses;
    cuts += o.cuts;
    takeovers += o.takeovers;
    sessions += o.sessions;
    messages += o.messages;
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
  std::printf("%lld trainings, %lld kills, %lld pauses, %lld cuts, %lld takeovers, %lld sessions, %lld messages, %s simulated\n",
              static_cast<long long>(seeds), static_cast<long long>(kills), static_cast<long long>(pauses),
              static_cast<long long>(cuts), static_cast<long long>(takeovers), static_cast<long long>(sessions),
              static_cast<long long>(messages),
              absl::FormatDuration(absl::Trunc(simulated, absl::Seconds(1))).c_str());
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
