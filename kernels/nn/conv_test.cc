#include <random>

#include "core/op/window.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

using Ints = std::vector<int64_t>;

struct Case {
  Ints input, filter;  // NHWC (or NDHWC), HWIO
  Ints strides = {1, 1, 1, 1};
  const char* padding = "SAME";
  Ints dilations = {1, 1, 1, 1};
  Ints explicit_paddings = {};
  bool depthwise = false;
};

std::vector<Case> Cases() {
  return {
      {{3, 8, 8, 4}, {3, 3, 4, 6}},
      {{32, 9, 9, 16}, {3, 3, 16, 16}},
      {{1, 40, 33, 16}, {3, 3, 16, 32}},  // one image: split over rows
      {{2, 28, 28, 1}, {5, 5, 1, 32}},
      {{2, 9, 7, 3}, {3, 2, 3, 5}, {1, 2, 3, 1}, "VALID"},
      {{2, 11, 10, 3}, {3, 3, 3, 4}, {1, 1, 1, 1}, "SAME", {1, 2, 3, 1}},
      {{2, 7, 7, 2}, {3, 3, 2, 3}, {1, 2, 1, 1}, "EXPLICIT", {1, 1, 1, 1}, {0, 0, 2, 1, 0, 3, 0, 0}},
      {{2, 6, 6, 8}, {1, 1, 8, 5}},
      {{2, 6, 6, 8}, {3, 3, 2, 12}},  // four groups
      {{2, 7, 7, 6}, {3, 3, 6, 1}, {1, 1, 1, 1}, "SAME", {1, 1, 1, 1}, {}, true},
      {{2, 7, 7, 3}, {3, 3, 3, 2}, {1, 2, 2, 1}, "VALID", {1, 1, 1, 1}, {}, true},
      {{1, 4, 5, 6, 2}, {2, 3, 2, 2, 3}, {1, 1, 2, 1, 1}, "SAME", {1, 1, 1, 1, 1}},
      {{0, 8, 8, 4}, {3, 3, 4, 6}},
  };
}

AttrMap Attrs(const Case& c) {
  AttrMap attrs = {{"strides", c.strides}, {"padding", c.padding}, {"dilations", c.dilations}};
  if (!c.explicit_paddings.empty()) attrs.Set("explicit_paddings", c.explicit_paddings);
  return attrs;
}

Tensor Random(const Ints& dims, int seed) {
  std::mt19937 rng(seed);
  Tensor t = Tensor::Make(DType::kDouble, Shape(dims)).value();
  for (double& v : t.flat<double>()) v = static_cast<double>(rng() % 2001) / 1000 - 1;
  return t;
}

template <typename T>
Tensor CastTo(const Tensor& from) {
  Tensor t = Tensor::Make(kDTypeOf<T>, from.shape()).value();
  for (int64_t i = 0; i < from.num_elements(); ++i) t.data<T>()[i] = static_cast<T>(from.data<double>()[i]);
  return t;
}

// Calls visit(input element, filter element, output element) for every product of the convolution, straight from its
// definition.
template <typename F>
Shape ForEachProduct(const Case& c, const F& visit) {
  const WindowAttrs w = ParseWindowAttrs(Attrs(c), static_cast<int>(c.input.size()) - 2).value();
  Ints in = {1, 1, 1}, filter = {1, 1, 1}, out = {1, 1, 1}, stride = {1, 1, 1}, dilation = {1, 1, 1}, pad = {0, 0, 0};
  for (int i = 0; i < w.spatial; ++i) {
    const WindowAxis a = w.Axis(i, c.input[i + 1], c.filter[i]).value();
    const int at = 3 - w.spatial + i;
    in[at] = a.input, filter[at] = a.filter, out[at] = a.output, stride[at] = a.stride, dilation[at] = a.dilation;
    pad[at] = a.pad_before;
  }
  const int64_t channels = c.input.back(), taken = c.filter[w.spatial], given = c.filter.back();
  const int64_t groups = c.depthwise ? channels : channels / taken;
  const int64_t in_group = c.depthwise ? 1 : taken, results = c.depthwise ? channels * given : given;
  const int64_t out_group = results / groups;
  for (int64_t n = 0; n < c.input[0]; ++n)
    for (int64_t o = 0; o < out[0] * out[1] * out[2]; ++o)
      for (int64_t t = 0; t < filter[0] * filter[1] * filter[2]; ++t) {
        const int64_t z = o / (out[1] * out[2]) * stride[0] - pad[0] + t / (filter[1] * filter[2]) * dilation[0];
        const int64_t y = o / out[2] % out[1] * stride[1] - pad[1] + t / filter[2] % filter[1] * dilation[1];
        const int64_t x = o % out[2] * stride[2] - pad[2] + t % filter[2] * dilation[2];
        if (z < 0 || z >= in[0] || y < 0 || y >= in[1] || x < 0 || x >= in[2]) continue;
        for (int64_t r = 0; r < results; ++r)
          for (int64_t i = 0; i < in_group; ++i) {
            const int64_t from = (((n * in[0] + z) * in[1] + y) * in[2] + x) * channels + r / out_group * in_group + i;
            visit(from, (t * in_group + i) * results + r, (n * out[0] * out[1] * out[2] + o) * results + r);
          }
      }
  Ints dims = {c.input[0]};
  for (int i = 3 - w.spatial; i < 3; ++i) dims.push_back(out[i]);
  dims.push_back(results);
  return Shape(dims);
}

