#include "kernels/math/math_kernels.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "ops/math/math_ops.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

KernelTester& Ops() {
  static KernelTester* t = new KernelTester(DefineMathOps, AddMathKernelsCpu);
  return *t;
}
Tensor Floats(Shape shape, std::vector<float> v) { return Tensor::FromValues<float>(shape, v); }
Tensor Floats(std::vector<float> v) { return Tensor::Vector<float>(v); }
Tensor Ints(std::vector<int32_t> v) { return Tensor::Vector<int32_t>(v); }
Tensor Int(int32_t v) { return Tensor::Scalar<int32_t>(v); }
template <typename T>
std::vector<T> Values(const Tensor& t) {
  return std::vector<T>(t.data<T>(), t.data<T>() + t.num_elements());
}
std::vector<float> F(const Tensor& t) { return Values<float>(t); }

TEST(ArithmeticTest, BroadcastsAsNumPyDoes) {
  Tensor m = Floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(F(Ops().Get("AddV2", {m, Floats({10, 20, 30})})), ::testing::ElementsAre(11, 22, 33, 14, 25, 36));
  EXPECT_THAT(F(Ops().Get("Sub", {m, Floats({2, 1}, {1, 2})})), ::testing::ElementsAre(0, 1, 2, 2, 3, 4));
  EXPECT_THAT(F(Ops().Get("Mul", {Tensor::Scalar(2.f), m})), ::testing::ElementsAre(2, 4, 6, 8, 10, 12));
  Tensor column = Floats({2, 1, 2}, {1, 2, 3, 4}), row = Floats({1, 3, 1}, {10, 20, 30});
  EXPECT_THAT(F(Ops().Get("AddV2", {column, row})),
              ::testing::ElementsAre(11, 12, 21, 22, 31, 32, 13, 14, 23, 24, 33, 34));
  EXPECT_THAT(Ops().Text("AddV2", {m, Floats({1, 2})}), HasSubstr("INVALID_ARGUMENT"));
}

TEST(ArithmeticTest, ZeroSizedTensorsHaveZeroSizedResults) {
  Tensor none = Floats({0, 3}, {});
  EXPECT_EQ(Ops().Get("AddV2", {none, Floats({1, 2, 3})}).shape(), Shape({0, 3}));
  EXPECT_EQ(Ops().Get("Exp", {none}).shape(), Shape({0, 3}));
  EXPECT_THAT(F(Ops().Get("Sum", {none, Int(0)})), ::testing::ElementsAre(0, 0, 0));
  EXPECT_THAT(F(Ops().Get("Max", {none, Int(0)})), ::testing::ElementsAre(-kInf, -kInf, -kInf));
  EXPECT_EQ(Ops().Get("MatMul", {Floats({2, 0}, {}), Floats({0, 2}, {})}).num_elements(), 4);
  EXPECT_THAT(F(Ops().Get("MatMul", {Floats({2, 0}, {}), Floats({0, 2}, {})})), ::testing::Each(0));
}

TEST(ArithmeticTest, IntegerDivisionNeverTraps) {
  EXPECT_THAT(Ops().Text("FloorDiv", {Ints({1, 2}), Ints({1, 0})}), HasSubstr("division by zero"));
  EXPECT_THAT(Ops().Text("FloorMod", {Ints({1}), Int(0)}), HasSubstr("division by zero"));
  constexpr int32_t kLeast = std::numeric_limits<int32_t>::min();
  EXPECT_THAT(Values<int32_t>(Ops().Get("TruncateDiv", {Ints({kLeast}), Int(-1)})), ::testing::ElementsAre(kLeast));
  EXPECT_THAT(Values<int32_t>(Ops().Get("FloorMod", {Ints({kLeast}), Int(-1)})), ::testing::ElementsAre(0));
  EXPECT_THAT(Values<int32_t>(Ops().Get("FloorDiv", {Ints({-7, 7, -7, 7}), Ints({2, -2, -2, 2})})),
              ::testing::ElementsAre(-4, -4, 3, 3));
  EXPECT_THAT(Values<int32_t>(Ops().Get("FloorMod", {Ints({-7, 7, -7, 7}), Ints({2, -2, -2, 2})})),
              ::testing::ElementsAre(1, -1, -1, 1));
  EXPECT_THAT(Values<int32_t>(Ops().Get("Mod", {Ints({-7, 7}), Ints({2, -2})})), ::testing::ElementsAre(-1, 1));
}

