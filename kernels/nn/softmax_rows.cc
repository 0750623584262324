#include "kernels/nn/softmax_rows.h"

#include <limits>

#include "kernels/common/cpu_isa.h"
#include "kernels/common/macros.h"

#ifdef SLUICE_HAS_X86_LOOPS
#include <immintrin.h>
#endif

namespace sluice {
#ifdef SLUICE_HAS_X86_LOOPS
namespace {

#define SLUICE_LANES SLUICE_TARGET_AVX512 inline __attribute__((always_inline))

// 2^n * p(r) with |r| <= log(2) / 2, the polynomial of vmath::Exp. NaN stays.
SLUICE_LANES __m512 Exp(__m512 x) {
  const __m512 clipped = _mm512_max_ps(_mm512_set1_ps(-104.f), x);  // the second operand when one is NaN
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(clipped, _mm512_set1_ps(1.44269504088896341f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145751953125f), clipped);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860682030941723212e-6f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
  return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.f)), n);
}

SLUICE_LANES __mmask16 First(int64_t n) { return static_cast<__mmask16>((1u << n) - 1); }

SLUICE_TARGET_AVX512 float Largest(const float* x, int64_t n) {
  const __m512 least = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  __m512 best[4] = {least, least, least, least};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) best[k] = _mm512_max_ps(_mm512_loadu_ps(x + i + 16 * k), best[k]);
  }
  for (; i + 16 <= n; i += 16) best[0] = _mm512_max_ps(_mm512_loadu_ps(x + i), best[0]);
  if (i < n) best[1] = _mm512_max_ps(_mm512_mask_loadu_ps(least, First(n - i), x + i), best[1]);
  return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(best[0], best[1]), _mm512_max_ps(best[2], best[3])));
}

template <bool kStore>
SLUICE_LANES float ExponentialsOf(const float* x, int64_t n, float shift, float* y) {
  const __m512 by = _mm512_set1_ps(shift);
  __m512 sum = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512 e = Exp(_mm512_sub_ps(_mm512_loadu_ps(x + i), by));
    if (kStore) _mm512_storeu_ps(y + i, e);
    sum = _mm512_add_ps(sum, e);
  }
  if (i < n) {
    const __mmask16 rest = First(n - i);
    const __m512 e = Exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(rest, x + i), by));
    if (kStore) _mm512_mask_storeu_ps(y + i, rest, e);
    sum = _mm512_mask_add_ps(sum, rest, sum, e);
  }
  alignas(64) float lane[16];
  _mm512_store_ps(lane, sum);
  for (int width = 8; width > 0; width /= 2) {
    for (int k = 0; k < width; ++k) lane[k] += lane[k + width];
  }
  return lane[0];
}

SLUICE_TARGET_AVX512 float Exponentials(const float* x, int64_t n, float shift, float* y) {
  return ExponentialsOf<true>(x, n, shift, y);
}

SLUICE_TARGET_AVX512 float SumOfExponentials(const float* x, int64_t n, float shift) {
  return ExponentialsOf<false>(x, n, shift, nullptr);
}

SLUICE_TARGET_AVX512 void Multiply(float* y, int64_t n, float scale) {
  const __m512 by = _mm512_set1_ps(scale);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(y + i, _mm512_mul_ps(_mm512_loadu_ps(y + i), by));
  if (i < n) {
    const __mmask16 rest = First(n - i);
    _mm512_mask_storeu_ps(y + i, rest, _mm512_mul_ps(_mm512_maskz_loadu_ps(rest, y + i), by));
  }
}

SLUICE_TARGET_AVX512 void Subtract(const float* x, int64_t n, float shift, float* y) {
  const __m512 by = _mm512_set1_ps(shift);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) _mm512_storeu_ps(y + i, _mm512_sub_ps(_mm512_loadu_ps(x + i), by));
  if (i < n) {
    const __mmask16 rest = First(n - i);
    _mm512_mask_storeu_ps(y + i, rest, _mm512_sub_ps(_mm512_maskz_loadu_ps(rest, x + i), by));
  }
}

}  // namespace
#endif

const RowPasses* FastRows() {
#ifdef SLUICE_HAS_X86_LOOPS
  static constexpr RowPasses kPasses = {&Largest, &Exponentials, &SumOfExponentials, &Multiply, &Subtract};
  if (BestCpuIsa() == CpuIsa::kAvx512) return &kPasses;
#endif
  return nullptr;
}

}  // namespace sluice
