// The errors of vector_math.h against the C library's double functions, in units in the last place of the exact result.
//
// SLUICE_FLOAT_STRIDE thins the 2^32 floats out: the fast tier sees one in 4099, the full tier every one (twenty
// minutes of a core). The bounds asserted here are those that vector_math.h states.
#include "kernels/common/vector_math.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/base/thread_pool.h"
#include "gtest/gtest.h"
#include "kernels/common/element_wise.h"

#ifndef SLUICE_FLOAT_STRIDE
#define SLUICE_FLOAT_STRIDE 4099
#endif

namespace sluice {
namespace {

constexpr int64_t kStride = SLUICE_FLOAT_STRIDE;
constexpr float kInf = vmath::kInf;
constexpr float kMax = std::numeric_limits<float>::max();

#define SLUICE_FUNCTION(Name)                                                       \
  struct Name {                                                                     \
    template <class T>                                                              \
    SLUICE_HOST_DEVICE T operator()(T x) const {                                    \
      return vmath::Name(x);                                                        \
    }                                                                               \
    static double Exact(double x) { return vmath::Name(x); } /* by the C library */ \
  };
SLUICE_FUNCTION(Exp)
SLUICE_FUNCTION(Expm1)
SLUICE_FUNCTION(Log)
SLUICE_FUNCTION(Log1p)
SLUICE_FUNCTION(Tanh)
SLUICE_FUNCTION(Sigmoid)
SLUICE_FUNCTION(Softplus)
SLUICE_FUNCTION(Erf)

struct SinSmall {
  SLUICE_HOST_DEVICE float operator()(float x) const { return vmath::SinCosSmall(x).sin; }
  static double Exact(double x) { return std::sin(x); }
};
struct CosSmall {
  SLUICE_HOST_DEVICE float operator()(float x) const { return vmath::SinCosSmall(x).cos; }
  static double Exact(double x) { return std::cos(x); }
};

// One over the distance of two floats around `exact`: of the smallest numbers below the normal range, and of the
// largest for what rounds to infinity.
double FloatsPerUnit(double exact) {
  int64_t bits;
  std::memcpy(&bits, &exact, sizeof(bits));
  const int64_t exponent = std::clamp<int64_t>((bits >> 52 & 0x7ff) - 1023, -126, 127);
  const int64_t result = (1023 + 23 - exponent) << 52;
  double scale;
  std::memcpy(&scale, &result, sizeof(scale));
  return scale;
}

// Infinite when just one of the two is no number, or infinity where floats have a finite result.
double Error(float y, double exact, bool in_ulp) {
  if (std::isnan(y) || std::isnan(exact)) return std::isnan(y) && std::isnan(exact) ? 0 : kInf;
  if (std::isinf(y) && y == static_cast<float>(exact)) return 0;
  const double difference = std::fabs(y - exact);
  return in_ulp ? difference * FloatsPerUnit(exact) : difference;
}

struct Worst {
  double error = -1;
  float at = 0;
  void See(double e, float x) {
    if (e > error) *this = {e, x};
  }
};

constexpr int64_t kBlock = 4096;

// Puts the floats of a block that lie in [-most, most], and NaN when all are wanted, into `x`.
int64_t Inputs(int64_t block, int64_t total, float most, float* x) {
  int64_t n = 0;
  for (int64_t i = block * kBlock; i < std::min(total, (block + 1) * kBlock); ++i) {
    const float v = vmath::FloatOf(static_cast<int32_t>(static_cast<uint32_t>(i * kStride)));
    if (most == kInf || std::fabs(v) <= most) x[n++] = v;
  }
  return n;
}

template <class F>
void ExpectWithin(double bound, const char* name, float most = kInf, bool in_ulp = true) {
  std::vector<std::pair<UnaryLoop, const char*>> loops = {{internal::UnaryBaseline<F, float>, "baseline"}};
#ifdef SLUICE_HAS_X86_LOOPS
  // The loops for AVX-512 round as those for AVX2 do (element_wise_test), by fused multiply-adds.
  if (BestCpuIsa() != CpuIsa::kBaseline) loops.push_back({internal::UnaryAvx2<F, float>, "avx2"});
#endif
  const int64_t total = ((int64_t{1} << 32) + kStride - 1) / kStride;
  absl::Mutex mu;
  std::vector<Worst> worst(loops.size());
  ThreadPool pool(0);
  pool.ParallelFor((total + kBlock - 1) / kBlock, 1e5, [&](int64_t begin, int64_t end) {
    const char f[kMaxFunctionBytes] = {};
    std::vector<float> x(kBlock), y(kBlock);
    std::vector<double> exact(kBlock);
    std::vector<Worst> mine(loops.size());
    for (int64_t block = begin; block < end; ++block) {
      const int64_t n = Inputs(block, total, most, x.data());
      for (int64_t i = 0; i < n; ++i) exact[i] = F::Exact(x[i]);
      for (size_t k = 0; k < loops.size(); ++k) {
        loops[k].first(f, x.data(), y.data(), n);
        for (int64_t i = 0; i < n; ++i) mine[k].See(Error(y[i], exact[i], in_ulp), x[i]);
      }
    }
    absl::MutexLock lock(&mu);
    for (size_t k = 0; k < loops.size(); ++k) worst[k].See(mine[k].error, mine[k].at);
  });
  for (size_t k = 0; k < loops.size(); ++k) {
    std::printf("%-8s %-9s %.4g at %.9g\n", name, loops[k].second, worst[k].error, worst[k].at);
    EXPECT_LE(worst[k].error, bound) << name << ", " << loops[k].second << ", at " << worst[k].at;
    EXPECT_GE(worst[k].error, 0) << name << " saw no number";
  }
}

TEST(VectorMathTest, Exp) { ExpectWithin<Exp>(1.1, "exp"); }
TEST(VectorMathTest, Expm1) { ExpectWithin<Expm1>(1.6, "expm1"); }
TEST(VectorMathTest, Log) { ExpectWithin<Log>(0.9, "log"); }
TEST(VectorMathTest, Log1p) { ExpectWithin<Log1p>(1.3, "log1p"); }
TEST(VectorMathTest, Tanh) { ExpectWithin<Tanh>(1.4, "tanh"); }
TEST(VectorMathTest, Sigmoid) { ExpectWithin<Sigmoid>(2.9, "sigmoid"); }
TEST(VectorMathTest, Softplus) { ExpectWithin<Softplus>(2.0, "softplus"); }
TEST(VectorMathTest, Erf) { ExpectWithin<Erf>(1.2, "erf"); }
TEST(VectorMathTest, Sin) { ExpectWithin<SinSmall>(1.02e-7, "sin", 8192, false); }
TEST(VectorMathTest, Cos) { ExpectWithin<CosSmall>(1.02e-7, "cos", 8192, false); }

TEST(VectorMathTest, EndsOfTheRange) {
  EXPECT_EQ(vmath::Exp(-kInf), 0);
  EXPECT_EQ(vmath::Exp(kMax), kInf);
  EXPECT_EQ(vmath::Log(0.f), -kInf);
  EXPECT_TRUE(std::isnan(vmath::Log(-1.f)));
  EXPECT_EQ(vmath::Log1p(-1.f), -kInf);
  EXPECT_EQ(vmath::Tanh(kInf), 1);
  EXPECT_EQ(vmath::Sigmoid(-kInf), 0);
  EXPECT_EQ(vmath::Erf(-kInf), -1);
  EXPECT_EQ(vmath::Softplus(-kInf), 0);
  EXPECT_EQ(vmath::Softplus(kInf), kInf);
  EXPECT_TRUE(std::isnan(vmath::Softplus(vmath::kNan)));
  for (float (*f)(float) : {+[](float x) { return vmath::Tanh(x); }, +[](float x) { return vmath::Erf(x); },
                            +[](float x) { return vmath::Expm1(x); }, +[](float x) { return vmath::Log1p(x); }}) {
    EXPECT_TRUE(std::isnan(f(vmath::kNan)));
    EXPECT_EQ(f(0.f), 0);
  }
}

}  // namespace
}  // namespace sluice
