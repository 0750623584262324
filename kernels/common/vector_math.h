// Elementary functions that compilers turn into vector instructions: no branches, no calls, no tables.
//
// For float they are polynomials whose greatest errors over all floats, with and without fused multiply-adds, are given
// in units in the last place (ulp); vector_math_exhaustive_test finds them. Other real types go to the C library (exact
// to about 1 ulp, one element at a time); half and bfloat16 never come here, since kernels compute with float in their
// place.
#ifndef SLUICE_KERNELS_COMMON_VECTOR_MATH_H_
#define SLUICE_KERNELS_COMMON_VECTOR_MATH_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/common/macros.h"

namespace sluice::vmath {

#ifdef __CUDACC__
#define SLUICE_BITS_(to, from, x) \
  union {                         \
    from a;                       \
    to b;                         \
  } u{x};                         \
  return u.b
SLUICE_HOST_DEVICE int32_t BitsOf(float x) { SLUICE_BITS_(int32_t, float, x); }
SLUICE_HOST_DEVICE float FloatOf(int32_t x) { SLUICE_BITS_(float, int32_t, x); }
#undef SLUICE_BITS_
#else
SLUICE_HOST_DEVICE int32_t BitsOf(float x) {
  int32_t i;
  __builtin_memcpy(&i, &x, sizeof(i));
  return i;
}
SLUICE_HOST_DEVICE float FloatOf(int32_t i) {
  float x;
  __builtin_memcpy(&x, &i, sizeof(x));
  return x;
}
#endif

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// To the nearest integer, halves to even, for |x| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
SLUICE_HOST_DEVICE float RoundSmall(float x) {
  const float big = 12582912.f;
  return FloatOf(BitsOf(x + big)) - big;
}

// 2^n for n in [-126, 127].
SLUICE_HOST_DEVICE float PowerOfTwo(float n) { return FloatOf((static_cast<int32_t>(n) + 127) << 23); }

// x in [low, high], and low for NaN, of which no integer can be made.
SLUICE_HOST_DEVICE float Clip(float x, float low, float high) { return x > low ? (x < high ? x : high) : low; }

// e^x, 1.1 ulp where the result is normal; 0 below -103.97, inf above 88.72.
SLUICE_HOST_DEVICE float Exp(float x) {
  const float clipped = Clip(x, -104.f, 89.f);
  const float n = RoundSmall(clipped * 1.44269504088896341f);
  // ln 2 in two parts, the first exact when multiplied by n.
  const float r = (clipped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float e = (p * (r * r) + r) + 1.f;
  // In two steps, so that results below the normal range and just below infinity come out.
  const float half_n = RoundSmall(n * 0.5f - 0.25f);
  const float y = e * PowerOfTwo(half_n) * PowerOfTwo(n - half_n);
  return x != x ? x : y;
}

// e^x - 1, 1.6 ulp.
SLUICE_HOST_DEVICE float Expm1(float x) {
  const float clipped = Clip(x, -18.f, 89.f);
  const float n = RoundSmall(clipped * 1.44269504088896341f);
  const float r = (clipped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float e = p * (r * r) + r;  // e^r - 1
  const float half_n = RoundSmall(n * 0.5f - 0.25f);
  const float s1 = PowerOfTwo(half_n), s2 = PowerOfTwo(n - half_n);
  // 2^n (e + 1) - 1 = 2^n e + (2^n - 1).
  const float scaled = e * s1 * s2 + (s1 * s2 - 1.f);
  const float y = n > 127.f ? (e + 1.f) * s1 * s2 : scaled;
  return x != x ? x : y;
}

// The natural logarithm, 0.9 ulp, and -inf at 0, nan below.
SLUICE_HOST_DEVICE float Log(float x) {
  // Numbers below the normal range are scaled up first.
  const bool small = x < 1.17549435e-38f;
  const float scaled = small ? x * 8388608.f : x;
  const int32_t bits = BitsOf(scaled);
  // The mantissa in [sqrt(1/2), sqrt(2)).
  const int32_t shifted = static_cast<int32_t>(static_cast<uint32_t>(bits) - 0x3f3504f3u);  // wraps for x < 0
  const float e = static_cast<float>(shifted >> 23) - (small ? 23.f : 0.f);
  const float f = FloatOf((shifted & 0x007fffff) + 0x3f3504f3) - 1.f;
  float p = 7.0376836292e-2f;
  p = p * f + -1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f + -1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f + -1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f + -2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const float z = f * f;
  float y = p * f * z + e * -2.12194440e-4f;
  y = y - 0.5f * z;
  y = (f + y) + e * 0.693359375f;
  y = x == kInf ? kInf : y;
  y = x == 0.f ? -kInf : y;
  return x < 0.f || x != x ? kNan : y;
}

// log(1 + x), 1.3 ulp: the logarithm of the rounded sum, put right for what the rounding lost.
SLUICE_HOST_DEVICE float Log1p(float x) {
  const float u = 1.f + x;
  const float lost = (x - (u - 1.f)) / u;
  float y = Log(u) + (lost == lost && u != kInf ? lost : 0.f);
  y = (x < 1e-4f && x > -1e-4f) ? x - 0.5f * x * x + x * x * x * 0.333333343f : y;
  return x == -1.f ? -kInf : (x == kInf ? kInf : y);
}

// The hyperbolic tangent, 1.4 ulp: 1 - 2 / (e^2x + 1), and an odd polynomial where that would cancel.
SLUICE_HOST_DEVICE float Tanh(float x) {
  const int32_t sign = BitsOf(x) & ~0x7fffffff;
  const float a = FloatOf(BitsOf(x) & 0x7fffffff);
  const float t = a < 9.1f ? a : 9.1f;
  // e^2t as Exp has it, by halves: 2t = n ln 2 + 2r. The exponent is added as it stands, since n is in [0, 27).
  const float big = 12582912.f;
  const float shifted = t * 2.88539008177792681f + big;
  const float n = shifted - big;
  const float r = (t - n * 0.3466796875f) - n * -1.06097220e-4f;
  float p = 128.f * 1.9875691500e-4f;
  p = p * r + 64.f * 1.3981999507e-3f;
  p = p * r + 32.f * 8.3334519073e-3f;
  p = p * r + 16.f * 4.1665795894e-2f;
  p = p * r + 8.f * 1.6666665459e-1f;
  p = p * r + 4.f * 5.0000001201e-1f;
  const float e = (p * (r * r) + (r + r)) + 1.f;
  const float power = FloatOf(BitsOf(e) + static_cast<int32_t>(static_cast<uint32_t>(BitsOf(shifted)) << 23));
  const float large = 1.f - 2.f / (power + 1.f);
  const float z = x * x;
  float s = -5.70498872745e-3f;
  s = s * z + 2.06390887954e-2f;
  s = s * z + -5.37397155531e-2f;
  s = s * z + 1.33314422036e-1f;
  s = s * z + -3.33332819422e-1f;
  const float small = s * z * x + x;  // of NaN, too
  return a >= 0.625f ? FloatOf(BitsOf(large) | sign) : small;
}

// 1 / (1 + e^-x), 2.9 ulp.
SLUICE_HOST_DEVICE float Sigmoid(float x) {
  // By the side on which the exponential is small.
  const float e = Exp(x < 0 ? x : -x);
  const float y = 1.f / (1.f + e);
  return x < 0 ? e * y : y;
}

// log(1 + e^x), 2.0 ulp.
SLUICE_HOST_DEVICE float Softplus(float x) {
  const float y = Log1p(Exp(x < 0 ? x : -x));
  return (x > 0 ? x : x != x ? x : 0.f) + y;
}

// The error function, 1.2 ulp (Abramowitz and Stegun 7.1.26's form is too rough: this one is a minimax fit in two
// pieces).
SLUICE_HOST_DEVICE float Erf(float x) {
  const float a = x < 0 ? -x : x;
  // |x| <= 0.921875: x + x * p(x^2).
  const float s = x * x;
  float q = -5.96761703e-4f;
  q = q * s + 4.99119423e-3f;
  q = q * s + -2.67681349e-2f;
  q = q * s + 1.12819925e-1f;
  q = q * s + -3.76125336e-1f;
  q = q * s + 1.28379166e-1f;
  const float small = q * x + x;
  // Beyond: 1 - e^p(|x|).
  const float t = a > 4.f ? 4.f : a;
  const float t2 = t * t;
  float r = -1.72853470e-5f * t + 3.83197126e-4f;
  const float u = -3.88396438e-3f * t + 2.42546219e-2f;
  r = r * t2 + u;
  r = r * t + -1.06777877e-1f;
  r = r * t + -6.34846687e-1f;
  r = r * t + -1.28717512e-1f;
  r = r * t - t;
  const float large = 1.f - Exp(r);
  const float signed_large = x < 0 ? -large : large;
  return a > 0.921875f ? (x != x ? x : signed_large) : small;
}

// sin and cos for |x| <= 8192 within 1.02e-7 (absolute); beyond, callers use the C library.
struct SinCosPair {
  float sin, cos;
};
SLUICE_HOST_DEVICE SinCosPair SinCosSmall(float x) {
  const float n = RoundSmall(x * 0.636619772f);  // quarter turns
  // pi / 2 in four parts.
  float r = x - n * 1.5703125f;
  r = r - n * 4.837512969970703125e-4f;
  r = r - n * 7.549533620476722717e-8f;
  r = r - n * 2.5632829192545614e-12f;
  const float z = r * r;
  float s = 2.718311493989822e-6f;
  s = s * z + -1.984008743595e-4f;
  s = s * z + 8.333329385889463e-3f;
  s = s * z + -1.6666665459e-1f;
  s = s * z * r + r;
  float c = 2.443315711809948e-5f;
  c = c * z + -1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * z * z + (1.f - 0.5f * z);
  const int32_t quarter = static_cast<int32_t>(n);
  const float a = (quarter & 1) ? c : s, b = (quarter & 1) ? s : c;
  return {(quarter & 2) ? -a : a, ((quarter + 1) & 2) ? -b : b};
}

SLUICE_HOST_DEVICE double Exp(double x) { return std::exp(x); }
SLUICE_HOST_DEVICE double Expm1(double x) { return std::expm1(x); }
SLUICE_HOST_DEVICE double Log(double x) { return std::log(x); }
SLUICE_HOST_DEVICE double Log1p(double x) { return std::log1p(x); }
SLUICE_HOST_DEVICE double Tanh(double x) { return std::tanh(x); }
SLUICE_HOST_DEVICE double Erf(double x) { return std::erf(x); }
SLUICE_HOST_DEVICE double Softplus(double x) {
  return (x > 0 ? x : x != x ? x : 0.0) + std::log1p(std::exp(x < 0 ? x : -x));
}
SLUICE_HOST_DEVICE double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace sluice::vmath

#endif  // SLUICE_KERNELS_COMMON_VECTOR_MATH_H_