TEST(ArithmeticTest, NanWinsInMaximumAndMinimum) {
  for (const char* op : {"Maximum", "Minimum"}) {
    std::vector<float> r = F(Ops().Get(op, {Floats({kNan, 1}), Floats({1, kNan})}));
    EXPECT_TRUE(std::isnan(r[0]) && std::isnan(r[1])) << op;
  }
  EXPECT_TRUE(std::isnan(F(Ops().Get("Max", {Floats({1, kNan, 2}), Int(0)}))[0]));
}

TEST(ArithmeticTest, NoNanFormsGiveZero) {
  EXPECT_THAT(F(Ops().Get("DivNoNan", {Floats({1, 2}), Floats({0, 4})})), ::testing::ElementsAre(0, 0.5));
  EXPECT_THAT(F(Ops().Get("MulNoNan", {Floats({kInf, 2}), Floats({0, 4})})), ::testing::ElementsAre(0, 8));
  EXPECT_THAT(F(Ops().Get("Xlogy", {Floats({0, 2}), Floats({0, 1})})), ::testing::ElementsAre(0, 0));
}

TEST(ArithmeticTest, NegativePowersOfIntegersAreRefused) {
  EXPECT_THAT(Values<int32_t>(Ops().Get("Pow", {Ints({2, 3, -2}), Ints({10, 0, 3})})),
              ::testing::ElementsAre(1024, 1, -8));
  EXPECT_THAT(Ops().Text("Pow", {Ints({2}), Ints({-1})}), HasSubstr("negative powers"));
}

TEST(ArithmeticTest, HalfAndBfloat16AreRoundedOnce) {
  auto third = [](auto one) { return static_cast<decltype(one)>(static_cast<float>(one) / 3.f); };
  Tensor h = Ops().Get("RealDiv", {Tensor::Scalar(half(1)), Tensor::Scalar(half(3))});
  EXPECT_EQ(*h.data<half>(), third(half(1)));
  Tensor b = Ops().Get("RealDiv", {Tensor::Scalar(bfloat16(1)), Tensor::Scalar(bfloat16(3))});
  EXPECT_EQ(*b.data<bfloat16>(), third(bfloat16(1)));
}

TEST(ArithmeticTest, AddNAddsManyAndRefusesOtherShapes) {
  EXPECT_THAT(F(Ops().Get("AddN", {Floats({1, 2}), Floats({10, 20}), Floats({100, 200}), Floats({1000, 2000})})),
              ::testing::ElementsAre(1111, 2222));
  EXPECT_THAT(Ops().Text("AddN", {Floats({1, 2}), Floats({10, 20, 30})}), HasSubstr("INVALID_ARGUMENT"));
}

TEST(ArithmeticTest, StringsAreJoinedAndCompared) {
  Tensor a = Tensor::Vector<std::string>({"a", "b"}), b = Tensor::Scalar<std::string>("b");
  EXPECT_THAT(Values<std::string>(Ops().Get("Add", {a, b})), ::testing::ElementsAre("ab", "bb"));
  EXPECT_THAT(Values<bool>(Ops().Get("Equal", {a, b})), ::testing::ElementsAre(false, true));
}

