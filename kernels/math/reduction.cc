// Sums, products, extremes and truth over axes.
#include <cmath>
#include <limits>

#include "kernels/common/reduce.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

// What reducers have in common that carry elements as they are.
template <class T>
struct PlainReducer {
  using Sum = ReduceWide<T>;
  SLUICE_HOST_DEVICE static Sum Load(T x) { return static_cast<Sum>(x); }
  SLUICE_HOST_DEVICE static T Finish(Sum s, int64_t) { return static_cast<T>(s); }
  static constexpr bool kJoinsVectors = true;
  static constexpr bool kAdds = false;
  template <class V>
  SLUICE_HOST_DEVICE static void LoadVector(V&) {}
};
template <class T>
struct SumReducer : PlainReducer<T> {
  using Sum = ReduceWide<T>;
  SLUICE_HOST_DEVICE static Sum Start() { return Sum(0); }
  SLUICE_HOST_DEVICE static Sum Join(Sum a, Sum b) { return scalar::Add(a, b); }
  static constexpr bool kAdds = true;
  template <class V>
  SLUICE_HOST_DEVICE static void JoinVector(V& a, const V& b) {
    a = a + b;
  }
};
template <class T>
struct MeanReducer : SumReducer<T> {
  using Sum = ReduceWide<T>;
  SLUICE_HOST_DEVICE static T Finish(Sum s, int64_t count) {
    if constexpr (std::is_integral_v<T>) {
      // The sum has wrapped to T; so does the count.
      const T n = static_cast<T>(count);
      return n == 0 ? T(0) : scalar::Div(s, n);
    } else if constexpr (scalar::kIsComplex<T>) {
      return s / static_cast<typename T::value_type>(count);
    } else {
      return static_cast<T>(s / static_cast<Sum>(count));
    }
  }
};
template <class T>
struct ProdReducer : PlainReducer<T> {
  using Sum = ReduceWide<T>;
  SLUICE_HOST_DEVICE static Sum Start() { return Sum(1); }
  SLUICE_HOST_DEVICE static Sum Join(Sum a, Sum b) { return scalar::Mul(a, b); }
  template <class V>
  SLUICE_HOST_DEVICE static void JoinVector(V& a, const V& b) {
    a = a * b;
  }
};
template <class T>
struct NormReducer {
  using Sum = ReduceWide<T>;
  SLUICE_HOST_DEVICE static Sum Start() { return Sum(0); }
  SLUICE_HOST_DEVICE static Sum Load(T x) {
    const Sum v = static_cast<Sum>(x);
    return scalar::Mul(v, scalar::Conj(v));
  }
  SLUICE_HOST_DEVICE static Sum Join(Sum a, Sum b) { return scalar::Add(a, b); }
  static constexpr bool kJoinsVectors = true;
  static constexpr bool kAdds = false;
  template <class V>
  SLUICE_HOST_DEVICE static void LoadVector(V& x) {
    x = x * x;
  }
  template <class V>
  SLUICE_HOST_DEVICE static void JoinVector(V& a, const V& b) {
    a = a + b;
  }
  SLUICE_HOST_DEVICE static T Finish(Sum s, int64_t) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<T>(std::sqrt(static_cast<double>(s)));
    } else {
      return static_cast<T>(std::sqrt(s));
    }
  }
};
template <class T>
struct MaxReducer : PlainReducer<T> {
  using Sum = ReduceWide<T>;
  SLUICE_HOST_DEVICE static Sum Start() {
    return std::numeric_limits<Sum>::has_infinity ? static_cast<Sum>(-std::numeric_limits<Sum>::infinity())
                                                  : std::numeric_limits<Sum>::lowest();
  }
  SLUICE_HOST_DEVICE static Sum Join(Sum a, Sum b) { return b > a || b != b ? b : a; }
  template <class V>
  SLUICE_HOST_DEVICE static void JoinVector(V& a, const V& b) {
    a = (b > a) | (b != b) ? b : a;
  }
};
template <class T>
struct MinReducer : PlainReducer<T> {
  using Sum = ReduceWide<T>;
  SLUICE_HOST_DEVICE static Sum Start() {
    return std::numeric_limits<Sum>::has_infinity ? std::numeric_limits<Sum>::infinity()
                                                  : std::numeric_limits<Sum>::max();
  }
  SLUICE_HOST_DEVICE static Sum Join(Sum a, Sum b) { return b < a || b != b ? b : a; }
  template <class V>
  SLUICE_HOST_DEVICE static void JoinVector(V& a, const V& b) {
    a = (b < a) | (b != b) ? b : a;
  }
};
template <class T>
struct AllReducer {
  using Sum = bool;
  SLUICE_HOST_DEVICE static bool Start() { return true; }
  SLUICE_HOST_DEVICE static bool Load(bool x) { return x; }
  SLUICE_HOST_DEVICE static bool Join(bool a, bool b) { return a & b; }
  SLUICE_HOST_DEVICE static bool Finish(bool s, int64_t) { return s; }
};
template <class T>
struct AnyReducer {
  using Sum = bool;
  SLUICE_HOST_DEVICE static bool Start() { return false; }
  SLUICE_HOST_DEVICE static bool Load(bool x) { return x; }
  SLUICE_HOST_DEVICE static bool Join(bool a, bool b) { return a | b; }
  SLUICE_HOST_DEVICE static bool Finish(bool s, int64_t) { return s; }
};

}  // namespace

void AddReductionKernels(KernelRegistry& k) {
  constexpr uint32_t kBool = DTypeSet{DType::kBool}.bits();
  k.Add("Sum", kCpu, ReduceOnCpu<SumReducer, kArithmeticTypes.bits()>());
  k.Add("Mean", kCpu, ReduceOnCpu<MeanReducer, kArithmeticTypes.bits()>());
  k.Add("Prod", kCpu, ReduceOnCpu<ProdReducer, kArithmeticTypes.bits()>());
  k.Add("EuclideanNorm", kCpu, ReduceOnCpu<NormReducer, kArithmeticTypes.bits()>());
  k.Add("Max", kCpu, ReduceOnCpu<MaxReducer, kRealTypes.bits()>());
  k.Add("Min", kCpu, ReduceOnCpu<MinReducer, kRealTypes.bits()>());
  k.Add("All", kCpu, ReduceOnCpu<AllReducer, kBool>(""));
  k.Add("Any", kCpu, ReduceOnCpu<AnyReducer, kBool>(""));
}

}  // namespace sluice
