// Loops that use the best vector instructions of the processor they run on.
//
//   WithSimd([&]() SLUICE_INLINE_LOOP { for (int64_t i = 0; i < n; ++i) y[i] = x[i] * a; });
//
// The body is compiled for the baseline, AVX2 and AVX-512, and one is chosen at run time. What it calls must be inlined
// into it (SLUICE_HOST_DEVICE, lambdas marked SLUICE_INLINE_LOOP). Lanes is a block of floats that every variant adds
// up in the same order, so sums do not depend on the processor.
#ifndef SLUICE_KERNELS_NN_SIMD_H_
#define SLUICE_KERNELS_NN_SIMD_H_

#include <cstdint>
#include <cstring>

#include "kernels/common/cpu_isa.h"
#include "kernels/common/macros.h"

#define SLUICE_INLINE_LOOP __attribute__((always_inline))

namespace sluice {

template <typename F>
void RunBaseline(const F& f) {
  f();
}
#ifdef SLUICE_HAS_X86_LOOPS
template <typename F>
SLUICE_TARGET_AVX2 void RunAvx2(const F& f) {
  f();
}
template <typename F>
SLUICE_TARGET_AVX512 void RunAvx512(const F& f) {
  f();
}
#endif

template <typename F>
inline void WithSimd(const F& f) {
#ifdef SLUICE_HAS_X86_LOOPS
  const CpuIsa isa = BestCpuIsa();
  if (isa == CpuIsa::kAvx512) return RunAvx512(f);
  if (isa == CpuIsa::kAvx2) return RunAvx2(f);
#endif
  RunBaseline(f);
}

inline constexpr int kLanes = 16;
// Sixteen floats. The compiler maps the operations on it to the registers at hand.
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t IntLanes __attribute__((vector_size(kLanes * sizeof(int32_t))));

// Through memory: passing such a value in a register would tie callers to one instruction set.
SLUICE_HOST_DEVICE void LoadLanes(const float* p, Lanes* v) { std::memcpy(v, p, sizeof(Lanes)); }
SLUICE_HOST_DEVICE void StoreLanes(const Lanes& v, float* p) { std::memcpy(p, &v, sizeof(Lanes)); }
// The first n lanes, others `fill`.
SLUICE_HOST_DEVICE void LoadSome(const float* p, int64_t n, float fill, Lanes* v) {
  for (int i = 0; i < kLanes; ++i) (*v)[i] = i < n ? p[i] : fill;
}
SLUICE_HOST_DEVICE float SumOf(const Lanes& v) {
  float s[kLanes];
  std::memcpy(s, &v, sizeof s);
  for (int step = kLanes / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) s[i] += s[i + step];
  }
  return s[0];
}
SLUICE_HOST_DEVICE float MaxOf(const Lanes& v) {
  float m = v[0];
  for (int i = 1; i < kLanes; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

// exp(x) to about 2 units in the last place: 2^n * p(r) with |r| <= log(2)/2. Beyond the range of float it is 0 or
// infinity; NaN stays NaN. Free of branches and calls.
SLUICE_HOST_DEVICE float FastExp(float x) {
  const float clamped = x > 89.0f ? 89.0f : (x < -104.0f ? -104.0f : x);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float shifted = clamped * 1.44269504088896341f + magic;
  const float n = shifted - magic;
  float r = clamped - n * 0.693145751953125f;
  r = r - n * 1.42860682030941723212e-6f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // 2^n in two factors, since n reaches beyond the exponents of normal numbers.
  uint32_t bits, zero;
  std::memcpy(&bits, &shifted, sizeof bits);
  std::memcpy(&zero, &magic, sizeof zero);
  const int32_t k = static_cast<int32_t>(bits - zero);  // n, also defined for NaN
  const int32_t half = k >> 1;
  const uint32_t low = (static_cast<uint32_t>(half) + 127u) << 23;
  const uint32_t high = (static_cast<uint32_t>(k) - static_cast<uint32_t>(half) + 127u) << 23;
  float a, b;
  std::memcpy(&a, &low, sizeof a);
  std::memcpy(&b, &high, sizeof b);
  const float y = p * a * b;
  return x != x ? x : y;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_SIMD_H_
