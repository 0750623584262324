// Activations, bias, pooling, normalization and softmax against their definitions.
#include "kernels/nn/nn_kernels.h"

#include <cmath>
#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using Ints = std::vector<int64_t>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Tensor Floats(const Ints& dims, std::vector<float> values) { return Tensor::FromValues<float>(Shape(dims), values); }
Tensor Vec(std::vector<float> values) { return Tensor::Vector<float>(values); }
Tensor Random(const Ints& dims, int seed) {
  std::mt19937 rng(seed);
  Tensor t = Tensor::Make(DType::kFloat, Shape(dims)).value();
  for (float& v : t.flat<float>()) v = static_cast<float>(rng() % 2001) / 500 - 2;
  return t;
}
std::vector<float> Values(const Tensor& t) { return {t.data<float>(), t.data<float>() + t.num_elements()}; }

class NnKernelsTest : public ::testing::Test {
 protected:
  Tensor Get(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs = {}) {
    return tester_.Get(op, inputs, attrs);
  }
  KernelTester tester_{DefineNnOps, AddNnKernelsCpu, 3};
};

MATCHER_P(NearlyEquals, tolerance, "") {
  const float got = std::get<0>(arg), wanted = std::get<1>(arg);
  if (std::isnan(wanted)) return std::isnan(got);
  if (std::isinf(wanted)) return got == wanted;
  return std::abs(got - wanted) <= tolerance * (1 + std::abs(wanted));
}

TEST_F(NnKernelsTest, ActivationsFollowTheirFormulas) {
  const std::vector<float> x = {-200, -90, -10, -1, -0.25f, -1e-4f, -0.f, 0, 1e-4f, 0.5f, 1, 5.5f, 7, 60, 100, kNan};
  struct Row {
    const char* op;
    double (*f)(double);
    double (*slope)(double);  // in terms of what the gradient op takes
    bool from_result;
  };
  const Row rows[] = {
      {"Relu", [](double v) { return v < 0 ? 0 : v; }, [](double v) { return v > 0 ? 1.0 : 0; }, false},
      {"Relu6", [](double v) { return v < 0   ? 0
                                      : v > 6 ? 6
                                              : v; }, [](double v) { return v > 0 && v < 6 ? 1.0 : 0; },
       false},
      {"LeakyRelu", [](double v) { return v > 0 ? v : v * 0.2f; }, [](double v) { return v > 0 ? 1.0 : 0.2f; }, false},
      {"Elu", [](double v) { return v < 0 ? std::expm1(v) : v; }, [](double y) { return y < 0 ? y + 1 : 1; }, true},
      {"Selu", [](double v) { return v < 0 ? 1.7580993408473769 * std::expm1(v) : 1.0507009873554805 * v; },
       [](double y) { return y < 0 ? y + 1.7580993408473769 : 1.0507009873554805; }, true},
      {"Softplus", [](double v) { return v > 0 ? v + std::log1p(std::exp(-v)) : std::log1p(std::exp(v)); },
       [](double v) { return 1 / (1 + std::exp(-v)); }, false},
      {"Softsign", [](double v) { return v / (1 + std::abs(v)); },
       [](double v) { return 1 / ((1 + std::abs(v)) * (1 + std::abs(v))); }, false},
  };
  for (const Row& r : rows) {
    std::vector<float> wanted, slopes;
    for (float v : x) {
      wanted.push_back(static_cast<float>(r.f(v)));
      slopes.push_back(static_cast<float>(3 * r.slope(r.from_result ? r.f(v) : v)));
    }
    const Tensor y = Get(r.op, {Vec(x)});
    EXPECT_THAT(Values(y), Pointwise(NearlyEquals(4e-7f), wanted)) << r.op;
    wanted.pop_back();
    slopes.pop_back();
    std::vector<float> finite(x.begin(), x.end() - 1);
    const Tensor g = Vec(std::vector<float>(finite.size(), 3));
    const Tensor from = r.from_result ? Vec(wanted) : Vec(finite);
    EXPECT_THAT(Values(Get(std::string(r.op) + "Grad", {g, from})), Pointwise(NearlyEquals(1e-6f), slopes)) << r.op;
  }
  EXPECT_EQ(tester_.Text("Relu", {Tensor::Vector<int32_t>({-3, 4})}), "int32 [2] 0 4");
}