TEST(ComparisonTest, ShapesThatDoNotBroadcastMayCompareAsDifferent) {
  EXPECT_THAT(Ops().Text("Equal", {Floats({1, 2}), Floats({1, 2, 3})}), HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(
      Values<bool>(Ops().Get("NotEqual", {Floats({1, 2}), Floats({1, 2, 3})}, {{"incompatible_shape_error", false}})),
      ::testing::ElementsAre(true));
}

TEST(UnaryTest, FunctionsAgreeWithTheCLibrary) {
  struct Row {
    const char* op;
    double (*f)(double);
    std::vector<float> x;
    double absolute = 1e-37;
  };
  const std::vector<float> all = {-100, -88, -20, -3, -1, -0.5, -1e-3, -1e-7, 0,  1e-7, 1e-3,
                                  0.3,  0.5, 0.9, 1,  2,  3,    10,    20,    80, kInf, -kInf};
  const std::vector<float> positive = {1e-40, 1e-30, 1e-7, 0.1, 0.5, 0.99999, 1, 1.00001, 2, 10, 1e10, 1e38, kInf, 0};
  const std::vector<float> angles = {-1e6, -8193, -100, -3, -1, 0, 1e-3, 0.5, 1, 3, 100, 8191, 1e5, 1e30};
  const std::vector<float> unit = {-1, -0.7, -0.1, 0, 0.1, 0.7, 1};
  const Row rows[] = {{"Exp", std::exp, all},
                      {"Expm1", std::expm1, all},
                      {"Tanh", std::tanh, all},
                      {"Erf", std::erf, all},
                      {"Erfc", std::erfc, all},
                      {"Log", std::log, positive},
                      {"Log1p", std::log1p, positive},
                      {"Sqrt", std::sqrt, positive},
                      {"Sin", std::sin, angles, 1.5e-7},
                      {"Cos", std::cos, angles, 1.5e-7},
                      {"Tan", std::tan, unit},
                      {"Asin", std::asin, unit},
                      {"Acos", std::acos, unit},
                      {"Atan", std::atan, all},
                      {"Floor", std::floor, all},
                      {"Ceil", std::ceil, all},
                      {"Rint", std::nearbyint, all},
                      {"Lgamma", std::lgamma, positive}};
  for (const Row& row : rows) {
    // Repeated, so that whole vectors are filled as well as their rests.
    std::vector<float> x;
    for (int i = 0; i < 100; ++i) x.push_back(row.x[i % row.x.size()]);
    std::vector<float> y = F(Ops().Get(row.op, {Floats(x)}));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = row.f(x[i]);
      if (std::isinf(static_cast<float>(want))) {
        EXPECT_EQ(y[i], static_cast<float>(want)) << row.op << "(" << x[i] << ")";
      } else {
        EXPECT_NEAR(y[i], want, 4e-7 * std::abs(want) + row.absolute) << row.op << "(" << x[i] << ")";
      }
    }
    EXPECT_TRUE(std::isnan(F(Ops().Get(row.op, {Floats({kNan})}))[0])) << row.op;
  }
}

TEST(UnaryTest, SignKeepsNanAndRoundingGoesToEven) {
  std::vector<float> s = F(Ops().Get("Sign", {Floats({-2, 0, 3, kNan})}));
  EXPECT_EQ(s[0], -1);
  EXPECT_EQ(s[1], 0);
  EXPECT_EQ(s[2], 1);
  EXPECT_TRUE(std::isnan(s[3]));
  EXPECT_THAT(F(Ops().Get("Round", {Floats({0.5, 1.5, 2.5, -0.5})})), ::testing::ElementsAre(0, 2, 2, -0.f));
}

TEST(CastTest, GoesTowardsZeroAndToTruth) {
  EXPECT_THAT(Values<int32_t>(Ops().Get("Cast", {Floats({-1.7, 2.9})}, {{"DstT", DType::kInt32}})),
              ::testing::ElementsAre(-1, 2));
  EXPECT_THAT(Values<bool>(Ops().Get("Cast", {Floats({0, 0.1})}, {{"DstT", DType::kBool}})),
              ::testing::ElementsAre(false, true));
  EXPECT_THAT(Values<uint16_t>(Ops().Get("Cast", {Ints({65537, -1})}, {{"DstT", DType::kUint16}})),
              ::testing::ElementsAre(1, 65535));
  EXPECT_THAT(Values<complex64>(Ops().Get("Cast", {Ints({3})}, {{"DstT", DType::kComplex64}})),
              ::testing::ElementsAre(complex64(3, 0)));
}

TEST(CastTest, EveryPairOfTypesConvertsSmallIntegers) {
  for (int from = 1; from < kNumDTypes; ++from) {
    for (int to = 1; to < kNumDTypes; ++to) {
      const DType f = static_cast<DType>(from), t = static_cast<DType>(to);
      const DTypeSet types = kArithmeticTypes | DTypeSet{DType::kBool};
      if (!types.Has(f) || !types.Has(t)) continue;
      Tensor x = Ops().Get("Cast", {Ints({0, 1})}, {{"DstT", f}});
      Tensor y = Ops().Get("Cast", {Ops().Get("Cast", {x}, {{"DstT", t}})}, {{"DstT", DType::kInt32}});
      EXPECT_THAT(Values<int32_t>(y), ::testing::ElementsAre(0, 1)) << DTypeName(f) << " to " << DTypeName(t);
    }
  }
}