Tensor SizesOf(const Ints& dims) {
  std::vector<int32_t> sizes(dims.begin(), dims.end());
  return Tensor::Vector<int32_t>(sizes);
}

// [batch, positions, channels] <-> [batch, channels, positions], for the tests of layouts.
template <typename T>
Tensor ChannelsFirst(const Tensor& t) {
  const int64_t n = t.dim(0), h = t.dim(1), w = t.dim(2), channels = t.dim(3);
  Tensor r = Tensor::Make(t.dtype(), Shape({n, channels, h, w})).value();
  for (int64_t b = 0; b < n; ++b)
    for (int64_t p = 0; p < h * w; ++p)
      for (int64_t c = 0; c < channels; ++c)
        r.data<T>()[(b * channels + c) * h * w + p] = t.data<T>()[(b * h * w + p) * channels + c];
  return r;
}

class ConvTest : public ::testing::Test {
 protected:
  template <typename T>
  void ExpectNear(const Tensor& got, const Tensor& wanted, double tolerance, const std::string& what) {
    ASSERT_EQ(got.shape(), wanted.shape()) << what;
    for (int64_t i = 0; i < wanted.num_elements(); ++i) {
      const double value = static_cast<double>(got.data<T>()[i]), target = wanted.data<double>()[i];
      ASSERT_NEAR(value, target, tolerance * (1 + std::abs(target))) << what << " element " << i;
    }
  }

  template <typename T>
  void CheckAll(double tolerance) {
    for (const Case& c : Cases()) {
      const std::string name = c.depthwise ? "DepthwiseConv2dNative" : c.input.size() == 5 ? "Conv3D" : "Conv2D";
      const std::string v2 = c.input.size() == 5 ? "V2" : "";
      const std::string what = name + " " + Shape(c.input).ToString() + " " + Shape(c.filter).ToString();
      Tensor x = Random(c.input, 1), f = Random(c.filter, 2);
      const Shape out = ForEachProduct(c, [](int64_t, int64_t, int64_t) {});
      Tensor y = CastTo<double>(Tensor::Make(DType::kDouble, out).value()),
             dy = Random(Ints(out.dims().begin(), out.dims().end()), 3);
      for (double& v : y.flat<double>()) v = 0;
      Tensor dx = Random(c.input, 4), df = Random(c.filter, 5);
      for (double& v : dx.flat<double>()) v = 0;
      for (double& v : df.flat<double>()) v = 0;
      ForEachProduct(c, [&](int64_t i, int64_t j, int64_t o) {
        y.data<double>()[o] += x.data<double>()[i] * f.data<double>()[j];
        dx.data<double>()[i] += dy.data<double>()[o] * f.data<double>()[j];
        df.data<double>()[j] += dy.data<double>()[o] * x.data<double>()[i];
      });
      const Tensor tx = CastTo<T>(x), tf = CastTo<T>(f), tdy = CastTo<T>(dy);
      ExpectNear<T>(tester_.Get(name, {tx, tf}, Attrs(c)), y, tolerance, what);
      ExpectNear<T>(tester_.Get(name + "BackpropInput" + v2, {SizesOf(c.input), tf, tdy}, Attrs(c)), dx, tolerance,
                    what + " dx");
      ExpectNear<T>(tester_.Get(name + "BackpropFilter" + v2, {tx, SizesOf(c.filter), tdy}, Attrs(c)), df, tolerance,
                    what + " df");
    }
  }