TEST_F(NnKernelsTest, BiasFollowsTheLayout) {
  EXPECT_THAT(Values(Get("BiasAdd", {Floats({2, 2}, {1, 2, 3, 4}), Vec({10, 20})})), ElementsAre(11, 22, 13, 24));
  const Tensor image = Floats({1, 2, 1, 2}, {1, 2, 3, 4});
  EXPECT_THAT(Values(Get("BiasAdd", {image, Vec({10, 20})}, {{"data_format", "NCHW"}})), ElementsAre(11, 12, 23, 24));
  EXPECT_THAT(Values(Get("BiasAddGrad", {image}, {{"data_format", "NCHW"}})), ElementsAre(3, 7));
  EXPECT_THAT(Values(Get("BiasAddGrad", {image})), ElementsAre(4, 6));
  EXPECT_THAT(Values(Get("BiasAddGrad", {Floats({0, 2}, {})})), ElementsAre(0, 0));
  EXPECT_EQ(tester_.Text("BiasAddGrad", {Tensor::FromValues<int32_t>(Shape({2, 2}), {1, 2, 3, 4})}), "int32 [2] 4 6");
}

TEST_F(NnKernelsTest, LongSumsKeepTheirPrecision) {
  const Tensor x = Tensor::Make(DType::kFloat, Shape({300000, 3})).value();
  for (float& v : x.flat<float>()) v = 0.1f;
  EXPECT_THAT(Values(Get("BiasAddGrad", {x})), Pointwise(FloatNear(0.1f), std::vector<float>(3, 30000.f)));
  EXPECT_THAT(Values(Get("BiasAddGrad", {x.WithShape(Shape({1, 3, 300000}))}, {{"data_format", "NCHW"}})),
              Pointwise(FloatNear(0.1f), std::vector<float>(3, 30000.f)));
  EXPECT_NEAR(Get("L2Loss", {x}).scalar<float>(), 4500.0f, 0.02f);
}

TEST_F(NnKernelsTest, MaxPoolAndItsGradients) {
  const AttrMap attrs = {{"ksize", Ints{1, 2, 2, 1}}, {"strides", Ints{1, 2, 2, 1}}, {"padding", "SAME"}};
  const Tensor x = Floats({1, 3, 3, 1}, {1, 5, 2, 5, 3, 9, 7, 0, 8});
  const Tensor y = Get("MaxPool", {x}, attrs);
  EXPECT_THAT(Values(y), ElementsAre(5, 9, 7, 8));
  const Tensor g = Floats({1, 2, 2, 1}, {1, 2, 3, 4});
  // The two fives tie: the first takes the gradient.
  EXPECT_THAT(Values(Get("MaxPoolGrad", {x, y, g}, attrs)), ElementsAre(0, 1, 0, 0, 0, 2, 3, 0, 4));
  EXPECT_THAT(Values(Get("MaxPoolGradGrad", {x, y, x}, attrs)), ElementsAre(5, 9, 7, 8));
  const AttrMap overlap = {{"ksize", Ints{1, 2, 2, 1}}, {"strides", Ints{1, 1, 1, 1}}, {"padding", "VALID"}};
  EXPECT_THAT(Values(Get("MaxPoolGrad", {x, Get("MaxPool", {x}, overlap), g}, overlap)),
              ElementsAre(0, 1, 0, 0, 0, 6, 3, 0, 0));
  const Tensor ksize = Tensor::Vector<int32_t>({1, 2, 2, 1});
  EXPECT_THAT(Values(Get("MaxPoolV2", {x, ksize, ksize}, {{"padding", "SAME"}})), ElementsAre(5, 9, 7, 8));
  EXPECT_THAT(Values(Get("MaxPoolGradV2", {x, y, g, ksize, ksize}, {{"padding", "SAME"}})),
              ElementsAre(0, 1, 0, 0, 0, 2, 3, 0, 4));
  EXPECT_THAT(tester_.Text("MaxPoolV2", {x, Tensor::Vector<int32_t>({1, -2, 2, 1}), ksize}, {{"padding", "SAME"}}),
              HasSubstr("ksize is [1,-2,2,1]"));
}

