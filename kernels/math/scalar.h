// Scalar arithmetic that is defined for every type: integers wrap, complex numbers multiply and divide without library
// calls, and the quotients and rests of integers have no trap left (a zero divisor is refused before the loop).
#ifndef SLUICE_KERNELS_MATH_SCALAR_H_
#define SLUICE_KERNELS_MATH_SCALAR_H_

#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/common/macros.h"

namespace sluice::scalar {

template <class T>
struct IsComplexNumber : std::false_type {};
template <class R>
struct IsComplexNumber<std::complex<R>> : std::true_type {};
template <class T>
inline constexpr bool kIsComplex = IsComplexNumber<T>::value;

// An unsigned type at least as wide as int, in which T's arithmetic wraps.
template <class T>
using Wrapping = std::conditional_t<(sizeof(T) < sizeof(unsigned)), unsigned, std::make_unsigned_t<T>>;

template <class T>
SLUICE_HOST_DEVICE T Add(T a, T b) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  return a + b;
}
template <class T>
SLUICE_HOST_DEVICE T Sub(T a, T b) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(static_cast<Wrapping<T>>(a) - static_cast<Wrapping<T>>(b));
  return a - b;
}
template <class T>
SLUICE_HOST_DEVICE T Mul(T a, T b) {
  if constexpr (kIsComplex<T>) {
    return T(a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real());
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) * static_cast<Wrapping<T>>(b));
  } else {
    return a * b;
  }
}
template <class T>
SLUICE_HOST_DEVICE T Neg(T a) {
  if constexpr (std::is_integral_v<T>) return static_cast<T>(Wrapping<T>(0) - static_cast<Wrapping<T>>(a));
  return -a;
}
template <class T>
SLUICE_HOST_DEVICE T Conj(T a) {
  if constexpr (kIsComplex<T>) return T(a.real(), -a.imag());
  return a;
}
// Integers towards zero. REQUIRES: an integer b is not 0.
template <class T>
SLUICE_HOST_DEVICE T Div(T a, T b) {
  if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    return b == T(-1) ? Neg(a) : static_cast<T>(a / b);
  } else {
    return static_cast<T>(a / b);
  }
}
template <class T>
SLUICE_HOST_DEVICE T TruncateMod(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmod(a, b);
  } else if constexpr (std::is_signed_v<T>) {
    return b == T(-1) ? T(0) : static_cast<T>(a % b);
  } else {
    return static_cast<T>(a % b);
  }
}
template <class T>
SLUICE_HOST_DEVICE T FloorMod(T a, T b) {
  const T r = TruncateMod(a, b);
  return r != T(0) && (r < T(0)) != (b < T(0)) ? static_cast<T>(r + b) : r;
}
template <class T>
SLUICE_HOST_DEVICE T FloorDiv(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::floor(a / b);
  } else if constexpr (std::is_integral_v<T>) {
    const T q = Div(a, b);
    if constexpr (std::is_unsigned_v<T>) return q;
    return b != T(-1) && a % b != 0 && (a < 0) != (b < 0) ? static_cast<T>(q - 1) : q;
  } else {
    return a / b;
  }
}

}  // namespace sluice::scalar

#endif  // SLUICE_KERNELS_MATH_SCALAR_H_
