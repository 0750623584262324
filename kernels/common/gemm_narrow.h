// Products of half and bfloat16: sums in float, one rounding at the end, and no copies of whole matrices.
//
// Panels of a and b are packed as in gemm_blocked.h. Where the processor multiplies pairs of bfloat16 and adds them to
// floats (AVX512-BF16), a panel holds pairs along k; elsewhere, and for half, packing converts to float. Sums of up to
// a block of k stay in registers; those of longer rows are kept as floats between blocks. How elements are summed
// depends on k alone, so the number of threads changes no bit. AVX512-BF16 takes numbers below the normal range for
// zero.
//
// Errors: products are exact, their sum has the error of k additions in float, and the result is rounded once: within
//   (k + 2) * 2^-24 * sum |a| |b|  +  |c| * 2^-8 (bfloat16) or 2^-11 (half).
#ifndef SLUICE_KERNELS_COMMON_GEMM_NARROW_H_
#define SLUICE_KERNELS_COMMON_GEMM_NARROW_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>

#include "core/base/thread_pool.h"
#include "core/types/numeric_types.h"
#include "kernels/common/cpu_isa.h"
#include "kernels/common/cpu_narrow.h"
#include "kernels/common/gemm_blocked.h"
#include "kernels/common/gemm_pieces.h"
#include "kernels/common/macros.h"
#include "kernels/common/vector_math.h"

#ifdef SLUICE_HAS_X86_LOOPS
#include <immintrin.h>
#endif

namespace sluice::internal {

// Scratch memory of the calling thread, as GemmScratch: panels of a, panels of b, sums.
inline void* NarrowScratch(int slot, size_t bytes) {
  thread_local std::unique_ptr<void, FreeDeleter> memory[3];
  thread_local size_t size[3] = {0, 0, 0};
  if (size[slot] < bytes) {
    size[slot] = (bytes + 4095) / 4096 * 4096;
    memory[slot].reset(std::aligned_alloc(64, size[slot]));
  }
  return memory[slot].get();
}

// --- Conversion of runs, for each instruction set ---

SLUICE_HOST_DEVICE void WidenBfloat16(const bfloat16* in, float* out, int64_t n) {
  const uint16_t* from = reinterpret_cast<const uint16_t*>(in);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) out[i] = vmath::FloatOf(static_cast<int32_t>(static_cast<uint32_t>(from[i]) << 16));
}
// To the nearest, halves to even; nan stays nan.
SLUICE_HOST_DEVICE void RoundBfloat16(const float* in, bfloat16* out, int64_t n) {
  uint16_t* to = reinterpret_cast<uint16_t*>(out);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t x = static_cast<uint32_t>(vmath::BitsOf(in[i]));
    const uint32_t rounded = (x + 0x7fff + (x >> 16 & 1)) >> 16, nan = x >> 16 | 0x40;
    to[i] = static_cast<uint16_t>((x & 0x7fffffff) > 0x7f800000 ? nan : rounded);
  }
}

// sums[MR][NV vectors] = a panel * b panel, or added to what is there.
template <int kVecBytes, int MR, int NV>
SLUICE_HOST_DEVICE void MultiplyPanels(int64_t depth, const float* a, const float* b, float* sums, bool add) {
  using V = typename VectorOf<float, kVecBytes>::type;
  constexpr int kWidth = kVecBytes / 4;
  V sum[MR][NV] = {};
  for (int64_t p = 0; p < depth; ++p, a += MR, b += NV * kWidth) {
    V bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) bv[v] = *reinterpret_cast<const V*>(b + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += a[r] * bv[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      V* out = reinterpret_cast<V*>(sums + (r * NV + v) * kWidth);
      *out = add ? *out + sum[r][v] : sum[r][v];
    }
  }
}

// MR x NR sums stay in registers.
struct NarrowBaseline {
  static constexpr int MR = 4, NR = 8, kVecBytes = 16;
  static void Widen(const bfloat16* in, float* out, int64_t n) { WidenBfloat16(in, out, n); }
  static void Round(const float* in, bfloat16* out, int64_t n) { RoundBfloat16(in, out, n); }
  static void Widen(const half* in, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(in[i]);
  }
  static void Round(const float* in, half* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<half>(in[i]);
  }
  static void MultiplyTile(int64_t depth, const float* a, const float* b, float* sums, bool add) {
    MultiplyPanels<kVecBytes, MR, NR * 4 / kVecBytes>(depth, a, b, sums, add);
  }
  static void Row(const GemmArgs<float>& g, const float* x, float* c) { RowTimesMatrix<float, kVecBytes>(g, x, 1, c); }
};