TEST_F(NnKernelsTest, MaxPoolOverChannelsAndInEveryLayout) {
  const Tensor x = Floats({1, 1, 2, 4}, {1, 4, 3, 2, 8, 5, 6, 7});
  const AttrMap channels = {{"ksize", Ints{1, 1, 1, 2}}, {"strides", Ints{1, 1, 1, 2}}, {"padding", "VALID"}};
  EXPECT_THAT(Values(Get("MaxPool", {x}, channels)), ElementsAre(4, 3, 8, 7));
  const AttrMap first = {
      {"ksize", Ints{1, 2, 1, 1}}, {"strides", Ints{1, 2, 1, 1}}, {"padding", "VALID"}, {"data_format", "NCHW"}};
  EXPECT_THAT(Values(Get("MaxPool", {Floats({1, 4, 1, 2}, {1, 8, 4, 5, 3, 6, 2, 7})}, first)), ElementsAre(4, 8, 3, 7));
  const AttrMap spatial = {
      {"ksize", Ints{1, 1, 1, 2}}, {"strides", Ints{1, 1, 1, 2}}, {"padding", "VALID"}, {"data_format", "NCHW"}};
  EXPECT_THAT(Values(Get("MaxPool", {x}, spatial)), ElementsAre(4, 3, 8, 7));
}

TEST_F(NnKernelsTest, ArgmaxIndexesTheImageOrTheBatch) {
  const Tensor x = Floats({2, 2, 2, 1}, {1, 5, 2, 3, 9, 0, 4, 8});
  AttrMap attrs = {{"ksize", Ints{1, 2, 2, 1}}, {"strides", Ints{1, 2, 2, 1}}, {"padding", "VALID"}};
  auto r = tester_.RunOp("MaxPoolWithArgmax", {x}, attrs);
  ASSERT_TRUE(r.ok()) << r.status();
  EXPECT_EQ((*r)[1].ToString(), "int64 [2,1,1,1] 1 0");
  const Tensor g = Floats({2, 1, 1, 1}, {10, 20});
  EXPECT_THAT(Values(Get("MaxPoolGradWithArgmax", {x, g, (*r)[1]}, attrs)), ElementsAre(0, 10, 0, 0, 20, 0, 0, 0));
  EXPECT_THAT(Values(Get("MaxPoolGradGradWithArgmax", {x, x, (*r)[1]}, attrs)), ElementsAre(5, 9));
  EXPECT_THAT(
      tester_.Text("MaxPoolGradWithArgmax", {x, g, Tensor::FromValues<int64_t>(Shape({2, 1, 1, 1}), {1, 4})}, attrs),
      HasSubstr("outside the image"));
  attrs.Set("include_batch_in_index", true);
  auto batch = tester_.RunOp("MaxPoolWithArgmax", {x}, attrs);
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ((*batch)[1].ToString(), "int64 [2,1,1,1] 1 4");
  EXPECT_THAT(Values(Get("MaxPoolGradWithArgmax", {x, g, (*batch)[1]}, attrs)), ElementsAre(0, 10, 0, 0, 20, 0, 0, 0));
}

TEST_F(NnKernelsTest, AveragePoolLeavesPaddingOut) {
  const AttrMap attrs = {{"ksize", Ints{1, 2, 2, 1}}, {"strides", Ints{1, 2, 2, 1}}, {"padding", "SAME"}};
  const Tensor x = Floats({1, 3, 3, 1}, {1, 5, 2, 5, 3, 9, 7, 0, 8});
  EXPECT_THAT(Values(Get("AvgPool", {x}, attrs)), ElementsAre(3.5, 5.5, 3.5, 8));
  EXPECT_THAT(
      Values(Get("AvgPoolGrad", {Tensor::Vector<int32_t>({1, 3, 3, 1}), Floats({1, 2, 2, 1}, {4, 2, 2, 1})}, attrs)),
      ElementsAre(1, 1, 1, 1, 1, 1, 1, 1, 1));
  const AttrMap cube = {{"ksize", Ints{1, 2, 2, 2, 1}}, {"strides", Ints{1, 2, 2, 2, 1}}, {"padding", "VALID"}};
  EXPECT_THAT(Values(Get("AvgPool3D", {Floats({1, 2, 2, 2, 1}, {1, 2, 3, 4, 5, 6, 7, 8})}, cube)), ElementsAre(4.5));
  EXPECT_THAT(Values(Get("MaxPool3D", {Floats({1, 2, 2, 2, 1}, {1, 2, 3, 4, 5, 6, 7, 8})}, cube)), ElementsAre(8));
}

