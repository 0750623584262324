// FusedBatchNorm, V2 and V3, and their gradients. Statistics are float whatever the type of x. batch_variance is the
// unbiased estimate that moving averages want; reserve_space_2 the plain variance that the gradient wants.
#include <cmath>

#include "core/base/status.h"
#include "core/op/window.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/nn/channel_loops.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {
namespace {

constexpr DTypeSet kTypes = {DType::kFloat, DType::kHalf, DType::kBfloat16};

struct BatchNormAttrs {
  bool training = true, channels_first = false;
  float epsilon = 0;

  absl::Status Read(const PrepareContext& p) {
    ASSIGN_OR_RETURN(training, p.Attr<bool>("is_training"));
    ASSIGN_OR_RETURN(epsilon, p.Attr<float>("epsilon"));
    ASSIGN_OR_RETURN(channels_first, IsChannelsFirst(p.node().attrs));
    return absl::OkStatus();
  }
};

absl::Status WantChannels(absl::string_view name, const Tensor& t, int64_t channels) {
  if (t.rank() == 1 && t.dim(0) == channels) return absl::OkStatus();
  return InvalidArgument(name, " is ", t.shape().ToString(), ", wanted [", channels, "], one for each channel of x");
}

absl::Status WantImage(absl::string_view name, const Tensor& t) {
  if (t.rank() == 4) return absl::OkStatus();
  return InvalidArgument(name, " is ", t.shape().ToString(), ", wanted rank 4");
}

template <typename T>
class BatchNormKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override { return attrs_.Read(p); }

  absl::Status Run(KernelContext& c) const override {
    const Tensor& x = c.input(0);
    RETURN_IF_ERROR(WantImage("x", x));
    const ChannelLayout l = ChannelLayout::Of(x.shape(), attrs_.channels_first);
    RETURN_IF_ERROR(WantChannels("scale", c.input(1), l.channels));
    RETURN_IF_ERROR(WantChannels("offset", c.input(2), l.channels));
    if (!attrs_.training) {
      RETURN_IF_ERROR(WantChannels("mean", c.input(3), l.channels));
      RETURN_IF_ERROR(WantChannels("variance", c.input(4), l.channels));
    }
    float* stats[5] = {};  // by output: 1 mean, 2 unbiased variance, 3 mean, 4 variance
    for (int i = 1; i <= 4; ++i) {
      ASSIGN_OR_RETURN(Tensor * t, c.Allocate(i, Shape({l.channels})));
      stats[i] = t->data<float>();
    }
    if (c.num_outputs() > 5) RETURN_IF_ERROR(c.Allocate(5, Shape({0})).status());
    if (attrs_.training) {
      RETURN_IF_ERROR(BatchStatistics(c, l, x.data<T>(), stats[1], stats[4], stats[2]));
    } else {
      std::copy_n(c.input(3).data<float>(), l.channels, stats[1]);
      std::copy_n(c.input(4).data<float>(), l.channels, stats[4]);
      std::copy_n(stats[4], l.channels, stats[2]);
    }
    std::copy_n(stats[1], l.channels, stats[3]);
    ASSIGN_OR_RETURN(Tensor temp, c.AllocateTemp(DType::kFloat, Shape({2 * l.channels})));
    float *factor = temp.data<float>(), *term = factor + l.channels;
    for (int64_t i = 0; i < l.channels; ++i) {
      factor[i] = c.input(1).data<float>()[i] / std::sqrt(stats[4][i] + attrs_.epsilon);
      term[i] = c.input(2).data<float>()[i];
    }
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, x.shape()));
    const T* from = x.data<T>();
    T* y = out->data<T>();
    const float *a = factor, *b = term, *mean = stats[1];
    ForEachElement(c, l, 0.2, [=](int64_t i, int64_t channel) SLUICE_INLINE_LOOP {
      y[i] = static_cast<T>((static_cast<float>(from[i]) - mean[channel]) * a[channel] + b[channel]);
    });
    return absl::OkStatus();
  }

 private:
  // Two passes: the squares are taken of differences to the mean, so large means lose nothing.
  absl::Status BatchStatistics(KernelContext& c, const ChannelLayout& l, const T* x, float* mean, float* variance,
                               float* unbiased) const {
    const double n = static_cast<double>(l.per_channel());
    auto value = [=](int64_t i, int64_t, float* v) SLUICE_INLINE_LOOP { v[0] = static_cast<float>(x[i]); };
    ASSIGN_OR_RETURN(Tensor sums_temp, SumsByChannel<1>(c, l, value));
    const double* sums = sums_temp.data<double>();
    for (int64_t i = 0; i < l.channels; ++i) mean[i] = n > 0 ? static_cast<float>(sums[i] / n) : 0;
    auto square = [=](int64_t i, int64_t channel, float* v) SLUICE_INLINE_LOOP {
      const float d = static_cast<float>(x[i]) - mean[channel];
      v[0] = d * d;
    };
    ASSIGN_OR_RETURN(Tensor squares_temp, SumsByChannel<1>(c, l, square));
    const double* squares = squares_temp.data<double>();
    for (int64_t i = 0; i < l.channels; ++i) {
      variance[i] = n > 0 ? static_cast<float>(squares[i] / n) : 0;
      unbiased[i] = n > 1 ? static_cast<float>(squares[i] / (n - 1)) : variance[i];
    }
    return absl::OkStatus();
  }

  BatchNormAttrs attrs_;
};