TEST(SelectTest, VectorConditionChoosesRows) {
  Tensor c = Tensor::Vector<bool>({true, false}), a = Floats({2, 2}, {1, 2, 3, 4}), b = Floats({2, 2}, {5, 6, 7, 8});
  EXPECT_THAT(F(Ops().Get("Select", {c, a, b})), ::testing::ElementsAre(1, 2, 7, 8));
  EXPECT_THAT(F(Ops().Get("SelectV2", {c, a, b})), ::testing::ElementsAre(1, 6, 3, 8));
  EXPECT_THAT(F(Ops().Get("SelectV2", {c, Tensor::Scalar(0.f), b})), ::testing::ElementsAre(0, 6, 0, 8));
  EXPECT_THAT(Ops().Text("Select", {Tensor::Vector<bool>({true, false, true}), a, b}), HasSubstr("INVALID_ARGUMENT"));
}

TEST(SelectTest, ClipTakesScalarsAndTensors) {
  EXPECT_THAT(F(Ops().Get("ClipByValue", {Floats({-5, 0, 5}), Tensor::Scalar(-1.f), Tensor::Scalar(1.f)})),
              ::testing::ElementsAre(-1, 0, 1));
  EXPECT_THAT(F(Ops().Get("ClipByValue", {Floats({-5, 0, 5}), Floats({-6, 1, 0}), Tensor::Scalar(2.f)})),
              ::testing::ElementsAre(-5, 1, 2));
}

TEST(ReductionTest, EveryChoiceOfAxesAgreesWithAPlainLoop) {
  const Shape shape({3, 4, 1, 5, 2});
  std::vector<float> x(shape.num_elements());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 37) % 101) - 50;
  for (int mask = 0; mask < 32; ++mask) {
    std::vector<int32_t> axes;
    for (int d = 0; d < 5; ++d) {
      if (mask >> d & 1) axes.push_back(d % 2 == 0 ? d : d - 5);
    }
    Shape out_shape = shape;
    for (int d = 0; d < 5; ++d) {
      if (mask >> d & 1) out_shape.SetDim(d, 1);
    }
    std::vector<float> want(out_shape.num_elements(), 0);
    for (int64_t i = 0; i < shape.num_elements(); ++i) {
      int64_t rest = i, at = 0, stride = 1;
      for (int d = 4; d >= 0; --d) {
        if (!(mask >> d & 1)) at += rest % shape.dim(d) * stride;
        stride *= out_shape.dim(d);
        rest /= shape.dim(d);
      }
      want[at] += x[i];
    }
    Tensor sum = Ops().Get("Sum", {Floats(shape, x), Ints(axes)}, {{"keep_dims", true}});
    EXPECT_EQ(sum.shape(), out_shape);
    EXPECT_EQ(F(sum), want) << mask;
  }
}

TEST(ReductionTest, LongSumsStayExact) {
  // 2^24 + 1 is no float: a running sum of ones would stop there.
  const int64_t n = (1 << 24) + 1000;
  std::vector<float> ones(n, 1.f);
  EXPECT_EQ(F(Ops().Get("Sum", {Floats(ones), Int(0)}))[0], static_cast<float>(n));
  EXPECT_EQ(F(Ops().Get("Mean", {Floats({n / 8, 8}, ones), Int(0)})), std::vector<float>(8, 1.f));
}

TEST(ReductionTest, OtherReducers) {
  Tensor m = Floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(F(Ops().Get("Prod", {m, Int(1)})), ::testing::ElementsAre(6, 120));
  EXPECT_THAT(F(Ops().Get("Max", {m, Int(0)})), ::testing::ElementsAre(4, 5, 6));
  EXPECT_THAT(F(Ops().Get("Min", {m, Int(-1)})), ::testing::ElementsAre(1, 4));
  EXPECT_THAT(F(Ops().Get("EuclideanNorm", {Floats({3, 4}), Int(0)})), ::testing::ElementsAre(5));
  EXPECT_THAT(Values<bool>(Ops().Get("All", {Tensor::Vector<bool>({true, false}), Int(0)})),
              ::testing::ElementsAre(false));
  EXPECT_THAT(Values<bool>(Ops().Get("Any", {Tensor::Vector<bool>({true, false}), Int(0)})),
              ::testing::ElementsAre(true));
  EXPECT_THAT(Ops().Text("Sum", {m, Int(2)}), HasSubstr("axis 2"));
  EXPECT_THAT(Values<int64_t>(Ops().Get("ArgMax", {m, Int(1)})), ::testing::ElementsAre(2, 2));
  EXPECT_THAT(Values<int64_t>(Ops().Get("ArgMin", {m, Int(0)})), ::testing::ElementsAre(0, 0, 0));
}

