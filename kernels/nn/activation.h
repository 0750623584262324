// The scalar functions of activations and their gradients (first argument: the incoming gradient), for host and device.
#ifndef SLUICE_KERNELS_NN_ACTIVATION_H_
#define SLUICE_KERNELS_NN_ACTIVATION_H_

#include <cmath>
#include <type_traits>

#include "core/op/node_info.h"
#include "kernels/common/macros.h"
#include "kernels/nn/simd.h"

namespace sluice {

template <class T>
SLUICE_HOST_DEVICE T ExpOf(T x) {
  if constexpr (std::is_same_v<T, float>) {
    return FastExp(x);
  } else {
    return std::exp(x);
  }
}

struct Relu {
  // NaN compares false and stays.
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return x < T(0) ? T(0) : x;
  }
};
struct ReluGrad {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T x) const {
    return x > T(0) ? dy : T(0);
  }
};
struct Relu6 {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return x < T(0) ? T(0) : (x > T(6) ? T(6) : x);
  }
};
struct Relu6Grad {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T x) const {
    return x > T(0) && x < T(6) ? dy : T(0);
  }
};

struct LeakyRelu {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  float alpha = 0;
  static LeakyRelu Make(const NodeInfo& node) { return {node.Attr<float>("alpha").value_or(0.2f)}; }
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return x > T(0) ? x : x * T(alpha);
  }
};
struct LeakyReluGrad {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  float alpha = 0;
  static LeakyReluGrad Make(const NodeInfo& node) { return {node.Attr<float>("alpha").value_or(0.2f)}; }
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T x) const {
    return x > T(0) ? dy : dy * T(alpha);
  }
};

struct Elu {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 1;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    if constexpr (std::is_same_v<T, float>) {
      // Near zero exp(x) - 1 cancels: a series takes over.
      const float series =
          x * (1 + x * (0.5f + x * (1.f / 6 + x * (1.f / 24 + x * (1.f / 120 + x * (1.f / 720 + x * (1.f / 5040)))))));
      const float grown = FastExp(x) - 1;
      const float below = x > -0.3f ? series : grown;
      return x < 0 ? below : x;
    } else {
      return x < T(0) ? std::expm1(x) : x;
    }
  }
};
struct EluGrad {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T y) const {
    return y < T(0) ? dy * (y + T(1)) : dy;
  }
};

// Klambauer et al. 2017, section 2.
inline constexpr double kSeluScale = 1.0507009873554804934193349852946;
inline constexpr double kSeluScaleAlpha = 1.7580993408473768599402175208123;
struct Selu {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 1;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return x < T(0) ? T(kSeluScaleAlpha) * Elu()(x) : T(kSeluScale) * x;
  }
};
struct SeluGrad {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T y) const {
    return y < T(0) ? dy * (y + T(kSeluScaleAlpha)) : dy * T(kSeluScale);
  }
};

struct Softplus {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 4;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return (x > T(0) ? x : x != x ? x : T(0)) + std::log1p(ExpOf(x < T(0) ? x : -x));
  }
};
struct SoftplusGrad {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 1;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T x) const {
    return dy / (T(1) + ExpOf(-x));
  }
};
struct Softsign {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return x / (T(1) + (x < T(0) ? -x : x));
  }
};
struct SoftsignGrad {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T x) const {
    const T s = T(1) + (x < T(0) ? -x : x);
    return dy / (s * s);
  }
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_ACTIVATION_H_
