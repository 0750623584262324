// Every way to compute a convolution against the generic loops in double.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/common/kernel_test.h"
#include "kernels/nn/conv_direct.h"
#include "kernels/nn/conv_dnnl.h"
#include "kernels/nn/conv_generic.h"
#include "kernels/nn/conv_winograd.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardInput,
                                         ConvDirection::kBackwardFilter};

WindowAxis Axis(int64_t input, int64_t filter, int64_t stride, int64_t dilation, int64_t before, int64_t after) {
  WindowAxis a{input, filter, stride, dilation, before, after, 0};
  a.output = std::max<int64_t>(0, (input + before + after - (filter - 1) * dilation - 1) / stride + 1);
  if (input + before + after < (filter - 1) * dilation + 1) a.output = 0;
  return a;
}
// Of equal sizes on both axes.
ConvShape Square(int64_t batch, int64_t size, int64_t in, int64_t out, int64_t filter, int64_t stride, int64_t dilation,
                 int64_t before, int64_t after) {
  ConvShape s;
  s.batch = batch;
  s.in_channels = in;
  s.out_channels = out;
  s.axes[0].input = s.axes[0].output = 1;
  s.axes[1] = s.axes[2] = Axis(size, filter, stride, dilation, before, after);
  return s;
}

std::vector<ConvShape> Shapes() {
  std::vector<ConvShape> shapes = {
      Square(3, 28, 1, 32, 5, 1, 1, 2, 2),   // the layers of LeNet
      Square(5, 14, 32, 64, 5, 1, 1, 2, 2),  //
      Square(1, 14, 64, 64, 3, 1, 1, 1, 1),  // one image
      Square(2, 9, 16, 33, 3, 1, 1, 1, 1),   // channels that fill no vector
      Square(2, 7, 5, 17, 3, 1, 2, 2, 2),    // dilation
      Square(2, 15, 3, 20, 7, 2, 1, 2, 3),   // strides
      Square(2, 12, 8, 10, 1, 1, 1, 0, 0),   // one tap
      Square(1, 1, 1, 1, 1, 1, 1, 0, 0),     // one product
      Square(2, 2, 3, 5, 5, 1, 1, 2, 2),     // a filter larger than the image
      Square(1, 3, 4, 8, 3, 1, 1, 5, 4),     // padding larger than the filter: outputs of nothing
      Square(1, 40, 4, 16, 11, 4, 1, 0, 0),  // a large filter
      Square(40, 4, 2, 3, 3, 1, 1, 1, 1),    // many small images
      Square(2, 31, 20, 40, 2, 3, 1, 0, 1),  // pixels between the windows
  };
  ConvShape volume = Square(2, 5, 3, 18, 3, 1, 1, 1, 1);
  volume.spatial = 3;
  volume.axes[0] = Axis(4, 2, 1, 1, 0, 1);
  shapes.push_back(volume);
  std::mt19937 random(7);
  auto pick = [&](int64_t least, int64_t most) { return least + static_cast<int64_t>(random() % (most - least + 1)); };
  for (int i = 0; i < 40; ++i) {
    ConvShape s = Square(pick(1, 3), 1, pick(1, 40), pick(1, 70), 1, 1, 1, 0, 0);
    for (int axis = i % 5 == 0 ? 0 : 1; axis < 3; ++axis) {
      s.axes[axis] =
          Axis(pick(1, 32 >> (2 - axis)), pick(1, 5), i % 2 == 0 ? 1 : pick(1, 3), pick(1, 2), pick(0, 3), pick(0, 3));
    }
    s.spatial = i % 5 == 0 ? 3 : 2;
    shapes.push_back(s);
  }
  return shapes;
}

std::string Name(const ConvShape& s, ConvDirection direction) {
  std::string name = "direction " + std::to_string(static_cast<int>(direction)) + " batch " + std::to_string(s.batch) +
                     " channels " + std::to_string(s.in_channels) + " to " + std::to_string(s.out_channels);
  for (const WindowAxis& a : s.axes) {
    name += " [" + std::to_string(a.input) + " filter " + std::to_string(a.filter) + " stride " +
            std::to_string(a.stride) + " dilation " + std::to_string(a.dilation) + " padding " +
            std::to_string(a.pad_before) + "," + std::to_string(a.pad_after) + "]";
  }
  return name;
}

