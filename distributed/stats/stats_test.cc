#include <gtest/gtest.h>

#include <random>

#include "distributed/stats/clock_offset.h"
#include "distributed/stats/wire_stats.h"

namespace sluice {
namespace {

TEST(ClockOffsetTest, EachAnswerGivesAnIntervalAndTheyAreIntersected) {
  ClockOffset clock;
  EXPECT_FALSE(clock.At(0).known);
  clock.Add(1000, 51000, 51100, 1300);  // 100 ns there, 100 ns back
  EXPECT_EQ(clock.At(1300).offset_ns, 49900);
  EXPECT_EQ(clock.At(1300).error_ns, 100);
  clock.Add(2000, 51910, 51910, 2500);  // quick there, slow back: the way there tells
  EXPECT_EQ(clock.At(2500).offset_ns, 49855);
  EXPECT_EQ(clock.At(2500).error_ns, 55);
  clock.Add(5000, 4000, 3000, 6000);  // an answer before its question
  clock.Add(5000, 0, 5000, 6000);     // longer there than here
  EXPECT_EQ(clock.At(2500).error_ns, 55);
}

TEST(ClockOffsetTest, TheBoundHoldsWhateverTheDelaysAndDrift) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    const double rate = 1 + (static_cast<double>(random() % 1000) - 500) * 1e-7;  // within 50e-6
    const int64_t skew = static_cast<int64_t>(random()) * 1000 - (int64_t{1} << 41);
    auto theirs = [&](int64_t t) { return skew + static_cast<int64_t>(static_cast<double>(t) * rate); };
    ClockOffset clock;
    int64_t now = 0;
    double sum = 0, sum_of_one = 0;
    for (int i = 0; i < 100; ++i) {
      now += 1'000'000'000;
      const int64_t there = 20'000 + random() % 400'000, busy = random() % 50'000, back = 20'000 + random() % 400'000;
      clock.Add(now, theirs(now + there), theirs(now + there + busy), now + there + busy + back);
      const int64_t when = now + 1'000'000;
      const ClockOffset::Estimate e = clock.At(when);
      ASSERT_TRUE(e.known);
      ASSERT_LE(std::abs(theirs(when) - when - e.offset_ns), e.error_ns + 1) << trial << " " << i;
      sum += static_cast<double>(e.error_ns);
      sum_of_one += static_cast<double>(there + back) / 2;
    }
    EXPECT_LT(sum, 0.95 * sum_of_one);
  }
}

TEST(ClockOffsetTest, AfterAJumpTheNewerAnswersCount) {
  ClockOffset clock;
  for (int64_t t = 0; t < 10; ++t) clock.Add(t * 1000, t * 1000 + 50, t * 1000 + 50, t * 1000 + 100);
  clock.Add(20'000, 1'020'050, 1'020'050, 20'100);
  EXPECT_EQ(clock.At(20'100).offset_ns, 1'000'000);
  EXPECT_EQ(clock.At(20'100).error_ns, 50);
}

TEST(WireStatsTest, CountsByTaskAndWay) {
  WireStats stats("/job:worker/replica:0/task:0");
  const std::string name = "/job:ps/replica:0/task:0";
  std::shared_ptr<WireCounters> ps = stats.Of(name);
  stats.Of("/job:worker/replica:0/task:1");  // nothing came from it
  EXPECT_EQ(stats.Of("/job:worker/replica:0/task:0"), nullptr);
  EXPECT_EQ(stats.Of(""), nullptr);
  EXPECT_EQ(ps->Received(Way::kGrpc, {Tensor::Vector<float>({1, 2})}, 5), 8);
  EXPECT_EQ(ps->Received(Way::kGrpc, {}, 5), 0);  // no tensors, no wait
  const Tensor texts = Tensor::Vector<std::string>({"", "four", "a longer text than fits into the string itself"});
  EXPECT_EQ(ps->Received(Way::kSharedMemory, {Tensor::Scalar<double>(1), Tensor(), texts}, 7), 8 + 4 + 46);
  stats.Of(name)->Add(Way::kSharedMemory, {1, 24, 1});
  const std::vector<WireStats::Row> rows = stats.List();
  ASSERT_EQ(rows.size(), 2);
  EXPECT_EQ(rows[0].totals.wait_ns, 5);
  EXPECT_EQ(rows[1].from, name);
  EXPECT_EQ(rows[1].way, Way::kSharedMemory);
  EXPECT_EQ(rows[1].totals.tensors, 4);
  EXPECT_EQ(rows[1].totals.bytes, 82);
  EXPECT_EQ(rows[1].totals.wait_ns, 8);
}

TEST(WireStatsTest, StrangersCannotMakeItGrow) {
  WireStats stats("/job:worker/replica:0/task:0");
  for (int i = 0; i < 5000; ++i) stats.Of(std::to_string(i))->Add(Way::kGrpc, {1, 1, 0});
  EXPECT_EQ(stats.List().size(), 1001);
  int64_t bytes = 0;
  for (const auto& row : stats.List()) bytes += row.totals.bytes;
  EXPECT_EQ(bytes, 5000);
}

}  // namespace
}  // namespace sluice