#ifdef SLUICE_HAS_X86_LOOPS
#define SLUICE_TARGET_F16C __attribute__((target("avx2,fma,f16c")))
#define SLUICE_TARGET_AVX512BF16 \
  __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx512bf16,fma,prefer-vector-width=512")))

struct NarrowAvx2 {
  static constexpr int MR = 6, NR = 16, kVecBytes = 32;
  SLUICE_TARGET_AVX2 static void Widen(const bfloat16* in, float* out, int64_t n) { WidenBfloat16(in, out, n); }
  SLUICE_TARGET_AVX2 static void Round(const float* in, bfloat16* out, int64_t n) { RoundBfloat16(in, out, n); }
  SLUICE_TARGET_F16C static void WidenF16c(const half* in, float* out, int64_t n) {
    const uint16_t* from = reinterpret_cast<const uint16_t*>(in);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
      _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
    }
    for (; i < n; ++i) out[i] = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(from[i])));
  }
  SLUICE_TARGET_F16C static void RoundF16c(const float* in, half* out, int64_t n) {
    uint16_t* to = reinterpret_cast<uint16_t*>(out);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                       _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
    }
    for (; i < n; ++i) {
      to[i] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(in[i]), _MM_FROUND_TO_NEAREST_INT)));
    }
  }
  static void Widen(const half* in, float* out, int64_t n) {
    CpuConvertsHalf() ? WidenF16c(in, out, n) : NarrowBaseline::Widen(in, out, n);
  }
  static void Round(const float* in, half* out, int64_t n) {
    CpuConvertsHalf() ? RoundF16c(in, out, n) : NarrowBaseline::Round(in, out, n);
  }
  SLUICE_TARGET_AVX2 static void MultiplyTile(int64_t depth, const float* a, const float* b, float* sums, bool add) {
    MultiplyPanels<kVecBytes, MR, NR * 4 / kVecBytes>(depth, a, b, sums, add);
  }
  SLUICE_TARGET_AVX2 static void Row(const GemmArgs<float>& g, const float* x, float* c) {
    RowTimesMatrix<float, kVecBytes>(g, x, 1, c);
  }
};

struct NarrowAvx512 {
  static constexpr int MR = 12, NR = 32, kVecBytes = 64;
  SLUICE_TARGET_AVX512 static void Widen(const bfloat16* in, float* out, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
      const __mmask16 mask = Mask(n - i);
      const __m512i x = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, in + i));
      _mm512_mask_storeu_epi32(out + i, mask, _mm512_slli_epi32(x, 16));
    }
  }
  SLUICE_TARGET_AVX512 static void Round(const float* in, bfloat16* out, int64_t n) { RoundBfloat16(in, out, n); }
  SLUICE_TARGET_AVX512 static void Widen(const half* in, float* out, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
      const __mmask16 mask = Mask(n - i);
      _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, in + i)));
    }
  }
  SLUICE_TARGET_AVX512 static void Round(const float* in, half* out, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
      const __mmask16 mask = Mask(n - i);
      _mm256_mask_storeu_epi16(out + i, mask,
                               _mm512_cvtps_ph(_mm512_maskz_loadu_ps(mask, in + i), _MM_FROUND_TO_NEAREST_INT));
    }
  }
  SLUICE_TARGET_AVX512 static void MultiplyTile(int64_t depth, const float* a, const float* b, float* sums, bool add) {
    MultiplyPanels<kVecBytes, MR, NR * 4 / kVecBytes>(depth, a, b, sums, add);
  }
  SLUICE_TARGET_AVX512 static void Row(const GemmArgs<float>& g, const float* x, float* c) {
    RowTimesMatrix<float, kVecBytes>(g, x, 1, c);
  }
  static __mmask16 Mask(int64_t n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1 << n) - 1); }
};
#endif

// --- Panels ---

inline constexpr int64_t kRowsAhead = 16;  // that are asked for while rows are laid out

// Of floats: step p of a panel is elements p of its rows or columns.
template <class T, class I>
struct FloatPanels {
  using Isa = I;
  using Element = float;
  static constexpr int64_t kStep = 1, kDepth = 512;
  static constexpr int64_t kChunk = 64;  // of k, laid out at a time, so that what is written stays in the caches