class ConvAlgorithmTest : public ::testing::Test {
 protected:
  struct Operands {
    std::vector<float> a, b;
    size_t result;
  };
  static Operands Random(const ConvShape& s, ConvDirection direction) {
    const size_t in = s.input_elements(), filter = s.filter_elements(), out = s.output_elements();
    std::mt19937 random(3);
    auto values = [&](size_t n) {
      std::vector<float> v(n);
      for (float& x : v) x = static_cast<float>(random() % 2001) / 1000 - 1;
      return v;
    };
    if (direction == ConvDirection::kForward) return {values(in), values(filter), out};
    if (direction == ConvDirection::kBackwardInput) return {values(out), values(filter), in};
    return {values(in), values(out), filter};
  }
  static std::vector<float> Run(KernelTester& tester, const ConvAlgorithm& conv, const Operands& o) {
    const StepContext step = tester.Step();
    KernelContext c;
    c.Bind(&step, nullptr, nullptr, 0, nullptr, 0, nullptr, 0);
    std::vector<float> out(o.result, NAN);
    const absl::Status status = conv.Run(c, o.a.data(), o.b.data(), out.data());
    EXPECT_TRUE(status.ok()) << status;
    return out;
  }
  std::vector<double> Reference(const ConvShape& s, ConvDirection direction, const Operands& o) {
    const StepContext step = three_.Step();
    KernelContext c;
    c.Bind(&step, nullptr, nullptr, 0, nullptr, 0, nullptr, 0);
    const std::vector<double> a(o.a.begin(), o.a.end()), b(o.b.begin(), o.b.end());
    std::vector<double> out(o.result);
    const absl::Status status = GenericConv<double>(c, s, direction, a.data(), b.data(), out.data());
    EXPECT_TRUE(status.ok()) << status;
    return out;
  }
  static void ExpectNear(const std::vector<float>& got, const std::vector<double>& wanted, const std::string& what) {
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_NEAR(got[i], wanted[i], 1e-4 * (1 + std::abs(wanted[i]))) << what << " element " << i;
    }
  }

  KernelTester one_{DefineNnOps, AddNnKernelsCpu, 1}, three_{DefineNnOps, AddNnKernelsCpu, 3};
};

