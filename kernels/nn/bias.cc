// BiasAdd, BiasAddV1 and BiasAddGrad.
#include <type_traits>

#include "core/base/status.h"
#include "core/op/window.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/scalar.h"
#include "kernels/nn/channel_loops.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {
namespace {

template <typename T>
inline constexpr bool kSumsInFloat = std::is_same_v<T, float> || std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;

absl::StatusOr<ChannelLayout> LayoutOf(const Shape& shape, bool channels_first) {
  const int least = channels_first ? 3 : 1;
  if (shape.rank() < least) return InvalidArgument("value is ", shape.ToString(), ", wanted rank at least ", least);
  return ChannelLayout::Of(shape, channels_first);
}

template <typename T>
class BiasAddKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(channels_first_, IsChannelsFirst(p.node().attrs));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor &value = c.input(0), &bias = c.input(1);
    ASSIGN_OR_RETURN(ChannelLayout l, LayoutOf(value.shape(), channels_first_));
    if (bias.rank() != 1 || bias.dim(0) != l.channels) {
      return InvalidArgument("value is ", value.shape().ToString(), " with ", l.channels, " channels, but bias is ",
                             bias.shape().ToString());
    }
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, value.shape()));
    const T *x = value.data<T>(), *b = bias.data<T>();
    T* y = out->data<T>();
    ForEachElement(c, l, 0.15,
                   [=](int64_t i, int64_t channel) SLUICE_INLINE_LOOP { y[i] = scalar::Add(x[i], b[channel]); });
    return absl::OkStatus();
  }

 private:
  bool channels_first_ = false;
};

template <typename T>
class BiasAddGradKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(channels_first_, IsChannelsFirst(p.node().attrs));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& dy = c.input(0);
    ASSIGN_OR_RETURN(ChannelLayout l, LayoutOf(dy.shape(), channels_first_));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({l.channels})));
    const T* x = dy.data<T>();
    T* sums = out->data<T>();
    if constexpr (kSumsInFloat<T>) {
      auto value = [=](int64_t i, int64_t, float* v) SLUICE_INLINE_LOOP { v[0] = static_cast<float>(x[i]); };
      ASSIGN_OR_RETURN(Tensor temp, SumsByChannel<1>(c, l, value));
      const double* totals = temp.data<double>();
      for (int64_t i = 0; i < l.channels; ++i) sums[i] = static_cast<T>(static_cast<float>(totals[i]));
    } else {
      std::fill_n(sums, l.channels, T(0));
      for (int64_t o = 0; o < l.outer; ++o) {
        for (int64_t channel = 0; channel < l.channels; ++channel) {
          const T* from = x + (o * l.channels + channel) * l.inner;
          for (int64_t i = 0; i < l.inner; ++i) sums[channel] = scalar::Add(sums[channel], from[i]);
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  bool channels_first_ = false;
};

}  // namespace

void AddBiasCpu(KernelRegistry& k) {
  k.Add("BiasAdd", kCpu, KernelByType<BiasAddKernel, kArithmeticTypes.bits()>("T"));
  k.Add("BiasAddV1", kCpu, KernelByType<BiasAddKernel, kArithmeticTypes.bits()>("T"));
  k.Add("BiasAddGrad", kCpu, KernelByType<BiasAddGradKernel, kArithmeticTypes.bits()>("T"));
}

}  // namespace sluice
