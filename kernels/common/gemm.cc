#include "kernels/common/gemm.h"

#include <type_traits>

#include "kernels/common/cpu_isa.h"
#include "kernels/common/gemm_blocked.h"
#include "kernels/common/gemm_direct.h"
#include "kernels/common/gemm_narrow.h"
#include "kernels/common/gemm_pieces.h"

namespace sluice {
namespace {

using internal::BlockedGemm;
using internal::DirectGemm;
using internal::GemmArgs;
using internal::RowTimesMatrix;

// A register tile has MR * NV sums; the rest of the vector registers hold b.
template <class T>
void BlockedBaseline(const GemmArgs<T>& g) {
  BlockedGemm<T, 16, 4>(g);
}
template <class T>
void DirectBaseline(const GemmArgs<T>& g) {
  DirectGemm<T, 16, 4>(g);
}
template <class T>
void RowBaseline(const GemmArgs<T>& g, const T* x, int64_t step, T* c) {
  RowTimesMatrix<T, 16>(g, x, step, c);
}
#ifdef SLUICE_HAS_X86_LOOPS
template <class T>
SLUICE_TARGET_AVX2 void BlockedAvx2(const GemmArgs<T>& g) {
  BlockedGemm<T, 32, 6>(g);
}
template <class T>
SLUICE_TARGET_AVX512 void BlockedAvx512(const GemmArgs<T>& g) {
  BlockedGemm<T, 64, 12>(g);
}
template <class T>
SLUICE_TARGET_AVX2 void DirectAvx2(const GemmArgs<T>& g) {
  DirectGemm<T, 32, 4>(g);
}
template <class T>
SLUICE_TARGET_AVX512 void DirectAvx512(const GemmArgs<T>& g) {
  DirectGemm<T, 64, 8>(g);
}
template <class T>
SLUICE_TARGET_AVX2 void RowAvx2(const GemmArgs<T>& g, const T* x, int64_t step, T* c) {
  RowTimesMatrix<T, 32>(g, x, step, c);
}
template <class T>
SLUICE_TARGET_AVX512 void RowAvx512(const GemmArgs<T>& g, const T* x, int64_t step, T* c) {
  RowTimesMatrix<T, 64>(g, x, step, c);
}
#endif

template <class T>
void RunBlocked(const GemmArgs<T>& g) {
#ifdef SLUICE_HAS_X86_LOOPS
  if (BestCpuIsa() == CpuIsa::kAvx512) return BlockedAvx512(g);
  if (BestCpuIsa() == CpuIsa::kAvx2) return BlockedAvx2(g);
#endif
  BlockedBaseline(g);
}

template <class T>
void RunDirect(const GemmArgs<T>& g) {
#ifdef SLUICE_HAS_X86_LOOPS
  if (BestCpuIsa() == CpuIsa::kAvx512) return DirectAvx512(g);
  if (BestCpuIsa() == CpuIsa::kAvx2) return DirectAvx2(g);
#endif
  DirectBaseline(g);
}

template <class T>
void RunRow(const GemmArgs<T>& g, const T* x, int64_t step, T* c) {
#ifdef SLUICE_HAS_X86_LOOPS
  if (BestCpuIsa() == CpuIsa::kAvx512) return RowAvx512(g, x, step, c);
  if (BestCpuIsa() == CpuIsa::kAvx2) return RowAvx2(g, x, step, c);
#endif
  RowBaseline(g, x, step, c);
}

// Up to these, packing shows. The panel of b that is read for each tile, k rows of it, has
// to stay in the first-level cache.
constexpr int64_t kSmall = 1 << 20;
constexpr int64_t kSmallDepth = 256;

// The whole product decides how its pieces are computed, so that results do not depend on the number of threads.
template <class T>
bool IsSmall(const GemmArgs<T>& g) {
  return std::is_floating_point_v<T> && g.k <= kSmallDepth && g.m * g.n * g.k <= kSmall;
}

// False: by blocks, which call the epilogue themselves.
template <class T>
bool RunWithoutBlocks(const GemmArgs<T>& g, bool small) {
  if (g.m <= 2) {
    for (int64_t i = 0; i < g.m; ++i) RunRow(g, g.ta ? g.a + i : g.a + i * g.lda, g.ta ? g.lda : 1, g.c + i * g.ldc);
    return true;
  }
  if (g.n == 1 && g.ldc == 1) {
    // The same as a row times the transposed matrix.
    GemmArgs<T> t{g.tb, !g.ta, 1, g.m, g.k, g.b, g.ldb, g.a, g.lda, g.c, g.m, g.beta};
    RunRow(t, g.b, g.tb ? 1 : g.ldb, g.c);
    return true;
  }
  if constexpr (std::is_floating_point_v<T>) {
    if (small) {
      RunDirect(g);
      return true;
    }
  }
  return false;
}

template <class T>
void RunPiece(const GemmArgs<T>& g, bool small) {
  if (!RunWithoutBlocks(g, small)) return RunBlocked(g);
  if (g.epilogue != nullptr) (*g.epilogue)(g.i, g.m, g.j, g.n);
}

template <class T>
void RunTiled(ThreadPool* pool, const GemmArgs<T>& g) {
  const double cost_ns =
      static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) * sizeof(T) / 500;
  internal::ForEachPiece(pool, g, cost_ns, [&](const GemmArgs<T>& piece) { RunPiece(piece, IsSmall(g)); });
}

template <class T>
void Scale(const GemmArgs<T>& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j)
      g.c[i * g.ldc + j] = g.beta == T(0) ? T(0) : static_cast<T>(g.beta * g.c[i * g.ldc + j]);
  }
}