TEST(ScanTest, ExclusiveAndReverse) {
  Tensor m = Floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(F(Ops().Get("Cumsum", {m, Int(1)})), ::testing::ElementsAre(1, 3, 6, 4, 9, 15));
  EXPECT_THAT(F(Ops().Get("Cumsum", {m, Int(0)})), ::testing::ElementsAre(1, 2, 3, 5, 7, 9));
  EXPECT_THAT(F(Ops().Get("Cumprod", {m, Int(-1)}, {{"exclusive", true}, {"reverse", true}})),
              ::testing::ElementsAre(6, 3, 1, 30, 6, 1));
}

TEST(SegmentTest, SortedSegmentsFillGaps) {
  Tensor data = Floats({4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}), ids = Ints({0, 0, 2, 2});
  EXPECT_THAT(F(Ops().Get("SegmentSum", {data, ids})), ::testing::ElementsAre(4, 6, 0, 0, 12, 14));
  EXPECT_THAT(F(Ops().Get("SegmentMean", {data, ids})), ::testing::ElementsAre(2, 3, 0, 0, 6, 7));
  EXPECT_THAT(F(Ops().Get("SegmentProd", {data, ids})), ::testing::ElementsAre(3, 8, 1, 1, 35, 48));
  EXPECT_THAT(F(Ops().Get("SegmentMax", {data, ids})), ::testing::ElementsAre(3, 4, 0, 0, 7, 8));
  EXPECT_THAT(Ops().Text("SegmentSum", {data, Ints({0, 1, 0, 1})}), HasSubstr("must not decrease"));
}

TEST(SegmentTest, UnsortedSegmentsDropNegativeNumbers) {
  Tensor data = Floats({1, 2, 3, 4});
  EXPECT_THAT(F(Ops().Get("UnsortedSegmentSum", {data, Ints({2, -1, 0, 2}), Int(3)})), ::testing::ElementsAre(3, 0, 5));
  EXPECT_THAT(F(Ops().Get("UnsortedSegmentMax", {data, Ints({1, 1, 1, 1}), Int(2)})),
              ::testing::ElementsAre(std::numeric_limits<float>::lowest(), 4));
  EXPECT_THAT(Ops().Text("UnsortedSegmentSum", {data, Ints({0, 0, 0, 3}), Int(3)}), HasSubstr("not in [0, 3)"));
}

TEST(SegmentTest, SparseSegmentsPickRows) {
  Tensor data = Floats({3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(F(Ops().Get("SparseSegmentMean", {data, Ints({0, 2, 1}), Ints({0, 0, 1})})),
              ::testing::ElementsAre(3, 4, 3, 4));
  EXPECT_THAT(F(Ops().Get("SparseSegmentSumWithNumSegments", {data, Ints({0, 2}), Ints({0, 2}), Int(4)})),
              ::testing::ElementsAre(1, 2, 0, 0, 5, 6, 0, 0));
  EXPECT_THAT(F(Ops().Get("SparseSegmentMeanGrad", {Floats({1, 2}, {2, 4}), Ints({0, 2}), Ints({0, 0}), Int(3)})),
              ::testing::ElementsAre(1, 2, 0, 0, 1, 2));
  EXPECT_THAT(Ops().Text("SparseSegmentSum", {data, Ints({3}), Ints({0})}), HasSubstr("indices[0] = 3"));
}

TEST(MatMulTest, EveryTypeAndTransposeAgreesWithAPlainLoop) {
  for (DType t : {DType::kFloat, DType::kDouble, DType::kHalf, DType::kBfloat16, DType::kInt32, DType::kInt64,
                  DType::kComplex64, DType::kComplex128}) {
    for (auto [m, k, n] : {std::array<int64_t, 3>{3, 4, 5}, {1, 7, 9}, {40, 33, 50}, {6, 5, 1}}) {
      for (int mode = 0; mode < 4; ++mode) {
        const bool ta = mode & 1, tb = mode & 2;
        std::vector<float> a(m * k), b(k * n), want(m * n, 0);
        for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 3) - 1;
        for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 5) - 2;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j)
            for (int64_t p = 0; p < k; ++p)
              want[i * n + j] += (ta ? a[p * m + i] : a[i * k + p]) * (tb ? b[j * k + p] : b[p * n + j]);
        Tensor x = Ops().Get("Cast", {Floats(ta ? Shape({k, m}) : Shape({m, k}), a)}, {{"DstT", t}});
        Tensor y = Ops().Get("Cast", {Floats(tb ? Shape({n, k}) : Shape({k, n}), b)}, {{"DstT", t}});
        Tensor z = Ops().Get("MatMul", {x, y}, {{"transpose_a", ta}, {"transpose_b", tb}});
        EXPECT_EQ(F(Ops().Get("Cast", {z}, {{"DstT", DType::kFloat}})), want)
            << DTypeName(t) << " " << m << "x" << k << "x" << n << " mode " << mode;
      }
    }
  }
}