TEST_F(NnKernelsTest, BatchNormUsesTheStatisticsOfTheBatchInTraining) {
  for (const char* format : {"NHWC", "NCHW"}) {
    const bool first = std::string(format) == "NCHW";
    const Tensor x = Random(first ? Ints{4, 3, 5, 2} : Ints{4, 5, 2, 3}, 1),
                 dy = Random(Ints(x.shape().dims().begin(), x.shape().dims().end()), 2);
    const Tensor scale = Vec({1, 2, 0.5f}), offset = Vec({0, -1, 3}), none = Vec({});
    const AttrMap attrs = {{"data_format", format}, {"epsilon", 1e-3f}};
    auto channel_of = [&](int64_t i) { return first ? i / 10 % 3 : i % 3; };
    const int64_t n = 40;
    double mean[3] = {}, var[3] = {}, a[3] = {}, b[3] = {};
    for (int64_t i = 0; i < x.num_elements(); ++i) mean[channel_of(i)] += x.data<float>()[i] / n;
    for (int64_t i = 0; i < x.num_elements(); ++i)
      var[channel_of(i)] += std::pow(x.data<float>()[i] - mean[channel_of(i)], 2) / n;
    std::vector<float> y, dx, dscale(3), doffset(3);
    for (int64_t i = 0; i < x.num_elements(); ++i) {
      const int64_t c = channel_of(i);
      const double h = (x.data<float>()[i] - mean[c]) / std::sqrt(var[c] + 1e-3);
      y.push_back(static_cast<float>(h * scale.data<float>()[c] + offset.data<float>()[c]));
      a[c] += dy.data<float>()[i] / n;
      b[c] += dy.data<float>()[i] * h / n;
    }
    for (int64_t i = 0; i < x.num_elements(); ++i) {
      const int64_t c = channel_of(i);
      const double r = 1 / std::sqrt(var[c] + 1e-3), h = (x.data<float>()[i] - mean[c]) * r;
      dx.push_back(static_cast<float>(scale.data<float>()[c] * r * (dy.data<float>()[i] - a[c] - h * b[c])));
    }
    auto out = tester_.RunOp("FusedBatchNormV3", {x, scale, offset, none, none}, attrs);
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_THAT(Values((*out)[0]), Pointwise(NearlyEquals(1e-5f), y)) << format;
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR((*out)[1].data<float>()[c], mean[c], 1e-5);
      EXPECT_NEAR((*out)[2].data<float>()[c], var[c] * n / (n - 1), 1e-5);
      EXPECT_NEAR((*out)[4].data<float>()[c], var[c], 1e-5);
    }
    auto grads = tester_.RunOp("FusedBatchNormGradV3", {dy, x, scale, (*out)[3], (*out)[4], (*out)[5]}, attrs);
    ASSERT_TRUE(grads.ok()) << grads.status();
    EXPECT_THAT(Values((*grads)[0]), Pointwise(NearlyEquals(1e-5f), dx)) << format;
    for (int c = 0; c < 3; ++c) {
      EXPECT_NEAR((*grads)[1].data<float>()[c], b[c] * n, 1e-4);
      EXPECT_NEAR((*grads)[2].data<float>()[c], a[c] * n, 1e-4);
    }
  }
}

