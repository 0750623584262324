// Products of every path against sums in double, in buffers that end where the matrices do, for the sanitizers.
#include "kernels/common/gemm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

template <class T>
struct Problem {
  int m, n, k;
  bool ta, tb;
  T beta;
  std::unique_ptr<T[]> a, b, c;

  Problem(int rows, int columns, int depth, unsigned seed)
      : m(rows), n(columns), k(depth), a(new T[m * k]), b(new T[k * n]), c(new T[m * n]) {
    std::mt19937 random(seed);
    ta = random() % 2 == 1;
    tb = random() % 2 == 1;
    beta = static_cast<T>(random() % 3) / 2;
    std::uniform_real_distribution<double> numbers(-1, 1);
    for (int i = 0; i < m * k; ++i) a[i] = static_cast<T>(numbers(random));
    for (int i = 0; i < k * n; ++i) b[i] = static_cast<T>(numbers(random));
    for (int i = 0; i < m * n; ++i) c[i] = static_cast<T>(numbers(random));
  }
  std::vector<T> Run(ThreadPool* pool) const {
    std::unique_ptr<T[]> out(new T[m * n]);
    std::copy_n(c.get(), m * n, out.get());
    Gemm<T>(pool, ta, tb, m, n, k, a.get(), ta ? m : k, b.get(), tb ? k : n, out.get(), n, beta);
    return std::vector<T>(out.get(), out.get() + m * n);
  }
  // The greatest difference, in units of what rounding may make of k products.
  double Error() const {
    const std::vector<T> found = Run(nullptr);
    double worst = 0;
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < n; ++j) {
        double sum = static_cast<double>(beta) * c[i * n + j];
        for (int p = 0; p < k; ++p) {
          sum += static_cast<double>(ta ? a[p * m + i] : a[i * k + p]) * (tb ? b[j * k + p] : b[p * n + j]);
        }
        worst = std::max(worst, std::abs(found[i * n + j] - sum) / ((k + 1) * std::numeric_limits<T>::epsilon()));
      }
    }
    return worst;
  }
  std::string Name() const {
    return absl::StrCat(m, " x ", k, " x ", n, ta ? " ta" : "", tb ? " tb" : "", " beta ", beta);
  }
};

TEST(GemmTest, EverySmallShapeIsRight) {
  for (unsigned seed = 0; seed < 1500; ++seed) {
    const int m = 1 + seed * 7 % 40, n = 1 + seed * 11 % 70, k = 1 + seed * 13 % 50;
    const Problem<float> f(m, n, k, seed);
    ASSERT_LE(f.Error(), 1) << f.Name();
    if (seed % 4 != 0) continue;
    const Problem<double> d(m, n, k, seed);
    ASSERT_LE(d.Error(), 1) << d.Name();
  }
}

TEST(GemmTest, SizesAroundWhereOtherLoopsTakeOver) {
  for (int n : {95, 96, 101, 102, 128}) {
    for (int k : {1, 255, 256, 257}) {
      for (unsigned seed = 0; seed < 4; ++seed) {
        const Problem<float> p(100, n, k, seed);
        ASSERT_LE(p.Error(), 1) << p.Name();
      }
    }
  }
}

template <class T>
void ExpectSameOnThreads(const Problem<T>& p, ThreadPool* two, ThreadPool* four) {
  EXPECT_LE(p.Error(), 1) << p.Name();
  const std::vector<T> alone = p.Run(nullptr);
  EXPECT_EQ(p.Run(two), alone) << p.Name();
  EXPECT_EQ(p.Run(four), alone) << p.Name();
}

TEST(GemmTest, TheNumberOfThreadsDoesNotChangeABit) {
  ThreadPool two(2), four(4);
  for (auto [m, n, k] :
       {std::array{64, 128, 256}, {64, 256, 784}, {256, 128, 64}, {130, 130, 130}, {1, 500, 500}, {37, 700, 900}}) {
    for (unsigned seed = 0; seed < 4; ++seed) {
      ExpectSameOnThreads(Problem<float>(m, n, k, seed), &two, &four);
      ExpectSameOnThreads(Problem<double>(m, n, k, seed), &two, &four);
    }
  }
}

TEST(GemmTest, SizesAroundTheEqualPartsOfLargeProducts) {
  ThreadPool two(2), four(4);
  for (auto [m, n, k] : {std::array{13, 130, 1024},
                         {13, 130, 1025},
                         {26, 257, 2049},
                         {1201, 129, 17},
                         {2401, 129, 9},
                         {1213, 131, 1030}}) {
    for (unsigned seed = 0; seed < 4; ++seed) {
      ExpectSameOnThreads(Problem<float>(m, n, k, seed), &two, &four);
      if (m * k < 1 << 20) ExpectSameOnThreads(Problem<double>(m, n, k, seed), &two, &four);
    }
  }
}

}  // namespace
}  // namespace sluice
