// A matrix product by packed panels and register tiles, for any arithmetic type that the compiler has vectors of.
//
// The panels of a and b are packed so that the innermost loop reads both in order; a tile of MR rows and NV vectors of
// the result stays in registers over a block of k. The order of summation over k depends on nothing but k.
#ifndef SLUICE_KERNELS_COMMON_GEMM_BLOCKED_H_
#define SLUICE_KERNELS_COMMON_GEMM_BLOCKED_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "kernels/common/macros.h"

namespace sluice::internal {

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
// Scratch memory of the calling thread, aligned to 64 bytes; grows to the most ever asked for. One per `slot`.
inline void* GemmScratch(int slot, size_t bytes) {
  thread_local std::unique_ptr<void, FreeDeleter> memory[2];
  thread_local size_t size[2] = {0, 0};
  if (size[slot] < bytes) {
    size[slot] = (bytes + 4095) / 4096 * 4096;
    memory[slot].reset(std::aligned_alloc(64, size[slot]));
  }
  return memory[slot].get();
}

template <class T>
struct GemmArgs {
  bool ta, tb;
  int64_t m, n, k;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T* c;
  int64_t ldc;
  T beta;
};

// Rows [i0, i0 + rows) and columns [p0, p0 + depth) of op(a), as panels [depth][MR], short ones filled up with zeros.
template <class T, int MR>
SLUICE_HOST_DEVICE void PackA(const GemmArgs<T>& g, int64_t i0, int64_t rows, int64_t p0, int64_t depth, T* out) {
  for (int64_t i = 0; i < rows; i += MR) {
    const int64_t r_end = std::min<int64_t>(MR, rows - i);
    if (r_end < MR) std::memset(static_cast<void*>(out), 0, sizeof(T) * MR * depth);
    if (g.ta) {
      const T* a = g.a + p0 * g.lda + i0 + i;
      for (int64_t p = 0; p < depth; ++p)
        for (int64_t r = 0; r < r_end; ++r) out[p * MR + r] = a[p * g.lda + r];
    } else {
      const T* a = g.a + (i0 + i) * g.lda + p0;
      for (int64_t r = 0; r < r_end; ++r)
        for (int64_t p = 0; p < depth; ++p) out[p * MR + r] = a[r * g.lda + p];
    }
    out += MR * depth;
  }
}

template <class T, int NR>
SLUICE_HOST_DEVICE void PackB(const GemmArgs<T>& g, int64_t p0, int64_t depth, int64_t j0, int64_t columns, T* out) {
  for (int64_t j = 0; j < columns; j += NR) {
    const int64_t width = std::min<int64_t>(NR, columns - j);
    if (width < NR) std::memset(static_cast<void*>(out), 0, sizeof(T) * NR * depth);
    if (g.tb) {
      const T* b = g.b + (j0 + j) * g.ldb + p0;
      for (int64_t q = 0; q < width; ++q)
        for (int64_t p = 0; p < depth; ++p) out[p * NR + q] = b[q * g.ldb + p];
    } else {
      const T* b = g.b + p0 * g.ldb + j0 + j;
      for (int64_t p = 0; p < depth; ++p)
        std::memcpy(static_cast<void*>(out + p * NR), b + p * g.ldb, sizeof(T) * width);
    }
    out += NR * depth;
  }
}

// A register of T, which may lie anywhere in memory. (As an argument of a template it would lose its attributes.)
template <class T, int kVecBytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVecBytes), may_alias, aligned(sizeof(T))));
};

// c[0..rows, 0..columns) = sum + beta * c.
template <class T, int kVecBytes, int MR, int NV>
SLUICE_HOST_DEVICE void StoreTile(const typename VectorOf<T, kVecBytes>::type (&sum)[MR][NV], T* c, int64_t ldc,
                                  int64_t rows, int64_t columns, T beta) {
  using V = typename VectorOf<T, kVecBytes>::type;
  constexpr int kWidth = kVecBytes / static_cast<int>(sizeof(T));
  if (rows == MR && columns == NV * kWidth) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        V* out = reinterpret_cast<V*>(c + r * ldc + v * kWidth);
        *out = beta == T(0) ? sum[r][v] : sum[r][v] + beta * *out;
      }
    }
    return;
  }
  T edge[MR * NV * kWidth];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) *reinterpret_cast<V*>(edge + (r * NV + v) * kWidth) = sum[r][v];
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t q = 0; q < columns; ++q) {
      const T s = edge[r * NV * kWidth + q];
      c[r * ldc + q] = beta == T(0) ? s : static_cast<T>(s + beta * c[r * ldc + q]);
    }
  }
}

