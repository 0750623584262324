// The scalar functions of activations and their gradients (first argument: the incoming gradient), for host and device.
#ifndef SLUICE_KERNELS_NN_ACTIVATION_H_
#define SLUICE_KERNELS_NN_ACTIVATION_H_

#include "core/op/node_info.h"
#include "kernels/common/macros.h"
#include "kernels/common/vector_math.h"

namespace sluice {

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
    const T below = vmath::Expm1(x);
    return x < T(0) ? below : x;
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
    const T below = T(kSeluScaleAlpha) * vmath::Expm1(x), above = T(kSeluScale) * x;
    return x < T(0) ? below : above;
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
  static constexpr double kCostNs = 2;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return vmath::Softplus(x);
  }
};
struct SoftplusGrad {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 1;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T dy, T x) const {
    return dy / (T(1) + vmath::Exp(-x));
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
