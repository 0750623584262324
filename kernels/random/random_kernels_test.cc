// The expected numbers are TensorFlow's for the same seeds.
#include "kernels/random/random_kernels.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "ops/random/random_ops.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const AttrMap kSeeds = {{"seed", int64_t{87654321}}, {"seed2", int64_t{42}}};

AttrMap Seeded(std::initializer_list<std::pair<std::string, AttrValue>> more) {
  AttrMap attrs = kSeeds;
  for (const auto& [name, value] : more) attrs.Set(name, value);
  return attrs;
}
Tensor Ints(std::vector<int32_t> v) { return Tensor::Vector<int32_t>(v); }
template <typename T>
std::vector<T> Values(const Tensor& t) {
  return std::vector<T>(t.data<T>(), t.data<T>() + t.num_elements());
}

class RandomTest : public ::testing::Test {
 protected:
  Tensor Get(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs) {
    return t_.Get(op, std::move(inputs), std::move(attrs));
  }
  // Six floats (or doubles) of an op whose first input is the shape.
  template <typename T>
  std::vector<T> Six(absl::string_view op) {
    return Values<T>(Get(op, {Ints({6})}, Seeded({{"dtype", kDTypeOf<T>}})));
  }
  KernelTester t_{DefineRandomOps, AddRandomKernelsCpu};
};

TEST_F(RandomTest, UniformNumbersAreTensorFlowsAndMoveOn) {
  EXPECT_THAT(Six<float>("RandomUniform"), ElementsAre(0.9522714614868164f, 0.6774077415466309f, 0.7953182458877563f,
                                                       0.7557817697525024f, 0.475955605506897f, 0.6310148239135742f));
  EXPECT_THAT(Six<float>("RandomUniform"), ElementsAre(0.15116918087005615f, 0.9988142251968384f, 0.4307137727737427f,
                                                       0.9249907732009888f, 0.41770970821380615f, 0.9479430913925171f));
}

TEST_F(RandomTest, NormalNumbersAreTensorFlows) {
  EXPECT_THAT(Six<float>("RandomStandardNormal"),
              ElementsAre(-0.2807750701904297f, -0.13775210082530975f, -0.6763296127319336f, 0.024580413475632668f,
                          -0.8935845494270325f, -0.8284732699394226f));
}

TEST_F(RandomTest, DoublesAreTensorFlows) {
  EXPECT_THAT(Six<double>("RandomUniform"), ElementsAre(0.6181726095777149, 0.36254602252651336, 0.8076457653772362,
                                                        0.4881631901754211, 0.6897747269334924, 0.7535973263109803));
}

TEST_F(RandomTest, TruncatedNormalNumbersAreTensorFlows) {
  EXPECT_THAT(Six<float>("TruncatedNormal"),
              ElementsAre(-0.2807750701904297f, -0.13775210082530975f, -0.6763296127319336f, 0.024580413475632668f,
                          -0.4684547185897827f, -0.002466318430379033f));
}

TEST_F(RandomTest, TruncatedNormalDoublesAreTensorFlows) {
  EXPECT_THAT(Six<double>("TruncatedNormal"), ElementsAre(0.7456244549943906, -0.6371964266311646, 1.0386338435537557,
                                                          0.8440623680320994, -0.10011952002828886, 1.884183291284533));
}

TEST_F(RandomTest, NarrowTypesAreTensorFlows) {
  std::vector<float> h, b;
  for (half v : Six<half>("RandomUniform")) h.push_back(static_cast<float>(v));
  for (bfloat16 v : Six<bfloat16>("RandomUniform")) b.push_back(static_cast<float>(v));
  EXPECT_THAT(h, ElementsAre(0.0078125, 0.32421875, 0.2470703125, 0.3642578125, 0.0283203125, 0.2734375));
  // The second op has the same node name and seeds, so it goes on where the first stopped.
  EXPECT_THAT(b, ElementsAre(0.0234375, 0.2890625, 0.2578125, 0.1953125, 0.0234375, 0.3984375));
}

TEST_F(RandomTest, IntegersAreTensorFlows) {
  EXPECT_THAT(Values<int32_t>(Get("RandomUniformInt",
                                  {Ints({6}), Tensor::Scalar<int32_t>(-3), Tensor::Scalar<int32_t>(1000)}, kSeeds)),
              ElementsAre(30, 93, 576, -3, 458, 120));
  EXPECT_THAT(Values<int64_t>(Get("RandomUniformInt",
                                  {Ints({6}), Tensor::Scalar<int64_t>(-3), Tensor::Scalar<int64_t>(1000)}, kSeeds)),
              ElementsAre(179, 667, 698, 146, 715, 393));
  EXPECT_THAT(t_.Text("RandomUniformInt", {Ints({6}), Tensor::Scalar<int32_t>(3), Tensor::Scalar<int32_t>(3)}, kSeeds),
              HasSubstr("minval must be below maxval"));
}

