#include "kernels/math/tiles.h"

#include "kernels/common/cpu_isa.h"
#include "kernels/common/macros.h"

#ifdef SLUICE_HAS_X86_LOOPS
#include <immintrin.h>
#endif

namespace sluice {
namespace {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi"
namespace baseline {
#define SLUICE_TILE_TARGET
#define SLUICE_TILE_BYTES 16
#define SLUICE_TILE_LARGER(x, y) (x > y ? x : y)
#define SLUICE_TILE_SMALLER(x, y) (x < y ? x : y)
#ifdef SLUICE_HAS_X86_LOOPS
#define SLUICE_TILE_STREAM(to, x) _mm_stream_ps(to, x)
#else
#define SLUICE_TILE_STREAM(to, x) (*reinterpret_cast<Memory*>(to) = x)
#endif
#include "kernels/math/tiles_body.h"
#undef SLUICE_TILE_TARGET
#undef SLUICE_TILE_BYTES
#undef SLUICE_TILE_LARGER
#undef SLUICE_TILE_SMALLER
#undef SLUICE_TILE_STREAM
}  // namespace baseline
#ifdef SLUICE_HAS_X86_LOOPS
namespace avx2 {
#define SLUICE_TILE_TARGET SLUICE_TARGET_AVX2
#define SLUICE_TILE_BYTES 32
#define SLUICE_TILE_LARGER(x, y) _mm256_max_ps(x, y)
#define SLUICE_TILE_SMALLER(x, y) _mm256_min_ps(x, y)
#define SLUICE_TILE_STREAM(to, x) _mm256_stream_ps(to, x)
#include "kernels/math/tiles_body.h"
#undef SLUICE_TILE_TARGET
#undef SLUICE_TILE_BYTES
#undef SLUICE_TILE_LARGER
#undef SLUICE_TILE_SMALLER
#undef SLUICE_TILE_STREAM
}  // namespace avx2
namespace avx512 {
#define SLUICE_TILE_TARGET SLUICE_TARGET_AVX512
#define SLUICE_TILE_BYTES 64
#define SLUICE_TILE_LARGER(x, y) _mm512_max_ps(x, y)
#define SLUICE_TILE_SMALLER(x, y) _mm512_min_ps(x, y)
#define SLUICE_TILE_STREAM(to, x) _mm512_stream_ps(to, x)
#include "kernels/math/tiles_body.h"
#undef SLUICE_TILE_TARGET
#undef SLUICE_TILE_BYTES
#undef SLUICE_TILE_LARGER
#undef SLUICE_TILE_SMALLER
#undef SLUICE_TILE_STREAM
}  // namespace avx512
#endif
#pragma GCC diagnostic pop

}  // namespace

float SumOfLanes(const float* sums) {
  typedef float V __attribute__((vector_size(16)));
  typedef float Memory __attribute__((vector_size(16), may_alias, aligned(4)));
  const Memory* m = reinterpret_cast<const Memory*>(sums);
  V v[8];
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) v[k] = m[k];
#pragma GCC unroll 8
  for (int w = 4; w > 0; w /= 2) {
#pragma GCC unroll 8
    for (int k = 0; k < w; ++k) v[k] += v[k + w];
  }
  return (v[0][0] + v[0][2]) + (v[0][1] + v[0][3]);
}

TileCode TileCodeOf(const std::string& op, int operands) {
  struct Known {
    const char* op;
    int operands;
    TileCode code;
  };
  static constexpr Known kKnown[] = {
      {"Add", 2, TileCode::kAdd},
      {"AddV2", 2, TileCode::kAdd},
      {"Sub", 2, TileCode::kSub},
      {"Mul", 2, TileCode::kMul},
      {"RealDiv", 2, TileCode::kDiv},
      {"Div", 2, TileCode::kDiv},
      {"Maximum", 2, TileCode::kMaximum},
      {"Minimum", 2, TileCode::kMinimum},
      {"SquaredDifference", 2, TileCode::kSquaredDifference},
      {"ReluGrad", 2, TileCode::kReluGrad},
      {"Neg", 1, TileCode::kNeg},
      {"Abs", 1, TileCode::kAbs},
      {"Square", 1, TileCode::kSquare},
      {"Relu", 1, TileCode::kRelu},
  };
  for (const Known& k : kKnown) {
    if (k.operands == operands && op == k.op) return k.code;
  }
  return TileCode::kNone;
}

const TileFunctions& Tiles() {
  static const TileFunctions functions = [] {
#ifdef SLUICE_HAS_X86_LOOPS
    if (BestCpuIsa() == CpuIsa::kAvx512) return avx512::MakeFunctions();
    if (BestCpuIsa() == CpuIsa::kAvx2) return avx2::MakeFunctions();
#endif
    return baseline::MakeFunctions();
  }();
  return functions;
}

}  // namespace sluice
