// Quotients and rests. A zero in an integer divisor is an error, found before the loop.
#include <cmath>

#include "kernels/common/element_wise.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kFloatOrComplex = kFloatingTypes | kComplexTypes;

struct Quotient {
  static constexpr DTypeSet kTypes = kArithmeticTypes;
  static constexpr bool kNonzeroDivisor = true;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::Div(x, y);
  }
};
struct QuotientNoNan {
  static constexpr DTypeSet kTypes = kFloatOrComplex;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return y == T(0) ? T(0) : x / y;
  }
};
struct FloorQuotient {
  static constexpr DTypeSet kTypes = kRealTypes;
  static constexpr bool kNonzeroDivisor = true;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::FloorDiv(x, y);
  }
};
struct TruncatedQuotient {
  static constexpr DTypeSet kTypes = kRealTypes;
  static constexpr bool kNonzeroDivisor = true;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    if constexpr (std::is_floating_point_v<T>) return std::trunc(x / y);
    return scalar::Div(x, y);
  }
};
struct FloorRest {
  static constexpr DTypeSet kTypes = kRealTypes;
  static constexpr double kCostNs = 5;
  static constexpr bool kNonzeroDivisor = true;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::FloorMod(x, y);
  }
};
struct TruncatedRest {
  static constexpr DTypeSet kTypes = kRealTypes;
  static constexpr double kCostNs = 5;
  static constexpr bool kNonzeroDivisor = true;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::TruncateMod(x, y);
  }
};

}  // namespace

void AddDivisionKernels(KernelRegistry& k) {
  k.Add("RealDiv", kCpu, BinaryOnCpu<Quotient>());
  k.Add("Div", kCpu, BinaryOnCpu<Quotient>());
  k.Add("DivNoNan", kCpu, BinaryOnCpu<QuotientNoNan>());
  k.Add("FloorDiv", kCpu, BinaryOnCpu<FloorQuotient>());
  k.Add("TruncateDiv", kCpu, BinaryOnCpu<TruncatedQuotient>());
  k.Add("FloorMod", kCpu, BinaryOnCpu<FloorRest>());
  k.Add("Mod", kCpu, BinaryOnCpu<TruncatedRest>());
  k.Add("TruncateMod", kCpu, BinaryOnCpu<TruncatedRest>());
}

}  // namespace sluice
