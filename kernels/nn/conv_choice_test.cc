#include "kernels/nn/conv_choice.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/testing/manual_clock.h"
#include "kernels/common/kernel_test.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

// Writes its number to the result and lets some time pass.
class FakeConv : public ConvAlgorithm {
 public:
  // Fails when its number is negative.
  FakeConv(float number, absl::Duration time, ManualClock* clock, int* runs)
      : number_(number), time_(time), clock_(clock), runs_(runs) {}
  absl::Status KeepFilter(const float*) override { return absl::OkStatus(); }
  absl::Status Run(KernelContext&, const float*, const float*, float* out) const override {
    ++*runs_;
    clock_->Advance(time_);
    *out = number_;
    return number_ < 0 ? absl::ResourceExhaustedError("too much") : absl::OkStatus();
  }

 private:
  const float number_;
  const absl::Duration time_;
  ManualClock* const clock_;
  int* const runs_;
};

class ConvChoiceTest : public ::testing::Test {
 protected:
  ConvChoiceTest() {
    shape_.batch = 4;
    shape_.in_channels = shape_.out_channels = 32;
    shape_.axes[0].input = shape_.axes[0].output = 1;
    shape_.axes[1] = shape_.axes[2] = {28, 3, 1, 1, 1, 1, 28};
  }
  // The rule would take the slow one, 1; the fast one is 2.
  std::vector<ConvCandidate> Candidates() {
    return {{"slow", [this] { return std::make_unique<FakeConv>(1, absl::Milliseconds(20), &clock_, &slow_runs_); }},
            {"fast", [this] { return std::make_unique<FakeConv>(fast_number_, fast_, &clock_, &fast_runs_); }},
            {"absent", [] { return nullptr; }}};
  }
  // What a run gives, or -1 when there is no algorithm.
  float Runs(Tuning* tuning, int times = 1) {
    const auto conv = ChooseConv(shape_, ConvDirection::kForward, 2, Candidates(), tuning, &clock_);
    if (conv == nullptr) return -1;
    const StepContext step = tester_.Step();
    KernelContext c;
    c.Bind(&step, nullptr, nullptr, 0, nullptr, 0, nullptr, 0);
    float out = 0;
    for (int i = 0; i < times; ++i) EXPECT_TRUE(conv->Run(c, nullptr, nullptr, &out).ok());
    return out;
  }
  static std::string Folder(const std::string& name) {
    return ::testing::TempDir() + "/choice_" + name + std::to_string(getpid());
  }

  KernelTester tester_{DefineNnOps, AddNnKernelsCpu, 2};
  ManualClock clock_;
  ConvShape shape_;
  absl::Duration fast_ = absl::Milliseconds(17);
  float fast_number_ = 2;
  int slow_runs_ = 0, fast_runs_ = 0;
};

TEST_F(ConvChoiceTest, TheFastestIsFoundOnceAndKept) {
  Tuning first(Folder("kept"));
  EXPECT_EQ(Runs(&first, 3), 2);
  const int measured = slow_runs_;
  EXPECT_GT(measured, 0);
  Tuning second(Folder("kept"));  // as another process would
  EXPECT_EQ(Runs(&second), 2);
  EXPECT_EQ(slow_runs_, measured);
}

TEST_F(ConvChoiceTest, WhatIsHardlyFasterChangesNothing) {
  Tuning tuning(Folder("hardly"));
  fast_ = absl::Milliseconds(19);
  EXPECT_EQ(Runs(&tuning), 1);
}

TEST_F(ConvChoiceTest, WhatFailsIsNotChosen) {
  Tuning tuning(Folder("fails"));
  fast_number_ = -1;
  EXPECT_EQ(Runs(&tuning), 1);
}

TEST_F(ConvChoiceTest, TheRuleDecidesWhereNothingCanBeKept) {
  Tuning nowhere("/dev/null/sluice");
  EXPECT_EQ(Runs(&nowhere), 1);
  EXPECT_EQ(Runs(nullptr), 1);
  EXPECT_EQ(slow_runs_, 2);
  EXPECT_EQ(fast_runs_, 0);
}

TEST_F(ConvChoiceTest, SmallConvolutionsAreNotMeasured) {
  shape_.batch = 1;
  shape_.in_channels = 2;
  Tuning tuning(Folder("small"));
  EXPECT_EQ(Runs(&tuning), 1);
  EXPECT_EQ(slow_runs_, 1);
}

TEST_F(ConvChoiceTest, ShapesThreadsAndDirectionsAreMeasuredEachForItself) {
  Tuning tuning(Folder("keys"));
  EXPECT_EQ(Runs(&tuning), 2);
  const int measured = slow_runs_;
  shape_.batch = 5;
  EXPECT_EQ(Runs(&tuning), 2);
  EXPECT_EQ(slow_runs_, 2 * measured);
}

}  // namespace
}  // namespace sluice