TEST_F(ConvAlgorithmTest, EveryInstructionSetFollowsTheGenericLoops) {
  for (const ConvShape& s : Shapes()) {
    if (s.empty()) continue;
    for (ConvDirection direction : kDirections) {
      const Operands o = Random(s, direction);
      const std::vector<double> wanted = Reference(s, direction, o);
      for (CpuIsa isa : {CpuIsa::kBaseline, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
        if (isa > BestCpuIsa()) continue;
        const std::string what = Name(s, direction) + " with instructions " + std::to_string(static_cast<int>(isa));
        const auto conv = MakeDirectConv(s, direction, isa);
        if (conv == nullptr) {
          EXPECT_TRUE(direction == ConvDirection::kBackwardInput) << what;
          continue;
        }
        const std::vector<float> got = Run(three_, *conv, o);
        ExpectNear(got, wanted, what);
        if (HasFatalFailure()) return;
        EXPECT_EQ(got, Run(one_, *conv, o)) << what << ": one thread gives other bits than three";
        if (direction == ConvDirection::kBackwardFilter) continue;
        ASSERT_TRUE(conv->KeepFilter(o.b.data()).ok());
        EXPECT_EQ(got, Run(three_, *conv, o)) << what << ": a filter that is kept gives other bits";
      }
    }
  }
}

TEST_F(ConvAlgorithmTest, OneDnnAgrees) {
  for (const ConvShape& s : Shapes()) {
    if (s.empty()) continue;
    for (ConvDirection direction : kDirections) {
      const auto conv = MakeDnnlConv(s, direction, 3);
      if (conv == nullptr) continue;
      const Operands o = Random(s, direction);
      ExpectNear(Run(three_, *conv, o), Reference(s, direction, o), "oneDNN " + Name(s, direction));
      if (HasFatalFailure()) return;
    }
  }
}

// Its error grows with the largest values, not with each one's own.
TEST_F(ConvAlgorithmTest, WinogradIsWithinItsErrorOfTheLargestOutput) {
  std::vector<ConvShape> shapes = {Square(5, 14, 32, 64, 5, 1, 1, 2, 2), Square(2, 28, 16, 48, 3, 1, 1, 1, 1),
                                   Square(1, 7, 32, 32, 5, 1, 1, 0, 0),  Square(3, 9, 16, 16, 3, 1, 1, 0, 2),
                                   Square(1, 70, 16, 32, 3, 1, 1, 1, 1), Square(2, 1, 16, 16, 3, 1, 1, 1, 1),
                                   Square(1, 2, 16, 16, 5, 1, 1, 4, 4),  Square(2, 12, 64, 32, 5, 1, 1, 3, 1),
                                   Square(40, 4, 16, 16, 3, 1, 1, 1, 1), Square(1, 65, 16, 16, 5, 1, 1, 7, 0)};
  for (const ConvShape& s : shapes) {
    for (ConvDirection direction : kDirections) {
      const auto conv = MakeWinogradConv(s, direction);
      if (conv == nullptr) {
        EXPECT_EQ(BestCpuIsa(), CpuIsa::kBaseline);
        continue;
      }
      const Operands o = Random(s, direction);
      const std::vector<double> wanted = Reference(s, direction, o);
      double largest = 0, error = 0;
      const std::vector<float> got = Run(three_, *conv, o);
      for (size_t i = 0; i < wanted.size(); ++i) {
        ASSERT_EQ(got[i], got[i]) << Name(s, direction) << " element " << i;
        largest = std::max(largest, std::abs(wanted[i]));
        error = std::max(error, std::abs(got[i] - wanted[i]));
      }
      EXPECT_LE(error, 2e-5 * largest) << Name(s, direction);
      EXPECT_EQ(got, Run(one_, *conv, o)) << Name(s, direction) << ": one thread gives other bits than three";
      if (direction == ConvDirection::kBackwardFilter) continue;
      ASSERT_TRUE(conv->KeepFilter(o.b.data()).ok());
      EXPECT_EQ(got, Run(three_, *conv, o)) << Name(s, direction) << ": a filter that is kept gives other bits";
    }
  }
}

TEST_F(ConvAlgorithmTest, WhatHasNoLoopsIsLeftToOthers) {
  ConvShape grouped = Square(1, 8, 4, 4, 3, 1, 1, 1, 1);
  grouped.groups = 2;
  for (ConvDirection direction : kDirections) {
    EXPECT_EQ(MakeDirectConv(grouped, direction), nullptr);
    EXPECT_EQ(MakeWinogradConv(grouped, direction), nullptr);
    for (int64_t filter : {1, 2, 4, 7}) {
      EXPECT_EQ(MakeWinogradConv(Square(1, 8, 16, 16, filter, 1, 1, 1, 1), direction), nullptr);
    }
    EXPECT_EQ(MakeWinogradConv(Square(1, 8, 16, 16, 3, 2, 1, 1, 1), direction), nullptr);
    EXPECT_EQ(MakeWinogradConv(Square(1, 8, 16, 16, 3, 1, 2, 1, 1), direction), nullptr);
    EXPECT_EQ(MakeWinogradConv(Square(1, 8, 15, 16, 3, 1, 1, 1, 1), direction), nullptr);
  }
  const ConvShape strided = Square(1, 8, 4, 4, 3, 2, 1, 1, 1);
  EXPECT_EQ(MakeDirectConv(strided, ConvDirection::kBackwardInput), nullptr);
}

}  // namespace
}  // namespace sluice