// c[0..rows, 0..columns) = a panel * b panel + beta * c.
template <class T, int kVecBytes, int MR, int NV>
SLUICE_HOST_DEVICE void Tile(int64_t depth, const T* a, const T* b, T* c, int64_t ldc, int64_t rows, int64_t columns,
                             T beta) {
  using V = typename VectorOf<T, kVecBytes>::type;
  constexpr int kWidth = kVecBytes / static_cast<int>(sizeof(T));
  V sum[MR][NV] = {};
  for (int64_t p = 0; p < depth; ++p) {
    V bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = *reinterpret_cast<const V*>(b + (p * NV + v) * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const T x = a[p * MR + r];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += x * bv[v];
    }
  }
  StoreTile<T, kVecBytes, MR, NV>(sum, c, ldc, rows, columns, beta);
}

template <class T, int kVecBytes, int MR, int NV>
SLUICE_HOST_DEVICE void BlockedGemm(const GemmArgs<T>& g) {
  constexpr int NR = NV * (kVecBytes / static_cast<int>(sizeof(T)));
  constexpr int64_t kDepth = 1024 / sizeof(T), kRows = MR * 16, kColumns = 512 / NR * NR;
  const int64_t depth_max = std::min(kDepth, g.k);
  T* pa = static_cast<T*>(GemmScratch(0, sizeof(T) * kRows * depth_max));
  T* pb = static_cast<T*>(GemmScratch(1, sizeof(T) * kColumns * depth_max));
  for (int64_t j0 = 0; j0 < g.n; j0 += kColumns) {
    const int64_t columns = std::min(kColumns, g.n - j0);
    for (int64_t p0 = 0; p0 < g.k; p0 += kDepth) {
      const int64_t depth = std::min(kDepth, g.k - p0);
      const T beta = p0 == 0 ? g.beta : T(1);
      PackB<T, NR>(g, p0, depth, j0, columns, pb);
      for (int64_t i0 = 0; i0 < g.m; i0 += kRows) {
        const int64_t rows = std::min(kRows, g.m - i0);
        PackA<T, MR>(g, i0, rows, p0, depth, pa);
        for (int64_t j = 0; j < columns; j += NR) {
          for (int64_t i = 0; i < rows; i += MR) {
            Tile<T, kVecBytes, MR, NV>(depth, pa + i * depth, pb + j * depth, g.c + (i0 + i) * g.ldc + j0 + j, g.ldc,
                                       std::min<int64_t>(MR, rows - i), std::min<int64_t>(NR, columns - j), beta);
          }
        }
      }
    }
  }
}

// One row: c[0..n) = x[0..k) * op(b) + beta * c, reading b once. `step` is the distance between elements of x.
template <class T, int kVecBytes>
SLUICE_HOST_DEVICE void RowTimesMatrix(const GemmArgs<T>& g, const T* x, int64_t step, T* c) {
  typedef T V __attribute__((vector_size(kVecBytes), may_alias, aligned(sizeof(T))));
  constexpr int64_t kWidth = kVecBytes / static_cast<int64_t>(sizeof(T));
  if (g.tb) {
    for (int64_t j = 0; j < g.n; ++j) {
      const T* b = g.b + j * g.ldb;
      T sum = 0;
      int64_t p = 0;
      if (step == 1) {
        V s[4] = {};
        for (; p + 4 * kWidth <= g.k; p += 4 * kWidth) {
#pragma GCC unroll 4
          for (int u = 0; u < 4; ++u) {
            s[u] += *reinterpret_cast<const V*>(x + p + u * kWidth) * *reinterpret_cast<const V*>(b + p + u * kWidth);
          }
        }
        const V t = (s[0] + s[1]) + (s[2] + s[3]);
        for (int q = 0; q < kWidth; ++q) sum += t[q];
      }
      for (; p < g.k; ++p) sum += x[p * step] * b[p];
      c[j] = g.beta == T(0) ? sum : static_cast<T>(sum + g.beta * c[j]);
    }
    return;
  }
  // Columns in pieces that stay in the first-level cache, four rows of b at a time.
  for (int64_t j0 = 0; j0 < g.n; j0 += 2048) {
    const int64_t width = std::min<int64_t>(2048, g.n - j0);
    T* out = c + j0;
    if (g.beta == T(0)) {
      std::memset(static_cast<void*>(out), 0, sizeof(T) * width);
    } else {
      for (int64_t j = 0; j < width; ++j) out[j] *= g.beta;
    }
    const T* b = g.b + j0;
    int64_t p = 0;
    for (; p + 4 <= g.k; p += 4) {
      const T x0 = x[p * step], x1 = x[(p + 1) * step], x2 = x[(p + 2) * step], x3 = x[(p + 3) * step];
      const T *b0 = b + p * g.ldb, *b1 = b0 + g.ldb, *b2 = b1 + g.ldb, *b3 = b2 + g.ldb;
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) out[j] += (x0 * b0[j] + x1 * b1[j]) + (x2 * b2[j] + x3 * b3[j]);
    }
    for (; p < g.k; ++p) {
      const T x0 = x[p * step];
      const T* b0 = b + p * g.ldb;
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) out[j] += x0 * b0[j];
    }
  }
}

}  // namespace sluice::internal

#endif  // SLUICE_KERNELS_COMMON_GEMM_BLOCKED_H_
