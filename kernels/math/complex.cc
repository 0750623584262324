// Complex numbers: their parts, and the functions of ops/math that are defined for them.
#include <cmath>
#include <complex>

#include "core/base/status.h"
#include "kernels/common/element_wise.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

struct OfComplex {
  static constexpr DTypeSet kTypes = kComplexTypes;
  static constexpr double kCostNs = 15;
};
struct Length : OfComplex {
  template <class T>
  SLUICE_HOST_DEVICE auto operator()(T x) const {
    return std::abs(x);
  }
};
struct RealPart : OfComplex {
  template <class T>
  SLUICE_HOST_DEVICE auto operator()(T x) const {
    return x.real();
  }
};
struct ImagPart : OfComplex {
  template <class T>
  SLUICE_HOST_DEVICE auto operator()(T x) const {
    return x.imag();
  }
};
struct Argument : OfComplex {
  template <class T>
  SLUICE_HOST_DEVICE auto operator()(T x) const {
    return std::arg(x);
  }
};
struct Conjugate : OfComplex {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x) const {
    return scalar::Conj(x);
  }
};
struct FromParts {
  static constexpr DTypeSet kTypes = {DType::kFloat, DType::kDouble};
  template <class T>
  SLUICE_HOST_DEVICE std::complex<T> operator()(T re, T im) const {
    return {re, im};
  }
};

// The functions of <complex>, by pointer: their cost is in the calls, not here.
template <class R>
using ComplexFunction = std::complex<R> (*)(const std::complex<R>&);

template <class R>
std::complex<R> Rsqrt(const std::complex<R>& x) {
  return R(1) / std::sqrt(x);
}
template <class R>
std::complex<R> Expm1(const std::complex<R>& x) {
  // e^a cos b - 1 = (e^a - 1) cos b - 2 sin(b/2)^2, which loses nothing near 0.
  const R s = std::sin(x.imag() / 2);
  return {std::expm1(x.real()) * std::cos(x.imag()) - 2 * s * s, std::exp(x.real()) * std::sin(x.imag())};
}
template <class R>
std::complex<R> Log1p(const std::complex<R>& x) {
  const R a = x.real(), b = x.imag();
  return {R(0.5) * std::log1p(a * (2 + a) + b * b), std::atan2(b, 1 + a)};
}
template <class R>
std::complex<R> Sigmoid(const std::complex<R>& x) {
  return R(1) / (R(1) + std::exp(-x));
}

class ComplexUnaryKernel : public Kernel {
 public:
  ComplexUnaryKernel(ComplexFunction<float> f, ComplexFunction<double> d) : f_(f), d_(d) {}
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, x.shape()));
    c.ParallelFor(x.num_elements(), 20, [&](int64_t begin, int64_t end) {
      if (x.dtype() == DType::kComplex64) {
        for (int64_t i = begin; i < end; ++i) y->data<complex64>()[i] = f_(x.data<complex64>()[i]);
      } else {
        for (int64_t i = begin; i < end; ++i) y->data<complex128>()[i] = d_(x.data<complex128>()[i]);
      }
    });
    return absl::OkStatus();
  }

 private:
  ComplexFunction<float> f_;
  ComplexFunction<double> d_;
};

}  // namespace

void AddComplexKernels(KernelRegistry& k) {
  k.Add("ComplexAbs", kCpu, UnaryOnCpu<Length>());
  k.Add("Real", kCpu, UnaryOnCpu<RealPart>());
  k.Add("Imag", kCpu, UnaryOnCpu<ImagPart>());
  k.Add("Angle", kCpu, UnaryOnCpu<Argument>());
  k.Add("Conj", kCpu, UnaryOnCpu<Conjugate>());
  k.Add("Complex", kCpu, BinaryOnCpu<FromParts>());
  auto add = [&](const char* op, ComplexFunction<float> f, ComplexFunction<double> d) {
    k.Add(op, kCpu, KernelDef().Types("T", kComplexTypes).Factory([f, d](const NodeInfo&) {
      return std::make_unique<ComplexUnaryKernel>(f, d);
    }));
  };
  add("Sqrt", std::sqrt<float>, std::sqrt<double>);
  add("Rsqrt", Rsqrt<float>, Rsqrt<double>);
  add("Exp", std::exp<float>, std::exp<double>);
  add("Expm1", Expm1<float>, Expm1<double>);
  add("Log", std::log<float>, std::log<double>);
  add("Log1p", Log1p<float>, Log1p<double>);
  add("Sigmoid", Sigmoid<float>, Sigmoid<double>);
  add("Sin", std::sin<float>, std::sin<double>);
  add("Cos", std::cos<float>, std::cos<double>);
  add("Tan", std::tan<float>, std::tan<double>);
  add("Sinh", std::sinh<float>, std::sinh<double>);
  add("Cosh", std::cosh<float>, std::cosh<double>);
  add("Tanh", std::tanh<float>, std::tanh<double>);
  auto asin = [&](const char* op, auto f, auto d) { add(op, f, d); };
  asin(
      "Asin", [](const complex64& x) { return std::asin(x); }, [](const complex128& x) { return std::asin(x); });
  asin(
      "Acos", [](const complex64& x) { return std::acos(x); }, [](const complex128& x) { return std::acos(x); });
  asin(
      "Atan", [](const complex64& x) { return std::atan(x); }, [](const complex128& x) { return std::atan(x); });
  asin(
      "Asinh", [](const complex64& x) { return std::asinh(x); }, [](const complex128& x) { return std::asinh(x); });
  asin(
      "Acosh", [](const complex64& x) { return std::acosh(x); }, [](const complex128& x) { return std::acosh(x); });
  asin(
      "Atanh", [](const complex64& x) { return std::atanh(x); }, [](const complex128& x) { return std::atanh(x); });
}

}  // namespace sluice