template <typename T>
class BatchNormGradKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override { return attrs_.Read(p); }

  absl::Status Run(KernelContext& c) const override {
    const Tensor &dy = c.input(0), &x = c.input(1);
    RETURN_IF_ERROR(WantImage("x", x));
    if (dy.shape() != x.shape()) {
      return InvalidArgument("y_backprop is ", dy.shape().ToString(), ", wanted the shape of x, ",
                             x.shape().ToString());
    }
    const ChannelLayout l = ChannelLayout::Of(x.shape(), attrs_.channels_first);
    RETURN_IF_ERROR(WantChannels("scale", c.input(2), l.channels));
    RETURN_IF_ERROR(WantChannels("reserve_space_1", c.input(3), l.channels));
    RETURN_IF_ERROR(WantChannels("reserve_space_2", c.input(4), l.channels));
    ASSIGN_OR_RETURN(Tensor * dscale, c.Allocate(1, Shape({l.channels})));
    ASSIGN_OR_RETURN(Tensor * doffset, c.Allocate(2, Shape({l.channels})));
    RETURN_IF_ERROR(c.Allocate(3, Shape({0})).status());
    RETURN_IF_ERROR(c.Allocate(4, Shape({0})).status());

    const T *g = dy.data<T>(), *in = x.data<T>();
    const float *scale = c.input(2).data<float>(), *mean = c.input(3).data<float>(),
                *variance = c.input(4).data<float>();
    ASSIGN_OR_RETURN(Tensor temp, c.AllocateTemp(DType::kFloat, Shape({4 * l.channels})));
    float *inverse = temp.data<float>(), *p = inverse + l.channels, *q = p + l.channels, *r = q + l.channels;
    for (int64_t i = 0; i < l.channels; ++i) inverse[i] = 1 / std::sqrt(variance[i] + attrs_.epsilon);
    auto gradients = [=](int64_t i, int64_t channel, float* v) SLUICE_INLINE_LOOP {
      const float gradient = static_cast<float>(g[i]);
      v[0] = gradient;
      v[1] = gradient * (static_cast<float>(in[i]) - mean[channel]);
    };
    ASSIGN_OR_RETURN(Tensor sums_temp, SumsByChannel<2>(c, l, gradients));
    const double* sums = sums_temp.data<double>();
    // x_backprop = p * dy - q * (x - mean) - r
    const double n = static_cast<double>(l.per_channel());
    for (int64_t i = 0; i < l.channels; ++i) {
      doffset->data<float>()[i] = static_cast<float>(sums[i]);
      dscale->data<float>()[i] = static_cast<float>(sums[l.channels + i] * inverse[i]);
      p[i] = scale[i] * inverse[i];
      q[i] = r[i] = 0;
      if (!attrs_.training || n == 0) continue;
      q[i] = static_cast<float>(p[i] * inverse[i] * inverse[i] * sums[l.channels + i] / n);
      r[i] = static_cast<float>(p[i] * sums[i] / n);
    }
    ASSIGN_OR_RETURN(Tensor * dx, c.ForwardOrAllocate(0, 0, x.shape()));
    T* to = dx->data<T>();
    const float *pp = p, *qq = q, *rr = r;
    ForEachElement(c, l, 0.25, [=](int64_t i, int64_t channel) SLUICE_INLINE_LOOP {
      to[i] = static_cast<T>(pp[channel] * static_cast<float>(g[i]) -
                             qq[channel] * (static_cast<float>(in[i]) - mean[channel]) - rr[channel]);
    });
    return absl::OkStatus();
  }

 private:
  BatchNormAttrs attrs_;
};

}  // namespace

void AddBatchNormCpu(KernelRegistry& k) {
  for (const char* op : {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}) {
    k.Add(op, kCpu, KernelByType<BatchNormKernel, kTypes.bits()>("T"));
  }
  for (const char* op : {"FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3"}) {
    k.Add(op, kCpu, KernelByType<BatchNormGradKernel, kTypes.bits()>("T"));
  }
}

}  // namespace sluice
