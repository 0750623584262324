// Sine and its relatives.
#include <cmath>

#include "kernels/common/element_wise.h"
#include "kernels/common/vector_math.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

// From the C library, for float in double's place where that is exacter at no cost in clarity.
struct Floating {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 8;
};
struct SinFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 1;
  static constexpr float kFastLimit = 8192;
  SLUICE_HOST_DEVICE float operator()(float x) const { return vmath::SinCosSmall(x).sin; }
  SLUICE_HOST_DEVICE double operator()(double x) const { return std::sin(x); }
  float Exact(float x) const { return std::sin(x); }
};
struct CosFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 1;
  static constexpr float kFastLimit = 8192;
  SLUICE_HOST_DEVICE float operator()(float x) const { return vmath::SinCosSmall(x).cos; }
  SLUICE_HOST_DEVICE double operator()(double x) const { return std::cos(x); }
  float Exact(float x) const { return std::cos(x); }
};
// Numbers of narrow types are computed as floats without the check of the fast range.
struct NarrowSin : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::sin(x);
  }
};
struct NarrowCos : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::cos(x);
  }
};
struct TanFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::tan(x);
  }
};
struct AsinFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::asin(x);
  }
};
struct AcosFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::acos(x);
  }
};
struct AtanFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::atan(x);
  }
};
struct SinhFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::sinh(x);
  }
};
struct CoshFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::cosh(x);
  }
};
struct AsinhFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::asinh(x);
  }
};
struct AcoshFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::acosh(x);
  }
};
struct AtanhFunction : Floating {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::atanh(x);
  }
};

}  // namespace

void AddTrigonometryKernels(KernelRegistry& k) {
  constexpr DTypeSet kWide = {DType::kFloat, DType::kDouble}, kNarrow = {DType::kHalf, DType::kBfloat16};
  k.Add("Sin", kCpu, UnaryOnCpu<SinFunction>(kWide));
  k.Add("Sin", kCpu, UnaryOnCpu<NarrowSin>(kNarrow));
  k.Add("Cos", kCpu, UnaryOnCpu<CosFunction>(kWide));
  k.Add("Cos", kCpu, UnaryOnCpu<NarrowCos>(kNarrow));
  k.Add("Tan", kCpu, UnaryOnCpu<TanFunction>());
  k.Add("Asin", kCpu, UnaryOnCpu<AsinFunction>());
  k.Add("Acos", kCpu, UnaryOnCpu<AcosFunction>());
  k.Add("Atan", kCpu, UnaryOnCpu<AtanFunction>());
  k.Add("Sinh", kCpu, UnaryOnCpu<SinhFunction>());
  k.Add("Cosh", kCpu, UnaryOnCpu<CoshFunction>());
  k.Add("Asinh", kCpu, UnaryOnCpu<AsinhFunction>());
  k.Add("Acosh", kCpu, UnaryOnCpu<AcoshFunction>());
  k.Add("Atanh", kCpu, UnaryOnCpu<AtanhFunction>());
}

}  // namespace sluice
