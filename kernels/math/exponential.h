// Roots, powers of e, logarithms and their like.
#ifndef SLUICE_KERNELS_MATH_EXPONENTIAL_H_
#define SLUICE_KERNELS_MATH_EXPONENTIAL_H_

#include <cmath>

#include "core/types/dtype.h"
#include "kernels/common/macros.h"
#include "kernels/common/vector_math.h"
#include "kernels/math/scalar.h"

namespace sluice {

struct FloatingFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 1;
};
struct SqrtFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::sqrt(x);
  }
};
struct RsqrtFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return T(1) / std::sqrt(x);
  }
};
struct ExpFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Exp(x);
  }
};
struct Expm1Function : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Expm1(x);
  }
};
struct LogFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Log(x);
  }
};
struct Log1pFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Log1p(x);
  }
};
struct TanhFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Tanh(x);
  }
};
struct SigmoidFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Sigmoid(x);
  }
};
struct ErfFunction : FloatingFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Erf(x);
  }
};

// Of an output and its gradient.
struct GradFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes | kComplexTypes;
};
struct SqrtGradFunction : GradFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T y, T dy) const {
    return scalar::Mul(T(0.5f), dy) / scalar::Conj(y);
  }
};
struct RsqrtGradFunction : GradFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T y, T dy) const {
    const T c = scalar::Conj(y);
    return scalar::Mul(T(-0.5f), scalar::Mul(scalar::Mul(dy, c), scalar::Mul(c, c)));
  }
};
struct ReciprocalGradFunction : GradFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T y, T dy) const {
    const T c = scalar::Conj(y);
    return -scalar::Mul(scalar::Mul(c, dy), c);
  }
};
struct SigmoidGradFunction : GradFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T y, T dy) const {
    return scalar::Mul(scalar::Mul(dy, y), T(1) - y);
  }
};
struct TanhGradFunction : GradFunction {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T y, T dy) const {
    return scalar::Mul(dy, T(1) - scalar::Mul(y, y));
  }
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_EXPONENTIAL_H_