TEST_F(RandomTest, ShufflesAreTensorFlows) {
  Tensor v = Ints({0, 1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_THAT(Values<int32_t>(Get("RandomShuffle", {v}, kSeeds)), ElementsAre(5, 0, 1, 4, 2, 3, 6, 8, 7));
  EXPECT_THAT(Values<int32_t>(Get("RandomShuffle", {v}, kSeeds)), ElementsAre(0, 7, 1, 6, 8, 5, 4, 3, 2));
}

TEST_F(RandomTest, MultinomialSamplesAreTensorFlows) {
  Tensor logits = Tensor::FromValues<float>(Shape({1, 4}), {0, 1, 2, 3});
  EXPECT_THAT(Values<int64_t>(Get("Multinomial", {logits, Tensor::Scalar<int32_t>(10)}, kSeeds)),
              ElementsAre(3, 3, 3, 3, 3, 3, 3, 0, 1, 3));
  EXPECT_THAT(Values<int64_t>(Get("Multinomial", {logits, Tensor::Scalar<int32_t>(10)}, kSeeds)),
              ElementsAre(3, 3, 3, 0, 3, 3, 2, 3, 3, 3));
  EXPECT_THAT(Values<int64_t>(Get("StatelessMultinomial", {logits, Tensor::Scalar<int32_t>(10), Ints({7, -8})}, {})),
              ElementsAre(3, 2, 1, 3, 1, 3, 3, 2, 3, 3));
}

TEST_F(RandomTest, GammaSamplesAreTensorFlows) {
  const std::vector<double> want = {0.3945610737885729,    3.8230623211048584, 1.1654193879682269,
                                    0.0018992437378565418, 0.4607331722308907, 2.2029392555097846,
                                    0.0024427492400085813, 0.5900678069966401, 5.60275879394831,
                                    0.22593837487847915,   0.8141813434202706, 4.4000614572023515};
  EXPECT_THAT(Values<double>(Get("RandomGamma", {Ints({4}), Tensor::Vector<double>({0.5, 1, 3.5})}, kSeeds)),
              ::testing::Pointwise(::testing::DoubleNear(1e-12), want));
}

TEST_F(RandomTest, PoissonSamplesAreTensorFlows) {
  EXPECT_THAT(Values<int64_t>(Get("RandomPoissonV2", {Ints({4}), Tensor::Vector<double>({0.5, 3, 50})}, kSeeds)),
              ElementsAre(0, 4, 47, 1, 3, 47, 0, 3, 54, 0, 1, 57));
}

TEST_F(RandomTest, StatelessNumbersAreTensorFlows) {
  Tensor shape = Ints({6}), seed = Ints({7, -8});
  EXPECT_THAT(Values<float>(Get("StatelessRandomUniform", {shape, seed}, {})),
              ElementsAre(0.18250000476837158f, 0.6344149112701416f, 0.8909921646118164f, 0.97339928150177f,
                          0.6362076997756958f, 0.7162303924560547f));
  EXPECT_THAT(Values<float>(Get("StatelessRandomNormal", {shape, seed}, {})),
              ElementsAre(-1.379051923751831f, -1.2248371839523315f, -0.07992907613515854f, 0.47376224398612976f,
                          -0.929703414440155f, -0.20027966797351837f));
  EXPECT_THAT(Values<double>(Get("StatelessTruncatedNormal", {shape, seed}, {{"dtype", DType::kDouble}})),
              ElementsAre(0.8973209776134734, 0.8647939405361036, -1.0934899411435084, -0.6920593406934215,
                          0.5590440000306541, 0.5838368681976401));
  EXPECT_THAT(Values<int32_t>(Get("StatelessRandomUniformInt",
                                  {shape, seed, Tensor::Scalar<int32_t>(-3), Tensor::Scalar<int32_t>(1000)}, {})),
              ElementsAre(732, 867, 912, 442, 470, 375));
}

TEST_F(RandomTest, NumbersDoNotDependOnTheNumberOfThreads) {
  KernelTester alone(DefineRandomOps, AddRandomKernelsCpu, /*parallelism=*/1),
      many(DefineRandomOps, AddRandomKernelsCpu, 4);
  for (const char* op : {"RandomUniform", "RandomStandardNormal", "TruncatedNormal"}) {
    const AttrMap attrs = Seeded({{"dtype", DType::kFloat}});
    EXPECT_TRUE(IdenticalTensors(alone.Get(op, {Ints({100003})}, attrs), many.Get(op, {Ints({100003})}, attrs))) << op;
  }
}

TEST_F(RandomTest, WithoutSeedsEachOpDrawsItsOwn) {
  KernelTester other(DefineRandomOps, AddRandomKernelsCpu);
  const AttrMap attrs = {{"dtype", DType::kFloat}};
  EXPECT_FALSE(
      IdenticalTensors(Get("RandomUniform", {Ints({6})}, attrs), other.Get("RandomUniform", {Ints({6})}, attrs)));
}

TEST_F(RandomTest, ParameterizedTruncatedNormalStaysWithinBoundsAndHasTheRightMean) {
  auto one = [](float v) { return Tensor::Scalar(v); };
  struct Row {
    float mean, deviation, low, high, want;
  };
  // The means of normals within bounds, from the closed form.
  for (Row row : {Row{0, 1, -1, 3, 0.2828f}, Row{0, 1, 2, 9, 2.3732f}, Row{5, 2, -9, 1, 0.2536f},
                  Row{0, 1, 0.1f, 0.2f, 0.1499f}}) {
    Tensor t = Get("ParameterizedTruncatedNormal",
                   {Ints({1, 40000}), one(row.mean), one(row.deviation), one(row.low), one(row.high)}, kSeeds);
    double sum = 0;
    for (float v : Values<float>(t)) {
      ASSERT_GE(v, row.low);
      ASSERT_LE(v, row.high);
      sum += v;
    }
    EXPECT_NEAR(sum / 40000, row.want, 0.02) << row.low;
  }
}

TEST_F(RandomTest, NegativeShapesAreRefused) {
  EXPECT_THAT(t_.Text("RandomUniform", {Ints({-2})}, Seeded({{"dtype", DType::kFloat}})),
              HasSubstr("INVALID_ARGUMENT"));
}

}  // namespace
}  // namespace sluice