  // Lines [0, lines) of `width` in a panel, each a run along k from `x`, `ld` apart.
  static void PackTurned(const T* x, int64_t ld, int64_t lines, int64_t depth, int64_t width, float* out) {
    float run[kChunk];
    for (int64_t p0 = 0; p0 < depth; p0 += kChunk) {
      const int64_t count = std::min(kChunk, depth - p0);
      for (int64_t q = 0; q < lines; ++q) {
        Isa::Widen(x + q * ld + p0, run, count);
        float* to = out + p0 * width + q;
        for (int64_t p = 0; p < count; ++p) to[p * width] = run[p];
      }
    }
  }
  // Rows of k, `ld` apart, of which `lines` elements go into the panel.
  static void PackRows(const T* x, int64_t ld, int64_t lines, int64_t depth, int64_t width, float* out) {
    for (int64_t p = 0; p < depth; ++p) {
      Prefetch<2>(x, (p + kRowsAhead) * ld);
      Isa::Widen(x + p * ld, out + p * width, lines);
    }
  }
  static void MultiplyTile(int64_t steps, const float* a, const float* b, float* sums, bool add) {
    Isa::MultiplyTile(steps, a, b, sums, add);
  }
};

#ifdef SLUICE_HAS_X86_LOOPS
// Of pairs of bfloat16: step p of a panel is elements 2p and 2p + 1 of its rows or columns.
struct Bfloat16Panels {
  using Isa = NarrowAvx512;
  using Element = uint32_t;
  static constexpr int64_t kStep = 2, kDepth = 1024;

  static void PackTurned(const bfloat16* x, int64_t ld, int64_t lines, int64_t depth, int64_t width, uint32_t* out) {
    const int64_t pairs = depth / 2;
    for (int64_t q = TurnWords(x, 2 * ld, lines, pairs, width, out); q < lines; ++q) {
      const char* from = reinterpret_cast<const char*>(x + q * ld);
      for (int64_t p = 0; p < pairs; ++p) std::memcpy(out + p * width + q, from + 4 * p, 4);
    }
    if (depth % 2 == 0) return;
    for (int64_t q = 0; q < lines; ++q) out[pairs * width + q] = Bits(x[q * ld + depth - 1]);
  }
  SLUICE_TARGET_AVX512 static void PackRows(const bfloat16* x, int64_t ld, int64_t lines, int64_t depth, int64_t width,
                                            uint32_t* out) {
    for (int64_t p = 0; p < depth; p += 2, x += 2 * ld, out += width) {
      Prefetch<2>(x, kRowsAhead * ld);
      Prefetch<2>(x, (kRowsAhead + 1) * ld);
      for (int64_t q = 0; q < lines; q += 16) {
        const __mmask16 mask = Isa::Mask(lines - q);
        const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x + q));
        const __m512i odd =
            p + 1 < depth ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, x + ld + q)) : _mm512_setzero_si512();
        _mm512_mask_storeu_epi32(out + q, mask, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
      }
    }
  }
  SLUICE_TARGET_AVX512BF16 static void MultiplyTile(int64_t steps, const uint32_t* a, const uint32_t* b, float* sums,
                                                    bool add) {
    constexpr int MR = Isa::MR;
    __m512 sum[MR][2];
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      sum[r][0] = add ? _mm512_loadu_ps(sums + r * 32) : _mm512_setzero_ps();
      sum[r][1] = add ? _mm512_loadu_ps(sums + r * 32 + 16) : _mm512_setzero_ps();
    }
    for (int64_t p = 0; p < steps; ++p, a += MR, b += 32) {
      const __m512bh b0 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b));
      const __m512bh b1 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + 16));
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) {
        const __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[r])));
        sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, b0);
        sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, b1);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      _mm512_storeu_ps(sums + r * 32, sum[r][0]);
      _mm512_storeu_ps(sums + r * 32 + 16, sum[r][1]);
    }
  }

 private:
  static uint32_t Bits(bfloat16 x) {
    uint16_t bits;
    std::memcpy(&bits, static_cast<const void*>(&x), sizeof(bits));
    return bits;
  }
};
#endif

