// MaxPoolWithArgmax and its gradients, which follow the flat indices that the forward op gave. Channels last.
#include <atomic>
#include <memory>

#include "kernels/common/type_dispatch.h"
#include "kernels/nn/nn_kernels.h"
#include "kernels/nn/pool_shape.h"

namespace sluice {
namespace {

template <typename T>
class MaxPoolWithArgmaxKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(with_batch_, p.Attr<bool>("include_batch_in_index"));
    return window_.Prepare(p, 2, -1);
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(PoolShape s, window_.ShapeFor(c, c.input(0).shape()));
    if (s.channel_window > 1) return InvalidArgument("ksize spans channels, which MaxPoolWithArgmax does not");
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, s.output));
    ASSIGN_OR_RETURN(Tensor * argmax, c.Allocate(1, s.output));
    if (argmax->dtype() == DType::kInt32 && s.batch * s.in_image() > INT32_MAX) {
      return InvalidArgument("indices of ", c.input(0).shape().ToString(), " do not fit Targmax=int32");
    }
    const bool wide = argmax->dtype() == DType::kInt64;
    c.ParallelFor(s.batch * s.out_positions(), 2.0 * s.taps() * s.channels, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t image = i / s.out_positions();
        const T* x = c.input(0).data<T>() + image * s.in_image();
        const WindowRange r = RangeOf(s, i % s.out_positions());
        for (int64_t channel = 0; channel < s.channels; ++channel) {
          int64_t best = -1;
          ForEachIn(s, r, [&](int64_t position) SLUICE_INLINE_LOOP {
            const int64_t at = position * s.channels + channel;
            if (best < 0 || x[at] > x[best]) best = at;
          });
          const int64_t out = i * s.channels + channel;
          y->data<T>()[out] = x[best];
          const int64_t index = best + (with_batch_ ? image * s.in_image() : 0);
          if (wide) {
            argmax->data<int64_t>()[out] = index;
          } else {
            argmax->data<int32_t>()[out] = static_cast<int32_t>(index);
          }
        }
      }
    });
    return absl::OkStatus();
  }

 private:
  PoolWindow window_;
  bool with_batch_ = false;
};

// Spreads or collects along argmax, an image at a time; indices that leave the image are an error.
template <typename T>
class ArgmaxGradKernel : public Kernel {
 public:
  explicit ArgmaxGradKernel(bool collect) : collect_(collect) {}
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(with_batch_, p.Attr<bool>("include_batch_in_index"));
    return window_.Prepare(p, 2, -1);
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor &input = c.input(0), &grad = c.input(1), &argmax = c.input(2);
    ASSIGN_OR_RETURN(PoolShape s, window_.ShapeFor(c, input.shape()));
    if (s.channel_window > 1) return InvalidArgument("ksize spans channels, which MaxPoolWithArgmax does not");
    RETURN_IF_ERROR(WantShape("grad", grad, collect_ ? input.shape() : s.output));
    RETURN_IF_ERROR(WantShape("argmax", argmax, s.output));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, collect_ ? s.output : input.shape()));
    const T* g = grad.data<T>();
    T* to = out->data<T>();
    if (!collect_) std::fill_n(to, out->num_elements(), T(0));
    std::atomic<int64_t> bad{-1};
    c.ParallelFor(s.batch, 2.0 * s.out_image(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * s.out_image(); i < end * s.out_image(); ++i) {
        const int64_t image = i / s.out_image() * s.in_image();
        const int64_t at = argmax.IntAt(i) - (with_batch_ ? image : 0);
        if (at < 0 || at >= s.in_image()) {
          bad = i;
        } else if (collect_) {
          to[i] = g[image + at];
        } else {
          to[image + at] = static_cast<T>(to[image + at] + g[i]);
        }
      }
    });
    if (bad >= 0) {
      return InvalidArgument("argmax element ", bad.load(), " is ", argmax.IntAt(bad), ", outside the image of ",
                             s.in_image(), " elements");
    }
    return absl::OkStatus();
  }

 private:
  const bool collect_;
  PoolWindow window_;
  bool with_batch_ = false;
};

template <typename T>
struct Spread : ArgmaxGradKernel<T> {
  Spread() : ArgmaxGradKernel<T>(false) {}
};
template <typename T>
struct Collect : ArgmaxGradKernel<T> {
  Collect() : ArgmaxGradKernel<T>(true) {}
};

}  // namespace

void AddMaxPoolWithArgmaxCpu(KernelRegistry& k) {
  k.Add("MaxPoolWithArgmax", kCpu, KernelByType<MaxPoolWithArgmaxKernel, kRealTypes.bits()>("T"));
  k.Add("MaxPoolGradWithArgmax", kCpu, KernelByType<Spread, kRealTypes.bits()>("T"));
  k.Add("MaxPoolGradGradWithArgmax", kCpu, KernelByType<Collect, kRealTypes.bits()>("T"));
}

}  // namespace sluice
