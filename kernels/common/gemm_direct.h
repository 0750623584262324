// Products of small matrices, which read a and b where they lie: packing them would take as long as multiplying.
//
// A tile of MR rows and NV vectors of the result stays in registers over all of k, so the order of summation depends on
// k alone. Elements of a are spread to vectors as they are loaded, whichever way it is turned; what does not lie as
// rows of whole vectors (a transposed b, the last columns) is laid out so first.
#ifndef SLUICE_KERNELS_COMMON_GEMM_DIRECT_H_
#define SLUICE_KERNELS_COMMON_GEMM_DIRECT_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/common/gemm_blocked.h"
#include "kernels/common/macros.h"

namespace sluice::internal {

// Rows [0, MR) of op(a), which are `ra` apart and their elements `pa`, times k rows of NV vectors, which are ldb apart.
// The first `columns` of the result are kept.
template <class T, int kVecBytes, int MR, int NV, bool kTurned>
SLUICE_HOST_DEVICE void DirectTile(int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc,
                                   int64_t columns, T beta) {
  using V = typename VectorOf<T, kVecBytes>::type;
  constexpr int kWidth = kVecBytes / static_cast<int>(sizeof(T));
  V sum[MR][NV] = {};
  for (int64_t p = 0; p < k; ++p) {
    V bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = *reinterpret_cast<const V*>(b + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const T x = kTurned ? a[r] : a[r * lda];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += x * bv[v];
    }
    a += kTurned ? lda : 1;
    b += ldb;
  }
  StoreTile<T, kVecBytes, MR, NV>(sum, c, ldc, MR, columns, beta);
}

// The last rows, fewer than MR.
template <class T, int kVecBytes, int MR, int NV, bool kTurned>
SLUICE_HOST_DEVICE void DirectRest(int64_t rows, int64_t k, const T* a, int64_t lda, const T* b, int64_t ldb, T* c,
                                   int64_t ldc, int64_t columns, T beta) {
  if constexpr (MR > 0) {
    if (rows == MR) {
      DirectTile<T, kVecBytes, MR, NV, kTurned>(k, a, lda, b, ldb, c, ldc, columns, beta);
    } else {
      DirectRest<T, kVecBytes, MR - 1, NV, kTurned>(rows, k, a, lda, b, ldb, c, ldc, columns, beta);
    }
  }
}

// All rows of op(a) times one panel of b.
template <class T, int kVecBytes, int MR, int NV, bool kTurned>
SLUICE_HOST_DEVICE void DirectPanel(const GemmArgs<T>& g, const T* b, int64_t ldb, T* c, int64_t columns) {
  const T* a = g.a;
  int64_t i = 0;
  for (; i + MR <= g.m; i += MR) {
    DirectTile<T, kVecBytes, MR, NV, kTurned>(g.k, a + (kTurned ? i : i * g.lda), g.lda, b, ldb, c + i * g.ldc, g.ldc,
                                              columns, g.beta);
  }
  DirectRest<T, kVecBytes, MR - 1, NV, kTurned>(g.m - i, g.k, a + (kTurned ? i : i * g.lda), g.lda, b, ldb,
                                                c + i * g.ldc, g.ldc, columns, g.beta);
}

template <class T, int kVecBytes, int MR, bool kTurned>
SLUICE_HOST_DEVICE void DirectGemmOf(const GemmArgs<T>& g) {
  constexpr int64_t kWidth = kVecBytes / static_cast<int64_t>(sizeof(T));
  for (int64_t j = 0; j < g.n;) {
    const int64_t width = g.n - j > kWidth ? 2 * kWidth : kWidth, columns = std::min(width, g.n - j);
    const T* b = g.tb ? g.b + j * g.ldb : g.b + j;
    int64_t ldb = g.ldb;
    if (g.tb || columns < width) {
      T* laid_out = static_cast<T*>(GemmScratch(1, sizeof(T) * width * g.k));
      if (g.tb) {
        TurnPanel<T>(b, g.ldb, g.k, columns, width, laid_out);
      } else {
        CopyPanel<T>(b, g.ldb, g.k, columns, width, laid_out);
      }
      b = laid_out;
      ldb = width;
    }
    if (width == kWidth) {
      DirectPanel<T, kVecBytes, MR, 1, kTurned>(g, b, ldb, g.c + j, columns);
    } else {
      DirectPanel<T, kVecBytes, MR, 2, kTurned>(g, b, ldb, g.c + j, columns);
    }
    j += width;
  }
}

template <class T, int kVecBytes, int MR>
SLUICE_HOST_DEVICE void DirectGemm(const GemmArgs<T>& g) {
  g.ta ? DirectGemmOf<T, kVecBytes, MR, true>(g) : DirectGemmOf<T, kVecBytes, MR, false>(g);
}

}  // namespace sluice::internal

#endif  // SLUICE_KERNELS_COMMON_GEMM_DIRECT_H_
