// A matrix product by packed panels and register tiles, for any arithmetic type that the compiler has vectors of.
//
// A block of b stays in the second-level cache as panels as wide as a tile, MR rows of a in the first-level cache; a
// tile of MR rows and NV vectors of the result stays in registers over the block's depth. Rows of b are copied into
// their panel by the first tile that multiplies them, so that a product of few rows costs little more than reading b.
// Rows of a are packed once for all blocks of b, as many as the third-level cache likes. Each part of k costs a pass
// over the result, whose rows compete for one set of a cache where their distance is a power of two: parts are as deep
// as the second-level cache allows, and of equal size, for a last part that is small costs as much. The order of
// summation over k depends on nothing but k.
#ifndef SLUICE_KERNELS_COMMON_GEMM_BLOCKED_H_
#define SLUICE_KERNELS_COMMON_GEMM_BLOCKED_H_

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>

#include "kernels/common/gemm.h"
#include "kernels/common/macros.h"

namespace sluice::internal {

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
// Scratch memory of the calling thread, aligned to 64 bytes; grows to the most ever asked for. One per `slot`. Where
// much is asked for, it lies in huge pages: panels are read in strides that would need an entry of the TLB each.
inline void* GemmScratch(int slot, size_t bytes) {
  constexpr size_t kPage = 4096, kHugePage = 2 << 20;
  thread_local std::unique_ptr<void, FreeDeleter> memory[2];
  thread_local size_t size[2] = {0, 0};
  if (size[slot] < bytes) {
    const size_t page = bytes > kHugePage / 2 ? kHugePage : kPage;
    size[slot] = (bytes + page - 1) / page * page;
    memory[slot].reset(std::aligned_alloc(page == kPage ? 64 : page, size[slot]));
    if (page == kHugePage && memory[slot] != nullptr) madvise(memory[slot].get(), size[slot], MADV_HUGEPAGE);
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
  const GemmEpilogue* epilogue = nullptr;
  int64_t i = 0, j = 0;  // where c lies in the whole product
};

// Word p of line q, `pitch` bytes from one to the next, goes to out[p * width + q], in whole groups of four lines: how
// many lines that are. Words have 4 bytes, and lie anywhere.
SLUICE_HOST_DEVICE int64_t TurnWords(const void* lines, int64_t pitch, int64_t count, int64_t words, int64_t width,
                                     void* out) {
  typedef float V __attribute__((vector_size(16), may_alias, aligned(1)));
  typedef int32_t I __attribute__((vector_size(16)));
  int64_t q = 0;
  for (; q + 4 <= count; q += 4) {
    const char* from = static_cast<const char*>(lines) + q * pitch;
    char* to = static_cast<char*>(out) + 4 * q;
    int64_t p = 0;
    for (; p + 4 <= words; p += 4) {
      const char* word = from + 4 * p;
      const V r0 = *reinterpret_cast<const V*>(word), r1 = *reinterpret_cast<const V*>(word + pitch),
              r2 = *reinterpret_cast<const V*>(word + 2 * pitch), r3 = *reinterpret_cast<const V*>(word + 3 * pitch);
      const V low01 = __builtin_shuffle(r0, r1, I{0, 4, 1, 5}), high01 = __builtin_shuffle(r0, r1, I{2, 6, 3, 7});
      const V low23 = __builtin_shuffle(r2, r3, I{0, 4, 1, 5}), high23 = __builtin_shuffle(r2, r3, I{2, 6, 3, 7});
      char* row = to + 4 * p * width;
      *reinterpret_cast<V*>(row) = __builtin_shuffle(low01, low23, I{0, 1, 4, 5});
      *reinterpret_cast<V*>(row + 4 * width) = __builtin_shuffle(low01, low23, I{2, 3, 6, 7});
      *reinterpret_cast<V*>(row + 8 * width) = __builtin_shuffle(high01, high23, I{0, 1, 4, 5});
      *reinterpret_cast<V*>(row + 12 * width) = __builtin_shuffle(high01, high23, I{2, 3, 6, 7});
    }
    for (; p < words; ++p)
      for (int64_t r = 0; r < 4; ++r) std::memcpy(to + 4 * (p * width + r), from + r * pitch + 4 * p, 4);
  }
  return q;
}

// out[p * width + q] = b[q * ldb + p], zero for q beyond `columns`.
template <class T>
SLUICE_HOST_DEVICE void TurnPanel(const T* b, int64_t ldb, int64_t k, int64_t columns, int64_t width, T* out) {
  if (columns < width) std::memset(static_cast<void*>(out), 0, sizeof(T) * width * k);
  int64_t q = 0;
  if constexpr (std::is_same_v<T, float>) q = TurnWords(b, 4 * ldb, columns, k, width, out);
  for (; q < columns; ++q)
    for (int64_t p = 0; p < k; ++p) out[p * width + q] = b[q * ldb + p];
}

template <class T>
SLUICE_HOST_DEVICE void CopyPanel(const T* b, int64_t ldb, int64_t k, int64_t columns, int64_t width, T* out) {
  for (int64_t p = 0; p < k; ++p) {
    for (int64_t q = 0; q < columns; ++q) out[p * width + q] = b[p * ldb + q];
    for (int64_t q = columns; q < width; ++q) out[p * width + q] = T(0);
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
    for (int r = 0; r < MR; ++r, c += ldc) {
      V* out = reinterpret_cast<V*>(c);
      if (beta == T(0)) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) out[v] = sum[r][v];
      } else if (beta == T(1)) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) out[v] += sum[r][v];
      } else {
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) out[v] = sum[r][v] + beta * out[v];
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

// Asks for the cache line at p + offset, which may lie beyond the array: nothing is read. kLocality 2 asks for it in
// the second-level cache: lines whose distance is a power of two would drive each other out of the first.
template <int kLocality, class T>
SLUICE_HOST_DEVICE void Prefetch(const T* p, int64_t offset) {
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<uintptr_t>(p) + sizeof(T) * offset), 0, kLocality);
}