TEST(MatMulTest, ErrorNamesTheSizesAndTheCure) {
  EXPECT_THAT(Ops().Text("MatMul", {Floats({1, 3}, {1, 2, 3}), Floats({2, 3}, {1, 2, 3, 4, 5, 6})}),
              HasSubstr("transpose_b=True would give [1,2]"));
}

TEST(MatMulTest, BatchesAreBroadcast) {
  Tensor x = Floats({2, 1, 2}, {1, 2, 3, 4}), y = Floats({1, 2, 2}, {1, 0, 0, 1});
  Tensor z = Ops().Get("BatchMatMulV2", {x, y});
  EXPECT_EQ(z.shape(), Shape({2, 1, 2}));
  EXPECT_THAT(F(z), ::testing::ElementsAre(1, 2, 3, 4));
  Tensor both = Ops().Get("BatchMatMul", {x, x}, {{"adj_y", true}});
  EXPECT_THAT(F(both), ::testing::ElementsAre(5, 25));
  Tensor i = Tensor::FromValues<complex64>(Shape({1, 1, 1}), {complex64(0, 1)});
  EXPECT_EQ(*Ops().Get("BatchMatMulV2", {i, i}, {{"adj_x", true}}).data<complex64>(), complex64(1, 0));
  EXPECT_EQ(Ops().Shapes("BatchMatMulV2", {"[?,1,4,3]", "[5,3,2]"}, {DType::kFloat, DType::kFloat}), "[?,5,4,2]");
}

