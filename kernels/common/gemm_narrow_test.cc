// Products of half and bfloat16 by each instruction set that this processor has, in buffers that end where the matrices
// do, for the sanitizers: every transpose, sizes around tiles, panels and blocks of k, within the errors that
// gemm_narrow.h states.
#include "kernels/common/gemm_narrow.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/common/gemm.h"

namespace {
std::atomic<int64_t> allocations{0};
}

// Counted, for products that must not ask for memory.
void* operator new(size_t bytes) {
  ++allocations;
  void* p = std::malloc(bytes);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace sluice {
namespace {

using internal::FloatPanels;
using internal::GemmArgs;

template <class T>
using Multiply = void (*)(const GemmArgs<T>&);

template <class T>
std::vector<std::pair<const char*, Multiply<T>>> Products() {
  std::vector<std::pair<const char*, Multiply<T>>> all = {
      {"baseline", internal::NarrowProduct<FloatPanels<T, internal::NarrowBaseline>, T>},
      {"baseline, rows", internal::NarrowRows<internal::NarrowBaseline, T>}};
#ifdef SLUICE_HAS_X86_LOOPS
  if (BestCpuIsa() != CpuIsa::kBaseline) {
    all.emplace_back("avx2", internal::NarrowProduct<FloatPanels<T, internal::NarrowAvx2>, T>);
    all.emplace_back("avx2, rows", internal::NarrowRows<internal::NarrowAvx2, T>);
  }
  if (BestCpuIsa() == CpuIsa::kAvx512) {
    all.emplace_back("avx512", internal::NarrowProduct<FloatPanels<T, internal::NarrowAvx512>, T>);
    all.emplace_back("avx512, rows", internal::NarrowRows<internal::NarrowAvx512, T>);
  }
  if constexpr (std::is_same_v<T, bfloat16>) {
    if (CpuMultipliesBfloat16()) all.emplace_back("avx512bf16", internal::NarrowProduct<internal::Bfloat16Panels, T>);
  }
#endif
  return all;
}

template <class T>
struct Problem {
  int m, n, k;
  bool ta, tb;
  T beta;
  std::unique_ptr<T[]> a, b, c;

  // `whole`: small integers, whose sums are exact in any order.
  Problem(int rows, int columns, int depth, int turned, double beta_value, bool whole)
      : m(rows),
        n(columns),
        k(depth),
        ta(turned % 2 == 1),
        tb(turned / 2 == 1),
        beta(static_cast<T>(beta_value)),
        a(new T[m * k]),
        b(new T[k * n]),
        c(new T[m * n]) {
    std::mt19937 random(m * 7 + n * 11 + k * 13 + turned);
    std::uniform_real_distribution<float> numbers(-1, 1);
    std::uniform_int_distribution<int> integers(-2, 2);
    for (auto [x, count] : {std::pair{a.get(), m * k}, {b.get(), k * n}, {c.get(), m * n}}) {
      for (int i = 0; i < count; ++i) {
        x[i] = static_cast<T>(whole ? static_cast<float>(integers(random)) : numbers(random));
      }
    }
  }
  std::vector<float> Run(const std::function<void(const GemmArgs<T>&)>& multiply) const {
    std::unique_ptr<T[]> out(new T[m * n]);
    std::copy_n(c.get(), m * n, out.get());
    multiply({ta, tb, m, n, k, a.get(), ta ? m : k, b.get(), tb ? k : n, out.get(), n, beta});
    std::vector<float> y(m * n);
    for (int i = 0; i < m * n; ++i) y[i] = static_cast<float>(out[i]);
    return y;
  }
  // The greatest error, of which 1 is allowed, of every `stride`-th number.
  double Error(const std::vector<float>& found, int stride = 1) const {
    const double rounding = std::is_same_v<T, half> ? 0x1p-11 : 0x1p-8,
                 smallest = std::is_same_v<T, half> ? 0x1p-25 : 0;
    double worst = 0;
    for (int at = 0; at < m * n; at += stride) {
      const int i = at / n, j = at % n;
      const double before = static_cast<double>(beta) * static_cast<double>(c[at]);
      double sum = before, magnitude = std::abs(before);
      for (int p = 0; p < k; ++p) {
        const double product = static_cast<double>(ta ? a[p * m + i] : a[i * k + p]) *
                               static_cast<double>(tb ? b[j * k + p] : b[p * n + j]);
        sum += product;
        magnitude += std::abs(product);
      }
      const double allowed = (k + 2) * 0x1p-24 * magnitude + std::abs(sum) * rounding * 1.01 + smallest;
      const double error = std::abs(found[at] - sum);
      if (error > 0) worst = std::max(worst, error / allowed);
    }
    return worst;
  }
  std::string Name() const {
    return absl::StrCat(m, " x ", k, " x ", n, ta ? " ta" : "", tb ? " tb" : "", " beta ", static_cast<float>(beta));
  }
};

template <class T>
class NarrowGemmTest : public ::testing::Test {};
using Types = ::testing::Types<bfloat16, half>;
TYPED_TEST_SUITE(NarrowGemmTest, Types);

// Sizes around tiles (4, 6, 12 rows; 8, 16, 32 columns), what is packed at a time (96 rows, 256 columns) and blocks of
// k.
constexpr std::array<int, 3> kSizes[] = {{1, 1, 1},       {2, 3, 4},     {12, 32, 16},  {13, 33, 17},
                                         {5, 7, 1},       {11, 31, 129}, {97, 257, 65}, {3, 300, 1025},
                                         {100, 31, 2050}, {1, 513, 40},  {40, 1, 600},  {800, 20, 1030}};

TYPED_TEST(NarrowGemmTest, EveryTransposeAndSizeIsRight) {
  for (auto [m, n, k] : kSizes) {
    for (int turned = 0; turned < 4; ++turned) {
      const Problem<TypeParam> p(m, n, k, turned, turned % 3 * 0.5, /*whole=*/false);
      for (auto [name, multiply] : Products<TypeParam>()) {
        EXPECT_LE(p.Error(p.Run(multiply)), 1) << p.Name() << ", " << name;
      }
      auto gemm = [](const GemmArgs<TypeParam>& g) {
        Gemm<TypeParam>(nullptr, g.ta, g.tb, g.m, g.n, g.k, g.a, g.lda, g.b, g.ldb, g.c, g.ldc, g.beta);
      };
      EXPECT_LE(p.Error(p.Run(gemm)), 1) << p.Name() << ", Gemm";
    }
  }
}

// More rows than stay packed over all of k, more columns than a block of b, more of k than a panel: every block meets
// every other.
TYPED_TEST(NarrowGemmTest, BlocksOfRowsOfColumnsAndOfDepthMeet) {
  for (int turned = 0; turned < 4; ++turned) {
    const Problem<TypeParam> p(400, 260, 5000, turned, turned % 3 * 0.5, /*whole=*/false);
    for (auto [name, multiply] : Products<TypeParam>()) {
      if (std::string_view(name).find("rows") != std::string_view::npos) continue;
      EXPECT_LE(p.Error(p.Run(multiply), 97), 1) << p.Name() << ", " << name;
    }
  }
}

TYPED_TEST(NarrowGemmTest, ExactSumsAreTheSameBitsByEveryInstructionSet) {
  for (auto [m, n, k] : kSizes) {
    if (k > 1100) continue;  // sums stay below 2^12, and so exact before the one rounding
    for (int turned = 0; turned < 4; ++turned) {
      const Problem<TypeParam> p(m, n, k, turned, turned % 2, /*whole=*/true);
      const auto products = Products<TypeParam>();
      const std::vector<float> wanted = p.Run(products[0].second);
      for (auto [name, multiply] : products) EXPECT_EQ(p.Run(multiply), wanted) << p.Name() << ", " << name;
    }
  }
}

TYPED_TEST(NarrowGemmTest, TheNumberOfThreadsChangesNoBit) {
  ThreadPool two(2), four(4);
  for (auto [m, n, k] : {std::array{130, 140, 150}, {300, 64, 700}, {64, 256, 1100}, {1, 900, 1500}, {900, 1, 1500}}) {
    for (int turned = 0; turned < 4; ++turned) {
      const Problem<TypeParam> p(m, n, k, turned, 0.5, /*whole=*/false);
      auto on = [](ThreadPool* pool) {
        return [pool](const GemmArgs<TypeParam>& g) { internal::NarrowGemm<TypeParam>(pool, g); };
      };
      const std::vector<float> alone = p.Run(on(nullptr));
      EXPECT_LE(p.Error(alone), 1) << p.Name();
      EXPECT_EQ(p.Run(on(&two)), alone) << p.Name();
      EXPECT_EQ(p.Run(on(&four)), alone) << p.Name();
    }
  }
}

TYPED_TEST(NarrowGemmTest, InfinitiesAndNansStay) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (auto [name, multiply] : Products<TypeParam>()) {
    Problem<TypeParam> p(3, 5, 7, 0, 0, /*whole=*/true);
    for (int i = 0; i < 7 * 5; ++i) p.b[i] = static_cast<TypeParam>(1.f);
    p.a[0] = static_cast<TypeParam>(inf);
    p.a[7] = static_cast<TypeParam>(nan);
    const std::vector<float> y = p.Run(multiply);
    for (int j = 0; j < 5; ++j) {
      EXPECT_EQ(y[j], inf) << name;
      EXPECT_TRUE(std::isnan(y[5 + j])) << name;
      EXPECT_TRUE(std::isfinite(y[10 + j])) << name;
    }
  }
}

TYPED_TEST(NarrowGemmTest, RunsAreConvertedAndRoundedLikeNumbers) {
  std::vector<TypeParam> all(1 << 16);
  std::vector<float> wide(all.size() + 1);
  for (size_t i = 0; i < all.size(); ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    std::memcpy(static_cast<void*>(&all[i]), &bits, sizeof(bits));
  }
  auto expect_same = [&](const char* isa, auto widen, auto round) {
    widen(all.data(), wide.data(), static_cast<int64_t>(all.size()));
    for (size_t i = 0; i < all.size(); ++i) {
      const float wanted = static_cast<float>(all[i]);
      ASSERT_TRUE(wide[i] == wanted || (std::isnan(wide[i]) && std::isnan(wanted))) << isa << " " << i;
    }
    // Halfway between neighbours, a little below and a little above.
    std::vector<float> between;
    for (size_t i = 0; i + 1 < all.size(); ++i) {
      const float low = static_cast<float>(all[i]), high = static_cast<float>(all[i + 1]);
      if (!std::isfinite(low) || !std::isfinite(high) || (i & 0x7fff) == 0x7fff) continue;
      const float middle = low + (high - low) / 2;
      for (float x : {middle, std::nextafter(middle, low), std::nextafter(middle, high)}) between.push_back(x);
    }
    between.push_back(std::numeric_limits<float>::quiet_NaN());
    between.push_back(std::numeric_limits<float>::max());
    std::vector<TypeParam> rounded(between.size());
    round(between.data(), rounded.data(), static_cast<int64_t>(between.size()));
    for (size_t i = 0; i < between.size(); ++i) {
      const float found = static_cast<float>(rounded[i]),
                  wanted = static_cast<float>(static_cast<TypeParam>(between[i]));
      ASSERT_TRUE(found == wanted || (std::isnan(found) && std::isnan(wanted))) << isa << " " << between[i];
    }
  };
  using T = TypeParam;
  auto of = [&](const char* isa, auto tag) {
    using Isa = decltype(tag);
    expect_same(
        isa, [](const T* x, float* y, int64_t n) { Isa::Widen(x, y, n); },
        [](const float* x, T* y, int64_t n) { Isa::Round(x, y, n); });
  };
  of("baseline", internal::NarrowBaseline());
#ifdef SLUICE_HAS_X86_LOOPS
  if (BestCpuIsa() != CpuIsa::kBaseline) of("avx2", internal::NarrowAvx2());
  if (BestCpuIsa() == CpuIsa::kAvx512) of("avx512", internal::NarrowAvx512());
#endif
}

TYPED_TEST(NarrowGemmTest, AWarmProductTakesNothingFromTheHeap) {
  const Problem<TypeParam> p(130, 140, 1100, 0, 1, /*whole=*/false);
  std::unique_ptr<TypeParam[]> out(new TypeParam[p.m * p.n]);
  const GemmArgs<TypeParam> g{false, false, p.m, p.n, p.k, p.a.get(), p.k, p.b.get(), p.n, out.get(), p.n, p.beta};
  internal::NarrowGemm<TypeParam>(nullptr, g);
  const int64_t before = allocations;
  internal::NarrowGemm<TypeParam>(nullptr, g);
  EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace sluice
