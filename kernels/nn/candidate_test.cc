#include <cmath>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

AttrMap Attrs(int64_t sampled, bool unique, int64_t range, int64_t seed = 3) {
  return {{"num_true", int64_t{1}}, {"num_sampled", sampled}, {"unique", unique}, {"range_max", range}, {"seed", seed}};
}
const Tensor kTrue = Tensor::FromValues<int64_t>(Shape({2, 1}), {0, 3});

TEST(CandidateTest, UniqueSamplesAreDistinctAndInRange) {
  KernelTester tester(DefineNnOps, AddNnKernelsCpu);
  for (const char* op : {"UniformCandidateSampler", "LogUniformCandidateSampler"}) {
    auto out = tester.RunOp(op, {kTrue}, Attrs(20, true, 20));
    ASSERT_TRUE(out.ok()) << out.status();
    const auto v = (*out)[0].flat<int64_t>();
    EXPECT_EQ(std::set<int64_t>(v.begin(), v.end()).size(), 20u);
    EXPECT_EQ(*std::min_element(v.begin(), v.end()), 0);
    EXPECT_EQ(*std::max_element(v.begin(), v.end()), 19);
    EXPECT_LE((*out)[1].data<float>()[0], 1.0f);
  }
}

TEST(CandidateTest, FrequenciesFollowTheDistribution) {
  KernelTester tester(DefineNnOps, AddNnKernelsCpu);
  auto out = tester.RunOp("LogUniformCandidateSampler", {kTrue}, Attrs(100000, false, 10));
  ASSERT_TRUE(out.ok()) << out.status();
  double zeros = 0;
  for (int64_t k : (*out)[0].flat<int64_t>()) zeros += k == 0;
  EXPECT_NEAR(zeros / 100000, std::log(2.0) / std::log(11.0), 0.01);
  EXPECT_NEAR((*out)[1].data<float>()[0], 100000 * std::log(2.0) / std::log(11.0), 1);
}

TEST(CandidateTest, SeedsRepeatAndStepsGoOn) {
  auto draw = [](KernelTester& t) { return t.Text("UniformCandidateSampler", {kTrue}, Attrs(8, false, 1000000)); };
  KernelTester one(DefineNnOps, AddNnKernelsCpu), two(DefineNnOps, AddNnKernelsCpu);
  const std::string first = draw(one), second = draw(one);
  EXPECT_NE(first, second);
  EXPECT_EQ(first, draw(two));
  EXPECT_EQ(second, draw(two));
}

TEST(CandidateTest, AccidentalHitsAreTrueClassesAmongTheSampled) {
  KernelTester tester(DefineNnOps, AddNnKernelsCpu);
  auto out =
      tester.RunOp("ComputeAccidentalHits",
                   {Tensor::FromValues<int64_t>(Shape({2, 2}), {5, 7, 9, 5}), Tensor::Vector<int64_t>({7, 5, 1})},
                   {{"num_true", int64_t{2}}});
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ((*out)[0].ToString(), "int32 [3] 0 0 1");
  EXPECT_EQ((*out)[1].ToString(), "int64 [3] 1 0 1");
}

}  // namespace
}  // namespace sluice
