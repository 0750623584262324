// Samplers that reject: gamma (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000), Poisson
// (Knuth below a mean of 10, Hoermann's transformed rejection "The transformed rejection method for generating Poisson
// random variables", 1993, above) and the truncated normal with parameters (Robert, "Simulation of truncated normal
// variables", 1995). Each output has 256 blocks of the counter of its own, so results do not depend on how the work is
// split.
#include <cmath>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/random/fill.h"
#include "kernels/random/random_state.h"
#include "kernels/random/topics.h"

namespace sluice {
namespace {

constexpr uint64_t kBlocksOfOutput = 256;

// Groups of a distribution handed out one number at a time, the last first.
template <class D>
class OneByOne {
 public:
  explicit OneByOne(Philox4x32* gen) : gen_(gen) {}
  typename D::Type Next() {
    if (left_ == 0) {
      D().Fill(gen_->Next().data(), group_);
      left_ = D::kGroup;
    }
    return group_[--left_];
  }

 private:
  Philox4x32* gen_;
  typename D::Type group_[D::kGroup];
  int left_ = 0;
};

double DrawGamma(double alpha, Philox4x32 gen) {
  OneByOne<Uniform<double>> uniform(&gen);
  if (alpha == 1.0) return -std::log1p(-uniform.Next());
  OneByOne<Normal<double>> normal(&gen);
  // Below 1 the variable of alpha + 1 is drawn and scaled by u^(1 / alpha).
  const bool boosted = alpha < 1;
  const double d = alpha + (boosted ? 2.0 / 3 : -1.0 / 3), c = 1.0 / 3 / std::sqrt(d);
  while (true) {
    const double x = normal.Next();
    double v = 1 + c * x;
    if (v <= 0) continue;
    v = v * v * v;
    const double u = uniform.Next();
    if (u < 1 - 0.0331 * (x * x) * (x * x) || std::log(u) < 0.5 * x * x + d * (1 - v + std::log(v))) {
      return boosted ? d * v * std::pow(uniform.Next(), 1 / alpha) : d * v;
    }
  }
}

template <class C>
C DrawPoisson(C rate, C most, Philox4x32 gen) {
  if (!std::isfinite(rate) || rate < 0) return std::numeric_limits<C>::quiet_NaN();
  if (rate > most) return most;  // No draw would ever fit the output's type.
  OneByOne<Uniform<C>> uniform(&gen);
  if (rate < 10) {
    const C enough = std::exp(-rate);
    C product = 1, n = 0;
    while (true) {
      product *= uniform.Next();
      if (product <= enough && n <= most) return n;
      n += 1;
    }
  }
  const C log_rate = std::log(rate);
  const C b = C(0.931) + C(2.53) * std::sqrt(rate), a = C(-0.059) + C(0.02483) * b;
  const C inverse_alpha = C(1.1239) + C(1.1328) / (b - C(3.4));
  while (true) {
    const C u = uniform.Next() - C(0.5), v = uniform.Next();
    const C us = C(0.5) - std::abs(u);
    const C k = std::floor((C(2) * a / us + b) * u + rate + C(0.43));
    if (k > most) continue;
    if (us >= C(0.07) && v <= C(0.9277) - C(3.6224) / (b - C(2))) return k;
    if (k < 0 || (us < C(0.013) && v > us)) continue;
    int sign;
    const double log_factorial = lgamma_r(static_cast<double>(k) + 1, &sign);
    const C s = std::log(v * inverse_alpha / (a / (us * us) + b));
    if (s <= -rate + k * log_rate - static_cast<C>(log_factorial)) return k;
  }
}

// Normal of mean 0 and deviation 1 within [low, high].
double DrawTruncated(double low, double high, Philox4x32 gen) {
  OneByOne<Uniform<double>> uniform(&gen);
  OneByOne<Normal<double>> normal(&gen);
  if (low <= 0 && high >= 0 && high - low > std::sqrt(2 * M_PI)) {
    while (true) {
      const double z = normal.Next();
      if (z >= low && z <= high) return z;
    }
  }
  if (low > 0 || high < 0) {
    // On one side of the mean: an exponential from the nearer bound, mirrored when that is the upper one.
    const double near = low > 0 ? low : -high, far = low > 0 ? high : -low;
    const double rate = (near + std::sqrt(near * near + 4)) / 2;
    if (far - near > 1 / rate) {
      while (true) {
        const double z = near - std::log1p(-uniform.Next()) / rate;
        if (z <= far && uniform.Next() <= std::exp(-(z - rate) * (z - rate) / 2)) return low > 0 ? z : -z;
      }
    }
  }
  // A narrow interval: uniform, kept by the ratio of the density to its greatest value there.
  const double peak = low > 0 ? low : (high < 0 ? high : 0);
  while (true) {
    const double z = low + (high - low) * uniform.Next();
    if (uniform.Next() <= std::exp((peak * peak - z * z) / 2)) return z;
  }
}

Shape Joined(const Shape& a, const Shape& b) {
  Shape s = a;
  for (int64_t d : b.dims()) s.AddDim(d);
  return s;
}

template <class T>
class GammaKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(state_, RandomState::Of(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(c.input(0)));
    const Tensor alpha = c.input(1);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Joined(shape, alpha.shape())));
    const int64_t samples = shape.num_elements(), alphas = alpha.num_elements();
    const Philox4x32 base = state_->ReserveOutputs(samples * alphas);
    c.ParallelFor(samples * alphas, 100, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        Philox4x32 gen = base;
        gen.Skip(kBlocksOfOutput * static_cast<uint64_t>(i));
        const int64_t which = i / samples, sample = i % samples;
        out->data<T>()[sample * alphas + which] =
            static_cast<T>(DrawGamma(static_cast<double>(alpha.data<T>()[which]), gen));
      }
    });
    return absl::OkStatus();
  }

 private:
  RefPtr<RandomState> state_;
};

class PoissonKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(state_, RandomState::Of(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(c.input(0)));
    const Tensor rate = c.input(1);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Joined(shape, rate.shape())));
    const int64_t samples = shape.num_elements(), rates = rate.num_elements();
    const Philox4x32 base = state_->ReserveOutputs(samples * rates);
    constexpr DTypeSet kTypes = {DType::kHalf, DType::kFloat, DType::kDouble, DType::kInt32, DType::kInt64};
    std::vector<double> means(static_cast<size_t>(rates));
    Dispatch<kTypes.bits()>(rate.dtype(), [&](auto tag) {
      using R = typename decltype(tag)::type;
      for (int64_t i = 0; i < rates; ++i) means[i] = static_cast<double>(rate.data<R>()[i]);
    });
    const bool narrow = rate.dtype() == DType::kHalf || rate.dtype() == DType::kFloat;
    Dispatch<kTypes.bits()>(out->dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const double most = static_cast<double>(std::numeric_limits<T>::max());
      c.ParallelFor(samples * rates, 100, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          Philox4x32 gen = base;
          gen.Skip(kBlocksOfOutput * static_cast<uint64_t>(i));
          const int64_t which = i / samples, sample = i % samples;
          const double n = narrow ? DrawPoisson<float>(static_cast<float>(means[which]), static_cast<float>(most), gen)
                                  : DrawPoisson<double>(means[which], most, gen);
          T& y = out->data<T>()[sample * rates + which];
          if (std::is_integral_v<T> && !(n >= 0 && n < most)) {
            y = n >= 0 ? std::numeric_limits<T>::max() : T(0);  // The largest one, or not a number.
          } else {
            y = static_cast<T>(n);
          }
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  RefPtr<RandomState> state_;
};

template <class T>
class ParameterizedTruncatedNormalKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(state_, RandomState::Of(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(c.input(0)));
    if (shape.rank() == 0) return InvalidArgument("shape must have a batch dimension, found []");
    const int64_t batches = shape.dim(0);
    static constexpr const char* kNames[] = {"means", "stdevs", "minvals", "maxvals"};
    for (int i = 1; i <= 4; ++i) {
      const Tensor& t = c.input(i);
      if (t.num_elements() != 1 && (t.rank() != 1 || t.dim(0) != batches)) {
        return InvalidArgument(kNames[i - 1], " must be a scalar or have ", batches, " elements, found shape ",
                               t.shape().ToString());
      }
    }
    auto parameter = [&](int i, int64_t batch) {
      const Tensor& t = c.input(i);
      return static_cast<double>(t.data<T>()[t.num_elements() == 1 ? 0 : batch]);
    };
    for (int64_t b = 0; b < batches; ++b) {
      if (!(parameter(2, b) > 0)) return InvalidArgument("stdevs must be positive, found ", parameter(2, b));
      if (!(parameter(3, b) < parameter(4, b))) {
        return InvalidArgument("minvals must be below maxvals, found ", parameter(3, b), " and ", parameter(4, b));
      }
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (shape.num_elements() == 0) return absl::OkStatus();
    const int64_t of_batch = shape.num_elements() / batches;
    const Philox4x32 base = state_->ReserveOutputs(shape.num_elements());
    c.ParallelFor(shape.num_elements(), 150, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / of_batch;
        const double mean = parameter(1, b), deviation = parameter(2, b);
        Philox4x32 gen = base;
        gen.Skip(kBlocksOfOutput * static_cast<uint64_t>(i));
        const double z = DrawTruncated((parameter(3, b) - mean) / deviation, (parameter(4, b) - mean) / deviation, gen);
        out->data<T>()[i] = static_cast<T>(mean + deviation * z);
      }
    });
    return absl::OkStatus();
  }

 private:
  RefPtr<RandomState> state_;
};

}  // namespace

void AddSamplerKernels(KernelRegistry& k) {
  constexpr DTypeSet kGamma = {DType::kHalf, DType::kFloat, DType::kDouble};
  k.Add("RandomGamma", kCpu, KernelByType<GammaKernel, kGamma.bits()>("T"));
  k.Add("RandomPoissonV2", kCpu, KernelDef().Make<PoissonKernel>());
  k.Add("ParameterizedTruncatedNormal", kCpu,
        KernelByType<ParameterizedTruncatedNormalKernel, kFloatingTypes.bits()>("dtype"));
}

}  // namespace sluice