// Lines [first, first + count) of op(a) or, of the transpose, op(b), as panels of `width` lines, the last filled up
// with zeros. `turned`: elements of a line lie side by side.
template <class P, class T>
void PackPanels(const T* x, int64_t ld, bool turned, int64_t first, int64_t count, int64_t p0, int64_t depth,
                int64_t width, typename P::Element* out) {
  const int64_t steps = (depth + P::kStep - 1) / P::kStep;
  for (int64_t i = 0; i < count; i += width, out += width * steps) {
    const int64_t lines = std::min(width, count - i);
    if (lines < width) std::memset(out, 0, sizeof(*out) * static_cast<size_t>(width * steps));
    if (turned) {
      P::PackTurned(x + (first + i) * ld + p0, ld, lines, depth, width, out);
    } else {
      P::PackRows(x + p0 * ld + first + i, ld, lines, depth, width, out);
    }
  }
}

// c = sums + beta * c, rounded.
template <class Isa, class T>
void StoreRounded(float* sums, int64_t pitch, T* c, int64_t ldc, int64_t rows, int64_t columns, float beta) {
  float before[64];
  for (int64_t r = 0; r < rows; ++r, sums += pitch, c += ldc) {
    for (int64_t j = 0; beta != 0 && j < columns; j += 64) {
      const int64_t n = std::min<int64_t>(64, columns - j);
      Isa::Widen(c + j, before, n);
      for (int64_t q = 0; q < n; ++q) sums[j + q] += beta * before[q];
    }
    Isa::Round(sums, c, columns);
  }
}

// The product on the calling thread.
template <class P, class T>
void NarrowProduct(const GemmArgs<T>& g) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int64_t MR = Isa::MR, NR = Isa::NR, kColumns = 256, kChunk = 8 * MR, kSumRows = 64 * MR;
  constexpr int64_t kPackedBytes = 4 << 20;  // of a, all of k, for the blocks of b to come
  auto panels = [](int64_t lines, int64_t width) { return (lines + width - 1) / width * width; };
  auto steps_of = [](int64_t depth) { return (depth + P::kStep - 1) / P::kStep; };
  const bool added = g.k > P::kDepth;  // sums go through memory
  const bool keep = g.n > kColumns;    // rows of a that more than one block of b meets stay packed
  const int64_t steps_max = steps_of(std::min(P::kDepth, g.k));
  int64_t block_rows = added ? std::min(kSumRows, g.m) : g.m;
  if (keep) {
    const int64_t row_bytes = static_cast<int64_t>(sizeof(Element)) * steps_of(g.k);
    block_rows = std::min(block_rows, std::max(2 * kChunk, kPackedBytes / row_bytes / kChunk * kChunk));
  }
  const int64_t packed = keep ? panels(block_rows, MR) * steps_of(g.k) : panels(std::min(kChunk, g.m), MR) * steps_max;
  auto* pa = static_cast<Element*>(NarrowScratch(0, sizeof(Element) * static_cast<size_t>(packed)));
  auto* pb = static_cast<Element*>(
      NarrowScratch(1, sizeof(Element) * static_cast<size_t>(panels(std::min(kColumns, g.n), NR) * steps_max)));
  auto* sums = static_cast<float*>(NarrowScratch(
      2, sizeof(float) *
             static_cast<size_t>(added ? panels(block_rows, MR) * panels(std::min(kColumns, g.n), NR) : MR * NR)));
  const float beta = static_cast<float>(g.beta);
  for (int64_t b0 = 0; b0 < g.m; b0 += block_rows) {
    const int64_t block = std::min(block_rows, g.m - b0);
    for (int64_t j0 = 0; j0 < g.n; j0 += kColumns) {
      const int64_t columns = std::min(kColumns, g.n - j0), column_panels = (columns + NR - 1) / NR;
      for (int64_t p0 = 0; p0 < g.k; p0 += P::kDepth) {
        const int64_t depth = std::min(P::kDepth, g.k - p0), steps = steps_of(depth);
        const bool last = p0 + depth == g.k;
        PackPanels<P>(g.b, g.ldb, g.tb, j0, columns, p0, depth, NR, pb);
        for (int64_t i0 = b0; i0 < b0 + block; i0 += kChunk) {
          const int64_t rows = std::min(kChunk, b0 + block - i0);
          Element* chunk = keep ? pa + panels(block, MR) * steps_of(p0) + (i0 - b0) * steps : pa;
          if (j0 == 0) PackPanels<P>(g.a, g.lda, !g.ta, i0, rows, p0, depth, MR, chunk);
          for (int64_t j = 0; j < columns; j += NR) {
            for (int64_t i = 0; i < rows; i += MR) {
              float* tile = added ? sums + ((i0 - b0 + i) / MR * column_panels + j / NR) * MR * NR : sums;
              P::MultiplyTile(steps, chunk + i * steps, pb + j * steps, tile, p0 > 0);
              if (!last) continue;
              StoreRounded<Isa>(tile, NR, g.c + (i0 + i) * g.ldc + j0 + j, g.ldc, std::min(MR, rows - i),
                                std::min(NR, columns - j), beta);
            }
          }
        }
      }
    }
  }
}

