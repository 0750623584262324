#include "core/base/step_times.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/contributions.h"

namespace sluice {
namespace {

TEST(StepTimesTest, PercentilesAreThoseOfTheLastStepsWithinABucket) {
  StepTimes times;
  EXPECT_EQ(times.Counts().Percentile(0.5), 0);
  for (int i = 0; i < 1000; ++i) times.Add(5);  // leave the window
  for (int i = 1; i <= StepTimes::kWindow; ++i) times.Add(1e-3 * i);
  const TimeCounts counts = times.Counts();
  EXPECT_EQ(counts.total(), StepTimes::kWindow);
  for (double p : {0.5, 0.9, 0.99}) EXPECT_NEAR(counts.Percentile(p) / (p * 0.256), 1, 0.05) << p;
}

TEST(StepTimesTest, CountsOfSeveralAddUp) {
  StepTimes quick, slow;
  for (int i = 0; i < 90; ++i) quick.Add(0.01);
  for (int i = 0; i < 10; ++i) slow.Add(1);
  TimeCounts all = quick.Counts();
  all.Merge(slow.Counts());
  EXPECT_EQ(all.total(), 100);
  EXPECT_NEAR(all.Percentile(0.89), 0.01, 0.0005);
  EXPECT_NEAR(all.Percentile(0.91), 1, 0.05);
}

TEST(StepTimesTest, AnyTimeHasABucket) {
  StepTimes times;
  for (double s : {-1.0, 0.0, 1e-9, 1e9}) times.Add(s);
  EXPECT_EQ(times.Counts().total(), 4);
}

struct Row {
  const char* what;
  std::vector<double> seconds;  // of each peer, in each step
  int hiccup;                   // every so many steps the last peer takes 10 times as long
  std::string named;
};

TEST(StragglersTest, SteadyOnesAreNamedWithinTwentySteps) {
  const std::vector<Row> rows = {
      {"even", {0.02, 0.021, 0.019, 0.02}, 0, ""},
      {"one is slow", {0.02, 0.021, 0.06, 0.02}, 0, "c"},
      {"less than twice", {0.02, 0.021, 0.039, 0.02}, 0, ""},
      {"two are slow", {0.02, 0.06, 0.02, 0.02, 0.07}, 0, "be"},
      {"of two", {0.02, 0.05}, 0, "b"},
      {"quick steps differ by chance", {0.0001, 0.0004, 0.0009}, 0, ""},
      {"hiccups", {0.02, 0.02, 0.02}, 3, ""},
      {"alone", {0.02}, 0, ""},
      {"unknown times", {-1, 0.02, -1, 0.05}, 0, "d"},
  };
  for (const Row& row : rows) {
    std::vector<std::string> names;
    for (size_t i = 0; i < row.seconds.size(); ++i) names.push_back(std::string(1, static_cast<char>('a' + i)));
    Stragglers stragglers(names);
    int fresh = 0;
    for (int step = 0; step < 20; ++step) {
      std::vector<double> seconds = row.seconds;
      if (row.hiccup > 0 && step % row.hiccup == 0) seconds.back() *= 10;
      fresh += stragglers.Add(seconds);
    }
    std::string named;
    for (const auto& s : stragglers.Named()) named += s.name;
    EXPECT_EQ(named, row.named) << row.what;
    EXPECT_EQ(fresh, row.named.size()) << row.what;
  }
}

TEST(StragglersTest, WhoRecoversIsNoLongerNamed) {
  Stragglers stragglers({"a", "b"});
  for (int i = 0; i < 30; ++i) stragglers.Add({0.01, 0.05});
  ASSERT_EQ(stragglers.Named().size(), 1);
  EXPECT_EQ(Describe(stragglers.Named()[0], "its step"),
            "b is a straggler: its step takes 50.0 ms, 5.0 times the median of its peers");
  for (int i = 0; i < Stragglers::kSteps - 1; ++i) stragglers.Add({0.01, 0.01});
  EXPECT_EQ(stragglers.Named().size(), 1);
  stragglers.Add({0.01, 0.01});
  EXPECT_TRUE(stragglers.Named().empty());
  int fresh = 0;
  for (int i = 0; i < 30; ++i) fresh += stragglers.Add({0.01, 0.05});
  EXPECT_EQ(fresh, 1);
}

// Three replicas whose gradients (two of each) come `ms` after the beginning of a step of 100 ms.
std::string NamedReplicas(const std::vector<int>& ms, int steps) {
  Contributions c;
  for (int step = 0; step < steps; ++step) {
    const absl::Duration began = absl::Milliseconds(100 * step);
    for (int accumulator = 0; accumulator < 2; ++accumulator) c.StepBegan(step, began);
    for (size_t r = 0; r < ms.size(); ++r) {
      if (ms[r] > 100 && step > 0) {  // that of the step before, when this one has begun
        c.Arrived(step - 1, static_cast<int64_t>(r), began + absl::Milliseconds(ms[r] - 100));
      } else if (ms[r] <= 100) {
        c.Arrived(step, static_cast<int64_t>(r), began + absl::Milliseconds(1));
        c.Arrived(step, static_cast<int64_t>(r), began + absl::Milliseconds(ms[r]));
      }
    }
  }
  std::string named;
  for (const auto& s : c.Named()) absl::StrAppend(&named, s.name, ";");
  return named;
}

TEST(ContributionsTest, NamesTheReplicaWhoseLastGradientIsLate) {
  EXPECT_EQ(NamedReplicas({20, 22, 24}, 40), "");
  EXPECT_EQ(NamedReplicas({20, 80, 24}, 21), "replica 1;");
  EXPECT_EQ(NamedReplicas({20, 24, 150}, 21), "replica 2;");  // comes when the backups have made the step
  EXPECT_EQ(NamedReplicas({20}, 40), "");
}

TEST(ContributionsTest, AnotherTrainingBeginsAnew) {
  Contributions c;
  c.StepBegan(7, absl::Seconds(1));
  c.Arrived(7, 0, absl::Seconds(2));
  c.StepBegan(3, absl::Seconds(3));
  c.Arrived(7, 0, absl::Seconds(90));
  c.Arrived(3, 0, absl::Seconds(4));
  c.Arrived(3, -1, absl::Seconds(4));
  c.Arrived(3, 1 << 30, absl::Seconds(4));
  c.StepBegan(4, absl::Seconds(5));
  ASSERT_EQ(c.Times().size(), 1);
  EXPECT_EQ(c.Times()[0].total(), 1);
  EXPECT_NEAR(c.Times()[0].Percentile(0.5), 1, 0.05);
}

}  // namespace
}  // namespace sluice
