// Each deliberate bug turns the simulation red. Needs a build with --config=bugs.
#include "distributed/testing/bugs.h"

#include <gtest/gtest.h>

#include "tests/simulation/training.h"

namespace sluice::simulation {
namespace {

#ifdef SLUICE_BUGS

const char* const kNames[] = {
    "none",          "NoFence",          "OldEpochAccepted", "DuplicateStepRuns", "DuplicatePartRuns",
    "EndedStepRuns", "StepsStay",        "ErrorSwallowed",   "FirstAnswerEnough", "ZeroForLost",
    "SessionsStay",  "ClientsForgotten", "ResultsMixed"};

// The first red seed, -1 when all are green.
int64_t FirstRed(int64_t seeds, Outcome* red) {
  for (int64_t seed = 0; seed < seeds; ++seed) {
    *red = Training(static_cast<uint64_t>(seed)).Play();
    if (!red->broken.empty()) return seed;
  }
  return -1;
}

TEST(BugsTest, EachTurnsSomeSeedRedAndNoneIsGreen) {
  static_assert(sizeof(kNames) / sizeof(kNames[0]) == kNumBugs);
  for (int bug = kNoBug; bug < kNumBugs; ++bug) {
    deliberate_bug = static_cast<DeliberateBug>(bug);
    Outcome first;
    const int64_t red = FirstRed(bug == kNoBug ? 200 : 2000, &first);
    std::printf("%-20s %s %s\n", kNames[bug], red < 0 ? "green" : absl::StrCat("red at seed ", red, ":").c_str(),
                first.broken.substr(0, 140).c_str());
    std::fflush(stdout);
    EXPECT_EQ(red < 0, bug == kNoBug) << kNames[bug];
    for (int again = 0; red >= 0 && again < 10; ++again) {
      // Not the words of `broken`: handles and numbers of steps are drawn anew.
      const Outcome o = Training(static_cast<uint64_t>(red)).Play();
      EXPECT_FALSE(o.broken.empty()) << kNames[bug] << ": a red seed must stay red";
      EXPECT_EQ(o.history, first.history) << kNames[bug];
    }
  }
  deliberate_bug = kNoBug;
}

#else

TEST(BugsTest, NeedsABuildWithBugs) {
  GTEST_SKIP() << "this build has no deliberate bugs: bazel test --config=bugs //tests/simulation:bugs_test";
}

#endif

}  // namespace
}  // namespace sluice::simulation