  KernelTester tester_{DefineNnOps, AddNnKernelsCpu, 3};
};

TEST_F(ConvTest, FloatFollowsTheDefinition) { CheckAll<float>(1e-4); }
TEST_F(ConvTest, DoubleFollowsTheDefinition) { CheckAll<double>(1e-12); }
TEST_F(ConvTest, HalfFollowsTheDefinition) { CheckAll<half>(2e-2); }
TEST_F(ConvTest, Bfloat16FollowsTheDefinition) { CheckAll<bfloat16>(1e-1); }

TEST_F(ConvTest, ChannelsFirstGivesTheSameTurnedRound) {
  const Tensor x = CastTo<float>(Random({2, 7, 6, 3}, 1)), f = CastTo<float>(Random({3, 3, 3, 4}, 2));
  AttrMap last = {{"strides", Ints{1, 2, 1, 1}}, {"padding", "SAME"}};
  AttrMap first = {{"strides", Ints{1, 1, 2, 1}}, {"padding", "SAME"}, {"data_format", "NCHW"}};
  const Tensor y = tester_.Get("Conv2D", {x, f}, last);
  EXPECT_TRUE(IdenticalTensors(tester_.Get("Conv2D", {ChannelsFirst<float>(x), f}, first), ChannelsFirst<float>(y)));
  const Tensor dx = tester_.Get("Conv2DBackpropInput", {SizesOf({2, 7, 6, 3}), f, y}, last);
  EXPECT_TRUE(
      IdenticalTensors(tester_.Get("Conv2DBackpropInput", {SizesOf({2, 3, 7, 6}), f, ChannelsFirst<float>(y)}, first),
                       ChannelsFirst<float>(dx)));
  EXPECT_TRUE(
      IdenticalTensors(tester_.Get("Conv2DBackpropFilter",
                                   {ChannelsFirst<float>(x), SizesOf({3, 3, 3, 4}), ChannelsFirst<float>(y)}, first),
                       tester_.Get("Conv2DBackpropFilter", {x, SizesOf({3, 3, 3, 4}), y}, last)));
}

TEST_F(ConvTest, RunsRepeatBitForBit) {
  const Tensor x = CastTo<float>(Random({16, 14, 14, 32}, 1)), dy = CastTo<float>(Random({16, 14, 14, 64}, 2));
  AttrMap attrs = {{"strides", Ints{1, 1, 1, 1}}, {"padding", "SAME"}};
  const Tensor once = tester_.Get("Conv2DBackpropFilter", {x, SizesOf({5, 5, 32, 64}), dy}, attrs);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(IdenticalTensors(once, tester_.Get("Conv2DBackpropFilter", {x, SizesOf({5, 5, 32, 64}), dy}, attrs)));
  }
}

TEST_F(ConvTest, WrongSizesAreErrorsThatSayWhatIsWanted) {
  const Tensor f = CastTo<float>(Random({3, 3, 2, 4}, 2)), dy = CastTo<float>(Random({1, 5, 5, 4}, 2));
  AttrMap attrs = {{"strides", Ints{1, 1, 1, 1}}, {"padding", "VALID"}};
  EXPECT_THAT(tester_.Text("Conv2DBackpropInput", {SizesOf({1, 5, 5, 2}), f, dy}, attrs),
              ::testing::HasSubstr("out_backprop is [1,5,5,4], wanted [1,3,3,4]"));
  EXPECT_THAT(tester_.Text("Conv2DBackpropInput", {SizesOf({1, -5, 5, 2}), f, dy}, attrs),
              ::testing::HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(tester_.Text("Conv2DBackpropInput", {SizesOf({1, 1 << 30, 1 << 30, 1 << 30}), f, dy}, attrs),
              ::testing::HasSubstr("INVALID_ARGUMENT"));
}

}  // namespace
}  // namespace sluice
