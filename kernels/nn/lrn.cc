// Local response normalization over channels, the last dimension.
#include <algorithm>
#include <cmath>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {
namespace {

constexpr DTypeSet kTypes = {DType::kFloat, DType::kHalf, DType::kBfloat16};

struct LrnAttrs {
  int64_t radius = 0;
  float bias = 1, alpha = 1, beta = 0.5;
  absl::Status Read(const PrepareContext& p) {
    ASSIGN_OR_RETURN(radius, p.Attr<int64_t>("depth_radius"));
    if (radius < 0) return InvalidArgument("depth_radius is ", radius, ", wanted at least 0");
    ASSIGN_OR_RETURN(bias, p.Attr<float>("bias"));
    ASSIGN_OR_RETURN(alpha, p.Attr<float>("alpha"));
    ASSIGN_OR_RETURN(beta, p.Attr<float>("beta"));
    return absl::OkStatus();
  }
  // bias + alpha * (squares of the channels within radius), for each channel of a row.
  template <typename T>
  void Norms(const T* x, int64_t channels, float* norms) const {
    const int64_t reach = std::min(radius, channels);
    double sum = 0;
    auto square = [x](int64_t i) {
      const double v = static_cast<float>(x[i]);
      return v * v;
    };
    for (int64_t i = 0; i < std::min(reach, channels); ++i) sum += square(i);
    for (int64_t i = 0; i < channels; ++i) {
      if (i + reach < channels) sum += square(i + reach);
      norms[i] = static_cast<float>(bias + alpha * std::max(sum, 0.0));
      if (i - reach >= 0) sum -= square(i - reach);
    }
  }
};

template <typename T>
class LrnKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override { return attrs_.Read(p); }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& input = c.input(0);
    if (input.rank() != 4) return InvalidArgument("input is ", input.shape().ToString(), ", wanted rank 4");
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, input.shape()));
    const int64_t channels = input.dim(3), rows = channels == 0 ? 0 : input.num_elements() / channels;
    c.ParallelFor(rows, 20.0 * channels, [&](int64_t begin, int64_t end) {
      std::vector<float> norms(channels);
      for (int64_t r = begin; r < end; ++r) {
        const T* x = input.data<T>() + r * channels;
        T* y = out->data<T>() + r * channels;
        attrs_.Norms(x, channels, norms.data());
        for (int64_t i = 0; i < channels; ++i)
          y[i] = static_cast<T>(static_cast<float>(x[i]) * std::pow(norms[i], -attrs_.beta));
      }
    });
    return absl::OkStatus();
  }

 private:
  LrnAttrs attrs_;
};

// With y_j = x_j * n_j^-beta and n_j = bias + alpha * sum_{|i-j| <= radius} x_i^2:
//   dx_i = g_i * n_i^-beta - 2 * alpha * beta * x_i * sum_{|i-j| <= radius} g_j * y_j / n_j
template <typename T>
class LrnGradKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override { return attrs_.Read(p); }
  absl::Status Run(KernelContext& c) const override {
    const Tensor &grads = c.input(0), &input = c.input(1), &output = c.input(2);
    if (input.rank() != 4 || grads.shape() != input.shape() || output.shape() != input.shape()) {
      return InvalidArgument("input_grads, input_image and output_image are ", grads.shape().ToString(), ", ",
                             input.shape().ToString(), " and ", output.shape().ToString(),
                             ", wanted one shape of rank 4");
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, input.shape()));
    const int64_t channels = input.dim(3), rows = channels == 0 ? 0 : input.num_elements() / channels;
    const int64_t reach = std::min(attrs_.radius, channels);
    c.ParallelFor(rows, 25.0 * channels, [&](int64_t begin, int64_t end) {
      std::vector<float> norms(channels), shares(channels);
      for (int64_t r = begin; r < end; ++r) {
        const int64_t at = r * channels;
        const T *x = input.data<T>() + at, *g = grads.data<T>() + at, *y = output.data<T>() + at;
        T* dx = out->data<T>() + at;
        attrs_.Norms(x, channels, norms.data());
        for (int64_t i = 0; i < channels; ++i)
          shares[i] = static_cast<float>(g[i]) * static_cast<float>(y[i]) / norms[i];
        for (int64_t i = 0; i < channels; ++i) {
          double sum = 0;
          for (int64_t j = std::max<int64_t>(i - reach, 0); j < std::min(i + reach + 1, channels); ++j)
            sum += shares[j];
          dx[i] = static_cast<T>(static_cast<float>(g[i]) * std::pow(norms[i], -attrs_.beta) -
                                 2 * attrs_.alpha * attrs_.beta * static_cast<float>(x[i]) * static_cast<float>(sum));
        }
      }
    });
    return absl::OkStatus();
  }

 private:
  LrnAttrs attrs_;
};

}  // namespace

void AddLrnCpu(KernelRegistry& k) {
  k.Add("LRN", kCpu, KernelByType<LrnKernel, kTypes.bits()>("T"));
  k.Add("LRNGrad", kCpu, KernelByType<LrnGradKernel, kTypes.bits()>("T"));
}

}  // namespace sluice
