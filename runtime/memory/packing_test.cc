#include "runtime/memory/packing.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice {
namespace {

// The first pair that lives at one time and overlaps, or "".
std::string Overlap(const std::vector<Region>& regions, const Packing& p) {
  for (size_t i = 0; i < regions.size(); ++i) {
    for (size_t j = i + 1; j < regions.size(); ++j) {
      const Region &a = regions[i], &b = regions[j];
      if (a.end < b.begin || b.end < a.begin) continue;
      if (p.offsets[i] + a.bytes <= p.offsets[j] || p.offsets[j] + b.bytes <= p.offsets[i]) continue;
      return std::to_string(i) + " and " + std::to_string(j);
    }
  }
  return "";
}

TEST(PackingTest, BuffersThatNeverMeetShareAPlace) {
  Packing p = PackRegions(std::vector<Region>{{100, 0, 1}, {100, 2, 3}, {60, 4, 5}});
  EXPECT_EQ(p.total, 128);
  EXPECT_EQ(p.offsets, (std::vector<int64_t>{0, 0, 0}));
}

TEST(PackingTest, ABufferDiesAfterTheInstructionThatReadsIt) {
  // The output of instruction 1 must not overwrite its input.
  EXPECT_EQ(PackRegions(std::vector<Region>{{64, 0, 1}, {64, 1, 2}}).total, 128);
}

TEST(PackingTest, LargestFirstAvoidsTheHolesOfTimeOrder) {
  std::vector<Region> regions = {{64, 0, 1}, {64, 0, 3}, {128, 2, 4}};
  Packing p = PackRegions(regions);
  EXPECT_EQ(Overlap(regions, p), "");
  EXPECT_EQ(p.total, p.lower_bound);
}

TEST(PackingTest, RandomLifetimesNeverOverlapAndStayNearTheBound) {
  std::mt19937 random(7);
  double waste = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<Region> regions(1 + random() % 120);
    for (Region& r : regions) {
      r.begin = static_cast<int>(random() % 60);
      r.end = r.begin + static_cast<int>(random() % (random() % 5 == 0 ? 40 : 6));
      r.bytes = 1 + random() % (random() % 4 == 0 ? 100000 : 1000);
    }
    Packing p = PackRegions(regions);
    ASSERT_EQ(Overlap(regions, p), "") << "round " << round;
    for (int64_t o : p.offsets) ASSERT_EQ(o % 64, 0);
    ASSERT_GE(p.total, p.lower_bound);
    waste += static_cast<double>(p.total) / p.lower_bound - 1;
  }
  EXPECT_LT(waste / 200, 0.05);
}

}  // namespace
}  // namespace sluice
