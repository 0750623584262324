// Tensors of one distribution, from the state of the op or from a seed.
#include "kernels/random/fill.h"

#include "kernels/common/type_dispatch.h"
#include "kernels/random/random_state.h"
#include "kernels/random/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kInts = {DType::kInt32, DType::kInt64};

template <template <class> class D>
class FillKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(state_, RandomState::Of(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(c.input(0)));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    const Philox4x32 gen = state_->ReserveOutputs(shape.num_elements());
    Dispatch<kFloatingTypes.bits()>(out->dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      FillRandom(c, gen, D<T>(), out->data<T>(), shape.num_elements());
    });
    return absl::OkStatus();
  }

 private:
  RefPtr<RandomState> state_;
};

template <class T>
class UniformIntKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(state_, RandomState::Of(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(c.input(0)));
    if (shape.num_elements() == 0) return c.Allocate(0, shape).status();
    ASSIGN_OR_RETURN(UniformInt<T> d, IntegersBetween<T>(c.input(1), c.input(2)));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    FillRandom(c, state_->ReserveOutputs(shape.num_elements()), d, out->data<T>(), shape.num_elements());
    return absl::OkStatus();
  }

 private:
  RefPtr<RandomState> state_;
};

// The seed mixed by one pass of the generator, so that neighbouring seeds are as good as random ones.
absl::StatusOr<Philox4x32> FromSeed(const Tensor& seed) {
  if (seed.rank() != 1 || seed.num_elements() != 2)
    return InvalidArgument("seed must be two integers, found shape ", seed.shape().ToString());
  const auto s0 = static_cast<uint64_t>(seed.IntAt(0)), s1 = static_cast<uint64_t>(seed.IntAt(1));
  Philox4x32 mixer(0x02461e293ec8f720, s1);
  mixer.Skip(s0);
  const std::array<uint32_t, 4> mix = mixer.Next();
  return Philox4x32(static_cast<uint64_t>(mix[1]) << 32 | mix[0], static_cast<uint64_t>(mix[3]) << 32 | mix[2]);
}

template <template <class> class D>
class StatelessKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(c.input(0)));
    ASSIGN_OR_RETURN(const Philox4x32 gen, FromSeed(c.input(1)));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    Dispatch<kFloatingTypes.bits()>(out->dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      FillRandom(c, gen, D<T>(), out->data<T>(), shape.num_elements());
    });
    return absl::OkStatus();
  }
};

template <class T>
class StatelessIntKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Shape shape, ShapeFromTensor(c.input(0)));
    ASSIGN_OR_RETURN(const Philox4x32 gen, FromSeed(c.input(1)));
    ASSIGN_OR_RETURN(UniformInt<T> d, IntegersBetween<T>(c.input(2), c.input(3)));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    FillRandom(c, gen, d, out->data<T>(), shape.num_elements());
    return absl::OkStatus();
  }
};

// Classes drawn by their unnormalised log-probabilities: the cumulative sums of exp(logit - greatest), searched for a
// uniform number.
class MultinomialKernel : public Kernel {
 public:
  explicit MultinomialKernel(bool stateless) : stateless_(stateless) {}
  absl::Status Prepare(PrepareContext& p) override {
    if (!stateless_) {
      ASSIGN_OR_RETURN(state_, RandomState::Of(p));
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor logits = c.input(0);
    if (logits.rank() != 2) return InvalidArgument("logits must be a matrix, found shape ", logits.shape().ToString());
    if (c.input(1).num_elements() != 1)
      return InvalidArgument("num_samples must be a scalar, found shape ", c.input(1).shape().ToString());
    const int64_t rows = logits.dim(0), classes = logits.dim(1), samples = c.input(1).IntAt(0);
    if (samples < 0) return InvalidArgument("num_samples must not be negative, found ", samples);
    if (classes == 0)
      return InvalidArgument("there are no classes to draw from: logits has shape ", logits.shape().ToString());
    Philox4x32 gen(0);
    if (stateless_) {
      ASSIGN_OR_RETURN(gen, FromSeed(c.input(2)));
    } else {
      gen = state_->ReserveOutputs(rows * ((samples + 3) / 4 * 4) * 2);
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({rows, samples})));
    PhiloxStream stream(gen);
    std::vector<double> row(static_cast<size_t>(classes)), cumulative(row.size());
    for (int64_t r = 0; r < rows; ++r) {
      Dispatch<kRealTypes.bits()>(logits.dtype(), [&](auto tag) {
        using T = typename decltype(tag)::type;
        for (int64_t j = 0; j < classes; ++j) row[j] = static_cast<double>(logits.data<T>()[r * classes + j]);
      });
      double most = -std::numeric_limits<double>::max(), total = 0;
      for (double v : row) {
        if (std::isfinite(v)) most = std::max(most, v);
      }
      for (int64_t j = 0; j < classes; ++j) {
        if (std::isfinite(row[j])) total += std::exp(row[j] - most);
        cumulative[j] = total;
      }
      for (int64_t s = 0; s < samples; ++s) {
        const uint32_t x0 = stream.Next(), x1 = stream.Next();
        const double wanted = UniformDouble(x0, x1) * total;
        const int64_t found = std::upper_bound(cumulative.begin(), cumulative.end(), wanted) - cumulative.begin();
        if (out->dtype() == DType::kInt32) {
          out->data<int32_t>()[r * samples + s] = static_cast<int32_t>(found);
        } else {
          out->data<int64_t>()[r * samples + s] = found;
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  bool stateless_;
  RefPtr<RandomState> state_;
};

}  // namespace

void AddFillKernels(KernelRegistry& k) {
  k.Add("RandomUniform", kCpu, KernelDef().Types("dtype", kFloatingTypes).Make<FillKernel<Uniform>>());
  k.Add("RandomStandardNormal", kCpu, KernelDef().Types("dtype", kFloatingTypes).Make<FillKernel<Normal>>());
  k.Add("TruncatedNormal", kCpu, KernelDef().Types("dtype", kFloatingTypes).Make<FillKernel<TruncatedNormal>>());
  k.Add("RandomUniformInt", kCpu, KernelByType<UniformIntKernel, kInts.bits()>("Tout"));
  k.Add("Multinomial", kCpu,
        KernelDef().Factory([](const NodeInfo&) { return std::make_unique<MultinomialKernel>(false); }));
}

void AddStatelessKernels(KernelRegistry& k) {
  k.Add("StatelessRandomUniform", kCpu, KernelDef().Types("dtype", kFloatingTypes).Make<StatelessKernel<Uniform>>());
  k.Add("StatelessRandomNormal", kCpu, KernelDef().Types("dtype", kFloatingTypes).Make<StatelessKernel<Normal>>());
  k.Add("StatelessTruncatedNormal", kCpu,
        KernelDef().Types("dtype", kFloatingTypes).Make<StatelessKernel<TruncatedNormal>>());
  k.Add("StatelessRandomUniformInt", kCpu, KernelByType<StatelessIntKernel, kInts.bits()>("dtype"));
  k.Add("StatelessMultinomial", kCpu,
        KernelDef().Factory([](const NodeInfo&) { return std::make_unique<MultinomialKernel>(true); }));
}

}  // namespace sluice
