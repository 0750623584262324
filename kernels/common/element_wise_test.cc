#include "kernels/common/element_wise.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/vector_math.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;

struct Minus {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return x - y;
  }
};
struct Sigmoid {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Sigmoid(x);
  }
};

TEST(BroadcastPlanTest, NeighboursThatBroadcastAlikeAreOneRun) {
  Shape a({2, 3, 4}), b({4}), c({2, 1, 1}), scalar;
  EXPECT_TRUE(BroadcastPlan::Make({&a, &a})->IsOneRun());
  EXPECT_TRUE(BroadcastPlan::Make({&a, &scalar})->IsOneRun());
  EXPECT_EQ(BroadcastPlan::Make({&a, &b})->run(), 4);
  EXPECT_EQ(BroadcastPlan::Make({&a, &c})->run(), 12);
  EXPECT_EQ(BroadcastPlan::Make({&a, &c})->step(1), 0);
}

TEST(BroadcastPlanTest, RunsCoverAnyRangeInOrder) {
  Shape a({2, 1, 3}), b({4, 1});
  absl::StatusOr<BroadcastPlan> plan = BroadcastPlan::Make({&a, &b});
  ASSERT_TRUE(plan.ok());
  for (int64_t begin = 0; begin <= 24; ++begin) {
    for (int64_t end = begin; end <= 24; ++end) {
      int64_t next = begin;
      plan->ForEachRun(begin, end, [&](const int64_t* offset, int64_t at, int64_t count) {
        ASSERT_EQ(at, next);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t flat = at + i;
          ASSERT_EQ(offset[0] + i * plan->step(0), flat / 12 * 3 + flat % 3);
          ASSERT_EQ(offset[1] + i * plan->step(1), flat / 3 % 4);
        }
        next += count;
      });
      ASSERT_EQ(next, end);
    }
  }
}

TEST(ElementWiseTest, LoopsOfEveryInstructionSetAgree) {
#ifdef SLUICE_HAS_X86_LOOPS
  std::vector<float> x(1003), y(1003), base(1003), other(1003);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i) * 0.01f - 5;
    y[i] = static_cast<float>(i % 7);
  }
  const char f[kMaxFunctionBytes] = {};
  const int64_t n = static_cast<int64_t>(x.size());
  internal::UnaryBaseline<Sigmoid, float>(f, x.data(), base.data(), n);
  if (BestCpuIsa() != CpuIsa::kBaseline) {
    internal::UnaryAvx2<Sigmoid, float>(f, x.data(), other.data(), n);
    // A fused multiply-add rounds once where two instructions round twice.
    for (int64_t i = 0; i < n; ++i) ASSERT_NEAR(other[i], base[i], 3e-7 * base[i]);
  }
  if (BestCpuIsa() == CpuIsa::kAvx512) {
    std::vector<float> widest(1003);
    internal::UnaryAvx512<Sigmoid, float>(f, x.data(), widest.data(), n);
    EXPECT_EQ(widest, other);
  }
  for (int64_t sx : {0, 1}) {
    for (int64_t sy : {0, 1}) {
      internal::BinaryBaseline<Minus, float>(f, x.data(), sx, y.data(), sy, base.data(), n);
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(base[i], x[i * sx] - y[i * sy]);
      if (BestCpuIsa() == CpuIsa::kBaseline) continue;
      internal::BinaryAvx2<Minus, float>(f, x.data(), sx, y.data(), sy, other.data(), n);
      EXPECT_EQ(base, other);
    }
  }
#endif
}

TEST(ElementWiseTest, WorksInPlace) {
  std::vector<float> x = {3, 2, 1};
  const char f[kMaxFunctionBytes] = {};
  internal::PickBinary<Minus, float>()(f, x.data(), 1, x.data(), 1, x.data(), 3);
  EXPECT_THAT(x, ElementsAre(0, 0, 0));
}

}  // namespace
}  // namespace sluice
