// Special functions, by Eigen's (which follow Cephes).
#include <cmath>

#include "kernels/common/element_wise.h"
#include "kernels/math/exponential.h"
#include "kernels/math/topics.h"
#include "unsupported/Eigen/SpecialFunctions"

namespace sluice {
namespace {

struct Slow {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 30;
};
struct SlowWide {
  static constexpr DTypeSet kTypes = {DType::kFloat, DType::kDouble};
  static constexpr double kCostNs = 100;
};
struct ErfcFunction : Slow {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return std::erfc(x);
  }
};
struct LgammaFunction : Slow {
  // The reentrant forms: std::lgamma writes a global.
  SLUICE_HOST_DEVICE float operator()(float x) const {
    int sign;
    return lgammaf_r(x, &sign);
  }
  SLUICE_HOST_DEVICE double operator()(double x) const {
    int sign;
    return lgamma_r(x, &sign);
  }
};
struct DigammaFunction : Slow {
  template <class T>
  T operator()(T x) const {
    return Eigen::numext::digamma(x);
  }
};
struct Atan2Function : Slow {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T y, T x) const {
    return std::atan2(y, x);
  }
};
struct IgammaFunction : SlowWide {
  template <class T>
  T operator()(T a, T x) const {
    return Eigen::numext::igamma(a, x);
  }
};
struct IgammacFunction : SlowWide {
  template <class T>
  T operator()(T a, T x) const {
    return Eigen::numext::igammac(a, x);
  }
};
struct IgammaGradAFunction : SlowWide {
  template <class T>
  T operator()(T a, T x) const {
    return Eigen::numext::igamma_der_a(a, x);
  }
};
struct ZetaFunction : SlowWide {
  template <class T>
  T operator()(T x, T q) const {
    return Eigen::numext::zeta(x, q);
  }
};
struct PolygammaFunction : SlowWide {
  template <class T>
  T operator()(T n, T x) const {
    return Eigen::numext::polygamma(n, x);
  }
};
struct BesselI0eFunction : Slow {
  template <class T>
  T operator()(T x) const {
    return Eigen::numext::bessel_i0e(x);
  }
};
struct BesselI1eFunction : Slow {
  template <class T>
  T operator()(T x) const {
    return Eigen::numext::bessel_i1e(x);
  }
};
struct NextAfterFunction : SlowWide {
  template <class T>
  T operator()(T x, T y) const {
    return std::nextafter(x, y);
  }
};
struct GammaGradFunction : SlowWide {
  template <class T>
  T operator()(T alpha, T sample) const {
    return Eigen::numext::gamma_sample_der_alpha(alpha, sample);
  }
};

}  // namespace

void AddSpecialFunctionKernels(KernelRegistry& k) {
  k.Add("Erfc", kCpu, UnaryOnCpu<ErfcFunction>());
  k.Add("Lgamma", kCpu, UnaryOnCpu<LgammaFunction>());
  k.Add("Digamma", kCpu, UnaryOnCpu<DigammaFunction>());
  k.Add("BesselI0e", kCpu, UnaryOnCpu<BesselI0eFunction>());
  k.Add("BesselI1e", kCpu, UnaryOnCpu<BesselI1eFunction>());
  k.Add("NextAfter", kCpu, BinaryOnCpu<NextAfterFunction>());
  k.Add("RandomGammaGrad", kCpu, BinaryOnCpu<GammaGradFunction>());
  k.Add("Atan2", kCpu, BinaryOnCpu<Atan2Function>());
  k.Add("Igamma", kCpu, BinaryOnCpu<IgammaFunction>());
  k.Add("Igammac", kCpu, BinaryOnCpu<IgammacFunction>());
  k.Add("IgammaGradA", kCpu, BinaryOnCpu<IgammaGradAFunction>());
  k.Add("Zeta", kCpu, BinaryOnCpu<ZetaFunction>());
  k.Add("Polygamma", kCpu, BinaryOnCpu<PolygammaFunction>());
}

}  // namespace sluice