// MR rows of op(a), `depth` long, as [depth][MR].
template <class T, int MR>
SLUICE_HOST_DEVICE void PackRows(const GemmArgs<T>& g, int64_t i, int64_t rows, int64_t p0, int64_t depth, T* out) {
  if (!g.ta) return TurnPanel<T>(g.a + i * g.lda + p0, g.lda, depth, rows, MR, out);
  const T* a = g.a + p0 * g.lda + i;
  if (rows < MR) return CopyPanel<T>(a, g.lda, depth, rows, MR, out);
  for (int64_t p = 0; p < depth; ++p) std::memcpy(static_cast<void*>(out + p * MR), a + p * g.lda, sizeof(T) * MR);
}

// What to bring into the first-level cache meanwhile, evenly over the steps of a tile: `bytes` further on in each.
struct Ahead {
  uintptr_t at;
  int64_t bytes;
};

// The first `columns` of R rows of the result = packed rows of a * rows of b, which are ldb apart, + beta * c. Copies
// the rows of b to `panel` unless that is null.
template <class T, int kVecBytes, int MR, int NV, int R>
SLUICE_HOST_DEVICE void Tile(int64_t depth, const T* a, const T* b, int64_t ldb, T* panel, T* c, int64_t ldc,
                             int64_t rows, int64_t columns, T beta, Ahead ahead) {
  using V = typename VectorOf<T, kVecBytes>::type;
  constexpr int kWidth = kVecBytes / static_cast<int>(sizeof(T));
  constexpr int64_t kRowsAhead = 16;
  V sum[R][NV] = {};
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    if (r >= rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) __builtin_prefetch(c + r * ldc + v * kWidth, 1);
  }
  for (int64_t p = 0; p < depth; ++p) {
    V bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = *reinterpret_cast<const V*>(b + v * kWidth);
    if (panel != nullptr) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        Prefetch<2>(b, kRowsAhead * ldb + v * kWidth);
        *reinterpret_cast<V*>(panel + v * kWidth) = bv[v];
      }
      panel += NV * kWidth;
    }
    b += ldb;
    __builtin_prefetch(reinterpret_cast<const void*>(ahead.at));
    ahead.at += ahead.bytes;
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const T x = a[p * MR + r];
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += x * bv[v];
    }
  }
  StoreTile<T, kVecBytes, R, NV>(sum, c, ldc, rows, columns, beta);
}

// A tile of any number of rows up to R. Floats, the type that matters, have a loop for each number; others compute rows
// of zeros.
template <class T, int kVecBytes, int MR, int NV, int R>
SLUICE_HOST_DEVICE void TileOf(int64_t depth, const T* a, const T* b, int64_t ldb, T* panel, T* c, int64_t ldc,
                               int64_t rows, int64_t columns, T beta, Ahead ahead) {
  if constexpr (R > 1 && std::is_same_v<T, float>) {
    if (rows < R)
      return TileOf<T, kVecBytes, MR, NV, R - 1>(depth, a, b, ldb, panel, c, ldc, rows, columns, beta, ahead);
  }
  Tile<T, kVecBytes, MR, NV, R>(depth, a, b, ldb, panel, c, ldc, rows, columns, beta, ahead);
}