TEST(MatrixTest, DiagonalsAndBands) {
  Tensor m = Floats({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_THAT(F(Ops().Get("MatrixDiagPart", {m})), ::testing::ElementsAre(1, 5));
  EXPECT_THAT(F(Ops().Get("MatrixDiag", {Floats({1, 2})})), ::testing::ElementsAre(1, 0, 0, 2));
  EXPECT_THAT(F(Ops().Get("MatrixSetDiag", {m, Floats({9, 8})})), ::testing::ElementsAre(9, 2, 3, 4, 8, 6));
  EXPECT_THAT(F(Ops().Get("MatrixBandPart", {m, Tensor::Scalar<int64_t>(0), Tensor::Scalar<int64_t>(1)})),
              ::testing::ElementsAre(1, 2, 0, 0, 5, 6));
  EXPECT_THAT(F(Ops().Get("Cross", {Floats({1, 0, 0}), Floats({0, 1, 0})})), ::testing::ElementsAre(0, 0, 1));
}

TEST(LinearAlgebraTest, FactorsSolvesAndInverts) {
  Tensor a = Floats({2, 2}, {4, 2, 2, 5});
  EXPECT_THAT(F(Ops().Get("Cholesky", {a})), ::testing::ElementsAre(2, 0, 1, 2));
  EXPECT_NEAR(F(Ops().Get("MatrixDeterminant", {a}))[0], 16, 1e-5);
  EXPECT_THAT(F(Ops().Get("MatrixSolve", {Floats({2, 2}, {0, 2, 1, 0}), Floats({2, 1}, {4, 3})})),
              ::testing::ElementsAre(3, 2));
  EXPECT_THAT(F(Ops().Get("MatrixTriangularSolve", {Floats({2, 2}, {2, 9, 1, 1}), Floats({2, 1}, {4, 3})})),
              ::testing::ElementsAre(2, 1));
  EXPECT_THAT(Ops().Text("MatrixInverse", {Floats({2, 2}, {1, 2, 2, 4})}), HasSubstr("not invertible"));
  EXPECT_THAT(Ops().Text("Cholesky", {Floats({2, 2}, {1, 2, 2, 1})}), HasSubstr("not positive definite"));
}

TEST(SequenceTest, RangesCountAndRefuse) {
  EXPECT_THAT(Values<int32_t>(Ops().Get("Range", {Int(3), Int(10), Int(3)})), ::testing::ElementsAre(3, 6, 9));
  EXPECT_THAT(Values<int32_t>(Ops().Get("Range", {Int(3), Int(0), Int(-2)})), ::testing::ElementsAre(3, 1));
  EXPECT_THAT(Ops().Text("Range", {Int(0), Int(1), Int(0)}), HasSubstr("delta must not be 0"));
  EXPECT_THAT(F(Ops().Get("LinSpace", {Tensor::Scalar(0.f), Tensor::Scalar(1.f), Int(5)})),
              ::testing::ElementsAre(0, 0.25, 0.5, 0.75, 1));
  EXPECT_THAT(Values<int32_t>(Ops().Get("BroadcastArgs", {Ints({2, 1}), Ints({3})})), ::testing::ElementsAre(2, 3));
}

TEST(SequenceTest, GradientsOfBroadcastsAreSummedOverRepeatedAxes) {
  absl::StatusOr<std::vector<Tensor>> r = Ops().RunOp("BroadcastGradientArgs", {Ints({2, 3, 1}), Ints({3, 5})});
  ASSERT_TRUE(r.ok());
  EXPECT_THAT(Values<int32_t>((*r)[0]), ::testing::ElementsAre(2));
  EXPECT_THAT(Values<int32_t>((*r)[1]), ::testing::ElementsAre(0));
}

TEST(HistogramTest, CountsAndBuckets) {
  Tensor none = Tensor::Vector<int32_t>({});
  EXPECT_THAT(Values<int32_t>(Ops().Get("Bincount", {Ints({1, 1, 5, 0}), Int(3), none})),
              ::testing::ElementsAre(1, 2, 0));
  EXPECT_THAT(
      Values<int32_t>(Ops().Get("Bucketize", {Floats({-1, 0, 5, 100})}, {{"boundaries", std::vector<float>{0, 10}}})),
      ::testing::ElementsAre(0, 1, 1, 2));
  // A boundary between two integers stays there.
  EXPECT_THAT(Values<int32_t>(Ops().Get("Bucketize", {Tensor::Vector<int32_t>({0, 1})},
                                        {{"boundaries", std::vector<float>{0.5f}}})),
              ::testing::ElementsAre(0, 1));
  EXPECT_THAT(
      Values<int32_t>(Ops().Get("HistogramFixedWidth", {Floats({-1, 0, 1.5, 2, 5, 15}), Floats({0, 5}), Int(5)})),
      ::testing::ElementsAre(2, 1, 1, 0, 2));
}

TEST(ShapeRuleTest, KnowsWhatFollowsFromPartOfTheShapes) {
  constexpr DType f = DType::kFloat, i = DType::kInt32;
  EXPECT_EQ(Ops().Shapes("AddV2", {"[?,3]", "[2,1]"}, {f, f}), "[2,3]");
  EXPECT_EQ(Ops().Shapes("MatMul", {"[?,3]", "?"}, {f, f}), "[?,?]");
  EXPECT_EQ(Ops().Shapes("Sum", {"[2,3]", "[1]"}, {f, i}, {{"keep_dims", true}}), "[?,?]");
  EXPECT_EQ(Ops().Shapes("ArgMax", {"[2,3]", "[]"}, {f, i}), "[?]");
  EXPECT_EQ(Ops().Shapes("UnsortedSegmentSum", {"[2,3]", "[2]", "[]"}, {f, i, i}), "[?,3]");
  EXPECT_THAT(Ops().Shapes("MatMul", {"[2,3]", "[4,5]"}, {f, f}), HasSubstr("inner sizes differ"));
}

}  // namespace
}  // namespace sluice
