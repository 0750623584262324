#include "kernels/nn/conv_tiles.h"

#include <utility>

#include "kernels/common/gemm_blocked.h"
#include "kernels/common/macros.h"

namespace sluice {
namespace {

using internal::StoreTile;
using internal::VectorOf;

// Hides where a pointer or step came from, so that the compiler does not trade a register for more instructions.
template <class T>
SLUICE_HOST_DEVICE void Opaque(T& x) {
#if defined(__x86_64__)
  asm("" : "+r"(x));
#endif
}

// Adds `length` taps to all pixels (or those of the mask). Pixels are reached from every fifth one by 0, 1, 2, 3 and 4
// steps, which are addressing modes with one register for the step and one for three of it.
template <int kVecBytes, int MR, int NV, bool kSome>
SLUICE_HOST_DEVICE void AddTaps(const float* x, int64_t pixel_step, const float* panel, int64_t length, uint32_t pixels,
                                typename VectorOf<float, kVecBytes>::type (&sum)[MR][NV]) {
  using V = typename VectorOf<float, kVecBytes>::type;
  constexpr int kWidth = kVecBytes / static_cast<int>(sizeof(float)), kBases = (MR + 4) / 5;
  const int64_t step = pixel_step * static_cast<int64_t>(sizeof(float));
  int64_t step3 = 3 * step;
  Opaque(step3);
  const char* base[kBases];
#pragma GCC unroll 4
  for (int i = 0; i < kBases; ++i) {
    base[i] = reinterpret_cast<const char*>(x) + 5 * i * step;
    Opaque(base[i]);
  }
  for (const float* end = panel + length * NV * kWidth; panel != end; panel += NV * kWidth) {
    V f[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) f[v] = *reinterpret_cast<const V*>(panel + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      if (kSome && (pixels >> r & 1) == 0) continue;
      const float a = *reinterpret_cast<const float*>(base[r / 5] + (r % 5 == 3 ? step3 : r % 5 * step));
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += a * f[v];
    }
#pragma GCC unroll 4
    for (int i = 0; i < kBases; ++i) base[i] += sizeof(float);
  }
}

template <int kVecBytes, int MR, int NV>
SLUICE_HOST_DEVICE void ForwardTile(const ConvForwardTile& t) {
  using V = typename VectorOf<float, kVecBytes>::type;
  constexpr int64_t kWidth = NV * (kVecBytes / static_cast<int64_t>(sizeof(float)));
  constexpr uint32_t kAll = (1u << MR) - 1;
  V sum[MR][NV] = {};
  for (int64_t i = 0; i < t.num_rows; ++i) {
    for (int64_t j = 0; j < t.num_runs; ++j) {
      const ConvTapRun& run = t.runs[j];
      const float* x = t.x + (t.rows[i].x + run.x);
      const float* panel = t.panel + (t.rows[i].filter + run.filter) * kWidth;
      if (run.pixels == kAll) {
        AddTaps<kVecBytes, MR, NV, false>(x, t.pixel_step, panel, run.length, kAll, sum);
      } else {
        AddTaps<kVecBytes, MR, NV, true>(x, t.pixel_step, panel, run.length, run.pixels, sum);
      }
    }
  }
  StoreTile<float, kVecBytes, MR, NV>(sum, t.y, t.y_step, MR, t.columns, 0.f);
}

template <int kVecBytes, int MR, int NV>
SLUICE_HOST_DEVICE void GradientTile(const ConvGradientTile& t) {
  using V = typename VectorOf<float, kVecBytes>::type;
  constexpr int kWidth = kVecBytes / static_cast<int>(sizeof(float));
  V sum[MR][NV] = {};
  for (int64_t n = 0; n < t.images; ++n) {
    for (int64_t i = 0; i < t.slices; ++i) {
      for (int64_t j = 0; j < t.rows; ++j) {
        const float* x = t.x.at + (n * t.x.image + i * t.x.slice + j * t.x.row);
        const float* dy = t.dy.at + (n * t.dy.image + i * t.dy.slice + j * t.dy.row);
        for (int64_t p = 0; p < t.pixels; ++p) {
          V g[NV];
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v) g[v] = *reinterpret_cast<const V*>(dy + v * kWidth);
#pragma GCC unroll 16
          for (int r = 0; r < MR; ++r) {
            const float a = x[r];
#pragma GCC unroll 4
            for (int v = 0; v < NV; ++v) sum[r][v] += a * g[v];
          }
          x += t.x.pixel;
          dy += t.dy.pixel;
        }
      }
    }
  }
  StoreTile<float, kVecBytes, MR, NV>(sum, t.df, t.df_step, MR, t.columns, t.add ? 1.f : 0.f);
}

// For each instruction set: what makes its loops of one size.
struct Baseline {
  static constexpr int kBytes = 16, kHeight = 6;
  template <int MR, int NV>
  static void Forward(const ConvForwardTile& t) {
    ForwardTile<kBytes, MR, NV>(t);
  }
  template <int MR, int NV>
  static void Gradient(const ConvGradientTile& t) {
    GradientTile<kBytes, MR, NV>(t);
  }
};
#ifdef SLUICE_HAS_X86_LOOPS
struct Avx2 {
  static constexpr int kBytes = 32, kHeight = 6;
  template <int MR, int NV>
  SLUICE_TARGET_AVX2 static void Forward(const ConvForwardTile& t) {
    ForwardTile<kBytes, MR, NV>(t);
  }
  template <int MR, int NV>
  SLUICE_TARGET_AVX2 static void Gradient(const ConvGradientTile& t) {
    GradientTile<kBytes, MR, NV>(t);
  }
};
struct Avx512 {
  static constexpr int kBytes = 64, kHeight = 14;
  template <int MR, int NV>
  SLUICE_TARGET_AVX512 static void Forward(const ConvForwardTile& t) {
    ForwardTile<kBytes, MR, NV>(t);
  }
  template <int MR, int NV>
  SLUICE_TARGET_AVX512 static void Gradient(const ConvGradientTile& t) {
    GradientTile<kBytes, MR, NV>(t);
  }
};
#endif

template <class Isa, int... kHeights>
constexpr ConvTiles MakeTiles(std::integer_sequence<int, kHeights...>) {
  ConvTiles t;
  t.height = Isa::kHeight;
  t.vector = Isa::kBytes / static_cast<int>(sizeof(float));
  ((t.forward[kHeights][0] = Isa::template Forward<kHeights + 1, 1>,
    t.forward[kHeights][1] = Isa::template Forward<kHeights + 1, 2>,
    t.gradient[kHeights][0] = Isa::template Gradient<kHeights + 1, 1>,
    t.gradient[kHeights][1] = Isa::template Gradient<kHeights + 1, 2>),
   ...);
  return t;
}

template <class Isa>
const ConvTiles& TilesOf() {
  static constexpr ConvTiles tiles = MakeTiles<Isa>(std::make_integer_sequence<int, Isa::kHeight>());
  return tiles;
}

}  // namespace

const ConvTiles& ConvTilesOf(CpuIsa isa) {
#ifdef SLUICE_HAS_X86_LOOPS
  if (isa == CpuIsa::kAvx512) return TilesOf<Avx512>();
  if (isa == CpuIsa::kAvx2) return TilesOf<Avx2>();
#endif
  return TilesOf<Baseline>();
}

}  // namespace sluice
