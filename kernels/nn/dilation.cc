// Dilation2D and its gradients, which go to the first place of the largest sum.
#include <algorithm>
#include <memory>
#include <vector>

#include "core/base/status.h"
#include "core/op/window.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {
namespace {

enum class Role { kForward, kToInput, kToFilter };

template <typename T>
class DilationKernel : public Kernel {
 public:
  explicit DilationKernel(Role role) : role_(role) {}
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(window_, ParseWindowAttrs(p.node().attrs, 2));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor &input = c.input(0), &filter = c.input(1);
    if (input.rank() != 4 || filter.rank() != 3 || input.dim(3) != filter.dim(2)) {
      return InvalidArgument("input is ", input.shape().ToString(), " and filter is ", filter.shape().ToString(),
                             ", wanted [batch,height,width,channels] and [height,width,channels]");
    }
    ASSIGN_OR_RETURN(WindowAxis y, window_.Axis(0, input.dim(1), filter.dim(0)));
    ASSIGN_OR_RETURN(WindowAxis x, window_.Axis(1, input.dim(2), filter.dim(1)));
    const int64_t batch = input.dim(0), channels = input.dim(3);
    ASSIGN_OR_RETURN(Shape dilated, Shape::Make({batch, y.output, x.output, channels}));
    if (role_ != Role::kForward && c.input(2).shape() != dilated) {
      return InvalidArgument("out_backprop is ", c.input(2).shape().ToString(), ", wanted ", dilated.ToString());
    }
    const Shape& shape = role_ == Role::kForward ? dilated : role_ == Role::kToInput ? input.shape() : filter.shape();
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (role_ != Role::kForward) std::fill_n(out->data<T>(), out->num_elements(), T(0));
    if (dilated.num_elements() == 0) return absl::OkStatus();

    const T *in = input.data<T>(), *f = filter.data<T>();
    const T* g = role_ == Role::kForward ? nullptr : c.input(2).data<T>();
    T* to = out->data<T>();
    // Gradients of the filter add up over the batch, in its order.
    auto images = [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) Image(y, x, channels, n, in, f, g, to);
    };
    if (role_ == Role::kToFilter) {
      images(0, batch);
    } else {
      c.ParallelFor(batch, 2.0 * y.output * x.output * y.filter * x.filter * channels, images);
    }
    return absl::OkStatus();
  }

 private:
  void Image(const WindowAxis& y, const WindowAxis& x, int64_t channels, int64_t n, const T* in, const T* f, const T* g,
             T* to) const {
    const T* image = in + n * y.input * x.input * channels;
    for (int64_t o = 0; o < y.output * x.output; ++o) {
      const int64_t y0 = o / x.output * y.stride - y.pad_before, x0 = o % x.output * x.stride - x.pad_before;
      const int64_t at = (n * y.output * x.output + o) * channels;
      for (int64_t c = 0; c < channels; ++c) {
        int64_t best_in = -1, best_tap = -1;
        T best = T(0);
        for (int64_t tap = 0; tap < y.filter * x.filter; ++tap) {
          const int64_t iy = y0 + tap / x.filter * y.dilation, ix = x0 + tap % x.filter * x.dilation;
          if (iy < 0 || iy >= y.input || ix < 0 || ix >= x.input) continue;
          const int64_t i = (iy * x.input + ix) * channels + c;
          const T sum = static_cast<T>(image[i] + f[tap * channels + c]);
          if (best_in < 0 || sum > best) best = sum, best_in = i, best_tap = tap * channels + c;
        }
        if (role_ == Role::kForward) {
          to[at + c] = best_in < 0 ? std::numeric_limits<T>::lowest() : best;
        } else if (best_in >= 0) {
          T& place = role_ == Role::kToInput ? to[n * y.input * x.input * channels + best_in] : to[best_tap];
          place = static_cast<T>(place + g[at + c]);
        }
      }
    }
  }

  const Role role_;
  WindowAttrs window_;
};

template <typename T>
struct Forward : DilationKernel<T> {
  Forward() : DilationKernel<T>(Role::kForward) {}
};
template <typename T>
struct ToInput : DilationKernel<T> {
  ToInput() : DilationKernel<T>(Role::kToInput) {}
};
template <typename T>
struct ToFilter : DilationKernel<T> {
  ToFilter() : DilationKernel<T>(Role::kToFilter) {}
};

}  // namespace

void AddDilationCpu(KernelRegistry& k) {
  k.Add("Dilation2D", kCpu, KernelByType<Forward, kRealTypes.bits()>("T"));
  k.Add("Dilation2DBackpropInput", kCpu, KernelByType<ToInput, kRealTypes.bits()>("T"));
  k.Add("Dilation2DBackpropFilter", kCpu, KernelByType<ToFilter, kRealTypes.bits()>("T"));
}

}  // namespace sluice