// The size of the fewest equal parts of n, at most `most` but for being rounded up to whole units; n of 0 has one.
SLUICE_HOST_DEVICE int64_t EqualPart(int64_t n, int64_t most, int64_t unit) {
  const int64_t parts = std::max<int64_t>(1, (n + most - 1) / most);
  return std::max<int64_t>(1, ((n + parts - 1) / parts + unit - 1) / unit) * unit;
}

template <class T, int kVecBytes, int MR>
SLUICE_HOST_DEVICE void BlockedGemm(const GemmArgs<T>& g) {
  constexpr int64_t kWidth = kVecBytes / static_cast<int64_t>(sizeof(T));
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  // A block of b has 4 KiB times its columns: half of the second-level cache that processors of this width have.
  constexpr int64_t kColumns = 2 * kVecBytes;
  const int64_t part_of_k = EqualPart(g.k, 4096 / sizeof(T), kLine), part_of_m = EqualPart(g.m, 1200, MR);
  const int64_t depth_max = std::min(part_of_k, g.k), columns_max = std::min(kColumns, g.n);
  // Rows of a that more than one block of b meets stay packed.
  const bool keep = g.n > kColumns;
  const int64_t rows_max = keep ? part_of_m : MR;
  const int64_t size_b = (columns_max + 2 * kWidth) * depth_max;  // whole vectors
  T* pb = static_cast<T*>(GemmScratch(0, sizeof(T) * (size_b + rows_max * depth_max)));
  T* pa = pb + size_b;
  for (int64_t i0 = 0; i0 < g.m; i0 += part_of_m) {
    const int64_t end = std::min(i0 + part_of_m, g.m);
    for (int64_t p0 = 0; p0 < g.k; p0 += part_of_k) {
      const int64_t depth = std::min(part_of_k, g.k - p0);
      const T beta = p0 == 0 ? g.beta : T(1);
      for (int64_t j0 = 0; j0 < g.n; j0 += kColumns) {
        const int64_t block = std::min(kColumns, g.n - j0);
        const int64_t tiles = (block + 2 * kWidth - 1) / (2 * kWidth), share = (depth / tiles + kLine) / kLine * kLine;
        for (int64_t i = i0; i < end; i += MR) {
          const int64_t rows = std::min<int64_t>(MR, g.m - i);
          T* packed = keep ? pa + (i - i0) * depth : pa;
          if (j0 == 0) PackRows<T, MR>(g, i, rows, p0, depth, packed);
          int64_t width = 0;
          for (int64_t j = 0; j < block; j += width) {
            width = block - j > kWidth ? 2 * kWidth : kWidth;
            const int64_t columns = std::min(width, block - j);
            const T* b = pb + j * depth;
            int64_t ldb = width;
            T* panel = nullptr;
            if (i == i0) {
              const T* from = g.tb ? g.b + (j0 + j) * g.ldb + p0 : g.b + p0 * g.ldb + j0 + j;
              if (g.tb) {
                TurnPanel<T>(from, g.ldb, depth, columns, width, pb + j * depth);
              } else if (columns < width) {
                CopyPanel<T>(from, g.ldb, depth, columns, width, pb + j * depth);
              } else {
                b = from;
                ldb = g.ldb;
                panel = pb + j * depth;
              }
            }
            // The next rows of a: a share of them for each tile.
            Ahead ahead{reinterpret_cast<uintptr_t>(packed), 0};
            if (j0 > 0) {
              constexpr int64_t kStep = MR * static_cast<int64_t>(sizeof(T));
              ahead = {ahead.at + kStep * (depth + j / (2 * kWidth) * depth / tiles), (kStep + tiles - 1) / tiles};
            } else if (i + MR < end && !g.ta) {
              const int64_t until = std::min(depth, (j / (2 * kWidth) + 1) * share);
              for (int64_t p = j / (2 * kWidth) * share; p < until; p += kLine) {
#pragma GCC unroll 16
                for (int r = 0; r < MR; ++r) Prefetch<3>(g.a, (i + MR + r) * g.lda + p0 + p);
              }
            }
            T* c = g.c + i * g.ldc + j0 + j;
            if (width == kWidth) {
              TileOf<T, kVecBytes, MR, 1, MR>(depth, packed, b, ldb, panel, c, g.ldc, rows, columns, beta, ahead);
            } else {
              TileOf<T, kVecBytes, MR, 2, MR>(depth, packed, b, ldb, panel, c, g.ldc, rows, columns, beta, ahead);
            }
          }
          if (g.epilogue != nullptr && p0 + depth == g.k) (*g.epilogue)(g.i + i, rows, g.j + j0, block);
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