// Complex numbers: four real products of the separated parts.
template <class R>
void RunComplex(ThreadPool* pool, const GemmArgs<std::complex<R>>& g) {
  const int64_t rows_a = g.ta ? g.k : g.m, columns_a = g.ta ? g.m : g.k;
  const int64_t rows_b = g.tb ? g.n : g.k, columns_b = g.tb ? g.k : g.n;
  auto split = [](const std::complex<R>* x, int64_t ld, int64_t rows, int64_t columns) {
    std::unique_ptr<R[]> parts(new R[2 * rows * columns]);
    R* im = parts.get() + rows * columns;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        parts[i * columns + j] = x[i * ld + j].real();
        im[i * columns + j] = x[i * ld + j].imag();
      }
    }
    return parts;
  };
  std::unique_ptr<R[]> a = split(g.a, g.lda, rows_a, columns_a), b = split(g.b, g.ldb, rows_b, columns_b);
  std::unique_ptr<R[]> c(new R[2 * g.m * g.n]);
  R *ar = a.get(), *ai = ar + rows_a * columns_a, *br = b.get(), *bi = br + rows_b * columns_b;
  R *re = c.get(), *im = re + g.m * g.n;
  auto multiply = [&](const R* x, const R* y, R* z, R beta) {
    RunTiled<R>(pool, {g.ta, g.tb, g.m, g.n, g.k, x, columns_a, y, columns_b, z, g.n, beta});
  };
  multiply(ai, bi, re, R(0));
  multiply(ar, br, re, R(-1));
  multiply(ar, bi, im, R(0));
  multiply(ai, br, im, R(1));
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      const std::complex<R> product(re[i * g.n + j], im[i * g.n + j]);
      std::complex<R>& out = g.c[i * g.ldc + j];
      out = g.beta == std::complex<R>(0) ? product : product + g.beta * out;
    }
  }
}

template <class T>
void Run(ThreadPool* pool, const GemmArgs<T>& g) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0) return Scale(g);
  if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bfloat16>) {
    internal::NarrowGemm(pool, g);
  } else if constexpr (std::is_same_v<T, complex64> || std::is_same_v<T, complex128>) {
    RunComplex(pool, g);
  } else if constexpr (std::is_integral_v<T>) {
    // Unsigned: the same bits, and overflow wraps.
    using U = std::make_unsigned_t<T>;
    RunTiled<U>(pool,
                {g.ta, g.tb, g.m, g.n, g.k, reinterpret_cast<const U*>(g.a), g.lda, reinterpret_cast<const U*>(g.b),
                 g.ldb, reinterpret_cast<U*>(g.c), g.ldc, static_cast<U>(g.beta)});
  } else {
    RunTiled(pool, g);
  }
}

}  // namespace

template <typename T>
void Gemm(ThreadPool* pool, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T* c, int64_t ldc, T beta) {
  Run<T>(pool, {ta, tb, m, n, k, a, lda, b, ldb, c, ldc, beta});
}

template <typename T>
void GemmWithEpilogue(ThreadPool* pool, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
                      const T* b, int64_t ldb, T* c, int64_t ldc, GemmEpilogue epilogue) {
  const GemmArgs<T> g{ta, tb, m, n, k, a, lda, b, ldb, c, ldc, T(0), &epilogue};
  Run<T>(pool, g);
  if (k == 0 && m > 0 && n > 0) epilogue(0, m, 0, n);
}

template void GemmWithEpilogue<float>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const float*, int64_t,
                                      const float*, int64_t, float*, int64_t, GemmEpilogue);
template void GemmWithEpilogue<double>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const double*, int64_t,
                                       const double*, int64_t, double*, int64_t, GemmEpilogue);
template void Gemm<float>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*,
                          int64_t, float*, int64_t, float);
template void Gemm<double>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const double*, int64_t, const double*,
                           int64_t, double*, int64_t, double);
template void Gemm<half>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const half*, int64_t, const half*, int64_t,
                         half*, int64_t, half);
template void Gemm<bfloat16>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const bfloat16*, int64_t,
                             const bfloat16*, int64_t, bfloat16*, int64_t, bfloat16);
template void Gemm<int32_t>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const int32_t*, int64_t, const int32_t*,
                            int64_t, int32_t*, int64_t, int32_t);
template void Gemm<int64_t>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const int64_t*, int64_t, const int64_t*,
                            int64_t, int64_t*, int64_t, int64_t);
template void Gemm<complex64>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const complex64*, int64_t,
                              const complex64*, int64_t, complex64*, int64_t, complex64);
template void Gemm<complex128>(ThreadPool*, bool, bool, int64_t, int64_t, int64_t, const complex128*, int64_t,
                               const complex128*, int64_t, complex128*, int64_t, complex128);

}  // namespace sluice