// The same for few rows, which read b once: it is converted in pieces that stay in the caches.
template <class Isa, class T>
void NarrowRows(const GemmArgs<T>& g) {
  constexpr int64_t kWidth = 512, kDepth = 16;
  float* x = static_cast<float*>(NarrowScratch(0, sizeof(float) * static_cast<size_t>(g.m * g.k)));
  for (int64_t i = 0; i < g.m; ++i) {
    if (g.ta) {
      for (int64_t p = 0; p < g.k; ++p) Isa::Widen(g.a + p * g.lda + i, x + i * g.k + p, 1);
    } else {
      Isa::Widen(g.a + i * g.lda, x + i * g.k, g.k);
    }
  }
  float* b = static_cast<float*>(
      NarrowScratch(1, sizeof(float) * static_cast<size_t>(g.tb ? g.k : kDepth * std::min(kWidth, g.n))));
  float* sums = static_cast<float*>(NarrowScratch(2, sizeof(float) * static_cast<size_t>(g.m * kWidth)));
  for (int64_t j0 = 0; j0 < g.n; j0 += kWidth) {
    const int64_t width = std::min(kWidth, g.n - j0);
    GemmArgs<float> piece{false, g.tb, 1, width, g.k, nullptr, 0, b, width, nullptr, width, 0.f};
    if (g.tb) {
      piece.n = 1;
      for (int64_t j = 0; j < width; ++j) {
        Isa::Widen(g.b + (j0 + j) * g.ldb, b, g.k);
        for (int64_t i = 0; i < g.m; ++i) Isa::Row(piece, x + i * g.k, sums + i * kWidth + j);
      }
    } else {
      for (int64_t p0 = 0; p0 < g.k; p0 += kDepth) {
        piece.k = std::min(kDepth, g.k - p0);
        piece.beta = p0 == 0 ? 0.f : 1.f;
        for (int64_t p = 0; p < piece.k; ++p) Isa::Widen(g.b + (p0 + p) * g.ldb + j0, b + p * width, width);
        for (int64_t i = 0; i < g.m; ++i) Isa::Row(piece, x + i * g.k + p0, sums + i * kWidth);
      }
    }
    StoreRounded<Isa>(sums, kWidth, g.c + j0, g.ldc, g.m, width, static_cast<float>(g.beta));
  }
}

inline constexpr int64_t kFewRows = 2;

// A piece, of a product that has few rows or not.
template <class T>
void NarrowPiece(const GemmArgs<T>& g, bool few_rows) {
#ifdef SLUICE_HAS_X86_LOOPS
  if (BestCpuIsa() == CpuIsa::kAvx512) {
    if (few_rows) return NarrowRows<NarrowAvx512>(g);
    if constexpr (std::is_same_v<T, bfloat16>) {
      if (CpuMultipliesBfloat16()) return NarrowProduct<Bfloat16Panels>(g);
    }
    return NarrowProduct<FloatPanels<T, NarrowAvx512>>(g);
  }
  if (BestCpuIsa() == CpuIsa::kAvx2) {
    return few_rows ? NarrowRows<NarrowAvx2>(g) : NarrowProduct<FloatPanels<T, NarrowAvx2>>(g);
  }
#endif
  few_rows ? NarrowRows<NarrowBaseline>(g) : NarrowProduct<FloatPanels<T, NarrowBaseline>>(g);
}

template <class T>
void NarrowGemm(ThreadPool* pool, GemmArgs<T> g) {
  if (g.n == 1 && g.ldc == 1 && g.m > kFewRows) {
    // The same as a row times the transposed matrix.
    g = GemmArgs<T>{!g.tb, !g.ta, 1, g.m, g.k, g.b, g.ldb, g.a, g.lda, g.c, g.m, g.beta};
  }
  const bool few_rows = g.m <= kFewRows;
  const double cost_ns = static_cast<double>(g.m) * static_cast<double>(g.n) * static_cast<double>(g.k) / 100;
  ForEachPiece(pool, g, cost_ns, [&](const GemmArgs<T>& piece) { NarrowPiece(piece, few_rows); });
}

}  // namespace sluice::internal

#endif  // SLUICE_KERNELS_COMMON_GEMM_NARROW_H_