TEST_F(NnKernelsTest, BatchNormUsesTheGivenStatisticsOtherwise) {
  const Tensor x = Floats({1, 1, 2, 2}, {1, 2, 3, 4});
  AttrMap attrs = {{"is_training", false}, {"epsilon", 0.f}};
  EXPECT_THAT(Values(Get("FusedBatchNorm", {x, Vec({2, 1}), Vec({0, 1}), Vec({1, 2}), Vec({4, 1})}, attrs)),
              ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Values(Get("FusedBatchNormGrad", {x, x, Vec({2, 1}), Vec({1, 2}), Vec({4, 1})}, attrs)),
              ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(tester_.Text("FusedBatchNorm", {x, Vec({2, 1}), Vec({0, 1}), Vec({}), Vec({})}, attrs),
              HasSubstr("mean"));
}

TEST_F(NnKernelsTest, LocalResponseNormalization) {
  const AttrMap attrs = {{"depth_radius", int64_t{1}}, {"bias", 1.f}, {"alpha", 0.5f}, {"beta", 0.75f}};
  const std::vector<float> x = {1, -2, 3, 0.5f};
  auto forward = [&](const std::vector<double>& v) {
    std::vector<double> y;
    for (int i = 0; i < 4; ++i) {
      double sum = 0;
      for (int j = std::max(i - 1, 0); j <= std::min(i + 1, 3); ++j) sum += v[j] * v[j];
      y.push_back(v[i] * std::pow(1 + 0.5 * sum, -0.75));
    }
    return y;
  };
  const std::vector<double> xd(x.begin(), x.end()), yd = forward(xd);
  const Tensor y = Get("LRN", {Floats({1, 1, 1, 4}, x)}, attrs);
  EXPECT_THAT(Values(y), Pointwise(NearlyEquals(1e-6f), std::vector<float>(yd.begin(), yd.end())));
  const std::vector<float> g = {1, 2, -1, 3};
  std::vector<float> numeric;
  for (int i = 0; i < 4; ++i) {
    std::vector<double> up = xd, down = xd;
    up[i] += 1e-5, down[i] -= 1e-5;
    double slope = 0;
    for (int j = 0; j < 4; ++j) slope += g[j] * (forward(up)[j] - forward(down)[j]) / 2e-5;
    numeric.push_back(static_cast<float>(slope));
  }
  EXPECT_THAT(Values(Get("LRNGrad", {Floats({1, 1, 1, 4}, g), Floats({1, 1, 1, 4}, x), y}, attrs)),
              Pointwise(NearlyEquals(1e-5f), numeric));
}

TEST_F(NnKernelsTest, SoftmaxOfAnySizeAddsUpToOne) {
  for (int64_t n : {1, 10, 16, 37, 1000}) {
    const Tensor x = Random({3, n}, static_cast<int>(n));
    const Tensor y = Get("Softmax", {x}), log_y = Get("LogSoftmax", {x});
    for (int64_t r = 0; r < 3; ++r) {
      double total = 0;
      for (int64_t i = 0; i < n; ++i) total += std::exp(static_cast<double>(x.data<float>()[r * n + i]));
      for (int64_t i = r * n; i < r * n + n; ++i) {
        const double wanted = std::exp(static_cast<double>(x.data<float>()[i])) / total;
        EXPECT_NEAR(y.data<float>()[i], wanted, 1e-6 * wanted) << n;
        EXPECT_NEAR(log_y.data<float>()[i], std::log(wanted), 2e-6 * (1 - std::log(wanted)));
      }
    }
  }
  EXPECT_THAT(Values(Get("Softmax", {Vec({1000, 1000, -1000})})), ElementsAre(0.5, 0.5, 0));
  EXPECT_THAT(Values(Get("LogSoftmax", {Vec({-kInf, 0})})), ElementsAre(-kInf, 0));
  EXPECT_EQ(Get("Softmax", {Floats({0, 5}, {})}).num_elements(), 0);
}

TEST_F(NnKernelsTest, CrossEntropiesAgreeAndRefuseWrongLabels) {
  const Tensor x = Random({4, 21}, 5);
  Tensor one_hot = Tensor::Make(DType::kFloat, Shape({4, 21})).value();
  const std::vector<int64_t> labels = {20, 0, 7, 7};
  for (float& v : one_hot.flat<float>()) v = 0;
  for (int r = 0; r < 4; ++r) one_hot.data<float>()[r * 21 + labels[r]] = 1;
  auto dense = tester_.RunOp("SoftmaxCrossEntropyWithLogits", {x, one_hot});
  auto sparse = tester_.RunOp("SparseSoftmaxCrossEntropyWithLogits", {x, Tensor::Vector<int64_t>(labels)});
  ASSERT_TRUE(dense.ok() && sparse.ok()) << dense.status() << sparse.status();
  const Tensor log_softmax = Get("LogSoftmax", {x}), softmax = Get("Softmax", {x});
  for (int r = 0; r < 4; ++r)
    EXPECT_NEAR((*dense)[0].data<float>()[r], -log_softmax.data<float>()[r * 21 + labels[r]], 1e-5);
  for (int i = 0; i < 84; ++i) {
    EXPECT_NEAR((*dense)[1].data<float>()[i], softmax.data<float>()[i] - one_hot.data<float>()[i], 1e-6);
  }
  EXPECT_THAT(Values((*sparse)[0]), Pointwise(NearlyEquals(1e-6f), Values((*dense)[0])));
  EXPECT_THAT(Values((*sparse)[1]), Pointwise(NearlyEquals(1e-6f), Values((*dense)[1])));
  auto row = tester_.RunOp("SoftmaxCrossEntropyWithLogits", {x, one_hot.SliceRows(0, 1)});
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_NEAR((*row)[0].data<float>()[2], -log_softmax.data<float>()[2 * 21 + 20], 1e-5);
  EXPECT_THAT(tester_.Text("SparseSoftmaxCrossEntropyWithLogits", {x, Tensor::Vector<int32_t>({0, 1, 21, 2})}),
              HasSubstr("labels[2] is 21, outside the valid range of [0, 21)"));
}

}  // namespace
}  // namespace sluice
