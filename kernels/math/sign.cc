// Signs, squares, reciprocals, rounding, and tests of single numbers.
#include <cmath>

#include "kernels/common/element_wise.h"
#include "kernels/common/vector_math.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kSignedOrComplex = kFloatingTypes | kComplexTypes | kSignedTypes;

struct AbsFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes | kSignedTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    if constexpr (std::is_floating_point_v<T>) return std::abs(x);
    return x < T(0) ? scalar::Neg(x) : x;
  }
};
struct NegFunction {
  static constexpr DTypeSet kTypes = kSignedOrComplex;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return scalar::Neg(x);
  }
};
struct SignFunction {
  static constexpr DTypeSet kTypes = kSignedOrComplex;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    if constexpr (scalar::kIsComplex<T>) {
      const auto length = std::abs(x);
      return length == 0 ? T(0) : T(x.real() / length, x.imag() / length);
    } else if constexpr (std::is_floating_point_v<T>) {
      const T one = x > T(0) ? T(1) : (x < T(0) ? T(-1) : T(0));
      return x != x ? x : one;
    } else {
      return static_cast<T>((x > 0) - (x < 0));
    }
  }
};
struct SquareFunction {
  static constexpr DTypeSet kTypes = kArithmeticTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return scalar::Mul(x, x);
  }
};
struct ReciprocalFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes | kComplexTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return T(1) / x;
  }
};
// Of integers: 0 beyond one, and 0 at zero, where there is none.
struct IntegerReciprocal {
  static constexpr DTypeSet kTypes = kSignedTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return x == 1 || x == -1 ? x : T(0);
  }
};
struct FloorFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::floor(x);
  }
};
struct CeilFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::ceil(x);
  }
};
struct RintFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::nearbyint(x);
  }
};
struct IntegerRound {
  static constexpr DTypeSet kTypes = kSignedTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return x;
  }
};
struct ComplexRound {
  static constexpr DTypeSet kTypes = kComplexTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return T(std::nearbyint(x.real()), std::nearbyint(x.imag()));
  }
};
struct IsNanFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x) const {
    return x != x;
  }
};
struct IsInfFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x) const {
    return std::abs(x) > std::numeric_limits<T>::max();
  }
};
struct IsFiniteFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x) const {
    return std::abs(x) <= std::numeric_limits<T>::max();
  }
};
struct InvertFunction {
  static constexpr DTypeSet kTypes = kIntegerTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return static_cast<T>(~x);
  }
};
struct PopulationCountFunction {
  static constexpr DTypeSet kTypes = kIntegerTypes;
  template <class T>
  SLUICE_HOST_DEVICE uint8_t operator()(T x) const {
    return static_cast<uint8_t>(__builtin_popcountll(static_cast<std::make_unsigned_t<T>>(x)));
  }
};
struct LogicalNotFunction {
  static constexpr DTypeSet kTypes = {DType::kBool};
  SLUICE_HOST_DEVICE bool operator()(bool x) const { return !x; }
};

}  // namespace

void AddSignKernels(KernelRegistry& k) {
  k.Add("Abs", kCpu, UnaryOnCpu<AbsFunction>());
  k.Add("Neg", kCpu, UnaryOnCpu<NegFunction>());
  k.Add("Sign", kCpu, UnaryOnCpu<SignFunction>());
  k.Add("Square", kCpu, UnaryOnCpu<SquareFunction>());
  for (const char* op : {"Reciprocal", "Inv"}) {
    k.Add(op, kCpu, UnaryOnCpu<ReciprocalFunction>());
    k.Add(op, kCpu, UnaryOnCpu<IntegerReciprocal>());
  }
  k.Add("Floor", kCpu, UnaryOnCpu<FloorFunction>());
  k.Add("Ceil", kCpu, UnaryOnCpu<CeilFunction>());
  k.Add("Rint", kCpu, UnaryOnCpu<RintFunction>());
  k.Add("Round", kCpu, UnaryOnCpu<RintFunction>());
  k.Add("Round", kCpu, UnaryOnCpu<IntegerRound>());
  k.Add("Round", kCpu, UnaryOnCpu<ComplexRound>());
  k.Add("IsNan", kCpu, UnaryOnCpu<IsNanFunction>());
  k.Add("IsInf", kCpu, UnaryOnCpu<IsInfFunction>());
  k.Add("IsFinite", kCpu, UnaryOnCpu<IsFiniteFunction>());
  k.Add("Invert", kCpu, UnaryOnCpu<InvertFunction>());
  k.Add("PopulationCount", kCpu, UnaryOnCpu<PopulationCountFunction>());
  k.Add("LogicalNot", kCpu, UnaryOnCpu<LogicalNotFunction>(kAllTypes, ""));
}

}  // namespace sluice
