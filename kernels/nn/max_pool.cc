// MaxPool and its gradients of first and second order. The gradient of a window goes to the first of its largest
// elements, which is found again by comparing with the forward result. NaN counts as larger than every number.
#include <algorithm>
#include <memory>
#include <type_traits>

#include "kernels/common/type_dispatch.h"
#include "kernels/nn/nn_kernels.h"
#include "kernels/nn/pool_shape.h"

namespace sluice {
namespace {

constexpr int64_t kChannelBlock = 64;

template <typename T>
SLUICE_HOST_DEVICE bool Replaces(T x, T best) {
  return x > best || x != x;
}

// Whether loops for this type use vectors (see LoopFor): others need no loops for special windows.
template <typename T>
constexpr bool kVectors = std::is_same_v<T, float> || std::is_same_v<T, double>;

// Whether a window is two by two positions of the last two axes, the usual one: `*first` is then the first of them.
SLUICE_HOST_DEVICE bool IsTwoByTwo(const PoolShape& s, const WindowRange& r, int64_t* first) {
  *first = (r.begin[0] * s.axes[1].input + r.begin[1]) * s.axes[2].input + r.begin[2];
  return r.end[0] - r.begin[0] == 1 && r.end[1] - r.begin[1] == 2 && r.end[2] - r.begin[2] == 2;
}

template <typename T>
SLUICE_HOST_DEVICE T Larger(T x, T best) {
  return Replaces(x, best) ? x : best;
}

// The largest of four positions for each channel, in one pass.
template <typename T>
SLUICE_HOST_DEVICE void MaxOfTwoByTwo(const T* x, int64_t row, int64_t channels, T* y) {
  const T *x1 = x + channels, *x2 = x + row, *x3 = x2 + channels;
#pragma GCC ivdep
  for (int64_t c = 0; c < channels; ++c) y[c] = Larger(x3[c], Larger(x2[c], Larger(x1[c], x[c])));
}

// Gives g to the first of the four that equals y, and zero to the others.
template <typename T>
SLUICE_HOST_DEVICE void SpreadTwoByTwo(const T* x, int64_t row, int64_t channels, const T* y, const T* g, T* dx) {
  const T *x1 = x + channels, *x2 = x + row, *x3 = x2 + channels;
  T *dx1 = dx + channels, *dx2 = dx + row, *dx3 = dx2 + channels;
#pragma GCC ivdep
  for (int64_t c = 0; c < channels; ++c) {
    const T zero = T(0), most = y[c];
    T left = g[c];
    const bool at0 = x[c] == most, at1 = x1[c] == most, at2 = x2[c] == most, at3 = x3[c] == most;
    dx[c] = at0 ? left : zero;
    left = at0 ? zero : left;
    dx1[c] = at1 ? left : zero;
    left = at1 ? zero : left;
    dx2[c] = at2 ? left : zero;
    left = at2 ? zero : left;
    dx3[c] = at3 ? left : zero;
  }
}

// One output position: the largest value of each channel.
template <typename T>
SLUICE_HOST_DEVICE void MaxOfWindow(const PoolShape& s, const T* image, const WindowRange& r, T* y) {
  bool first = true;
  ForEachIn(s, r, [&](int64_t position) SLUICE_INLINE_LOOP {
    const T* x = image + position * s.channels;
    if (first) {
      first = false;
#pragma GCC ivdep
      for (int64_t c = 0; c < s.channels; ++c) y[c] = x[c];
    } else {
#pragma GCC ivdep
      for (int64_t c = 0; c < s.channels; ++c) y[c] = Replaces(x[c], y[c]) ? x[c] : y[c];
    }
  });
}

// One output position of the gradient: adds g at the first element that equals y. `store` writes instead, also zeros,
// which needs no cleared memory where windows do not overlap.
template <typename T, bool kStore>
SLUICE_HOST_DEVICE void SpreadWindow(const PoolShape& s, const T* image, const WindowRange& r, const T* y, const T* g,
                                     T* dx) {
  for (int64_t c0 = 0; c0 < s.channels; c0 += kChannelBlock) {
    const int64_t n = std::min(kChannelBlock, s.channels - c0);
    T left[kChannelBlock];  // g until its place is found, then zero
#pragma GCC ivdep
    for (int64_t c = 0; c < n; ++c) left[c] = g[c0 + c];
    ForEachIn(s, r, [&](int64_t position) SLUICE_INLINE_LOOP {
      const T* x = image + position * s.channels + c0;
      T* to = dx + position * s.channels + c0;
#pragma GCC ivdep
      for (int64_t c = 0; c < n; ++c) {
        const T here = x[c] == y[c0 + c] ? left[c] : T(0);
        to[c] = kStore ? here : static_cast<T>(to[c] + here);
        left[c] = x[c] == y[c0 + c] ? T(0) : left[c];
      }
    });
  }
}

// One output position of the second order: takes g from the first element that equals y.
template <typename T>
void CollectWindow(const PoolShape& s, const T* image, const WindowRange& r, const T* y, const T* g, T* out) {
  for (int64_t c = 0; c < s.channels; ++c) {
    bool found = false;
    out[c] = T(0);
    ForEachIn(s, r, [&](int64_t position) SLUICE_INLINE_LOOP {
      const int64_t i = position * s.channels + c;
      if (!found && image[i] == y[c]) {
        found = true;
        out[c] = g[i];
      }
    });
  }
}

template <typename T>
class MaxPoolKernel : public Kernel {
 public:
  MaxPoolKernel(int spatial, int ksize_input) : spatial_(spatial), ksize_input_(ksize_input) {}
  absl::Status Prepare(PrepareContext& p) override { return window_.Prepare(p, spatial_, ksize_input_); }

  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(PoolShape s, window_.ShapeFor(c, c.input(0).shape()));
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, s.output));
    if (y->num_elements() == 0) return absl::OkStatus();
    const T* from = c.input(0).data<T>();
    T* to = y->data<T>();
    if (s.channel_window > 1) {
      for (int64_t i = 0; i < y->num_elements(); ++i) {
        const T* x = ChannelWindow(s, window_.window().channels_first, i, from);
        T best = x[0];
        for (int64_t j = 1; j < s.channel_window; ++j) {
          const T value = x[j * (window_.window().channels_first ? s.in_image() : 1)];
          if (Replaces(value, best)) best = value;
        }
        to[i] = best;
      }
      return absl::OkStatus();
    }
    c.ParallelFor(s.batch * s.out_positions(), 0.05 * s.taps() * s.channels + 2, [&](int64_t begin, int64_t end) {
      LoopFor<T>([&]() SLUICE_INLINE_LOOP {
        int64_t image = begin / s.out_positions(), position = begin % s.out_positions();
        const int64_t row = s.axes[2].input * s.channels;
        WindowWalk walk(s, position);
        for (int64_t i = begin; i < end; ++i, walk.Next()) {
          const T* x = from + image * s.in_image();
          int64_t first;
          if (kVectors<T> && IsTwoByTwo(s, walk.range(), &first)) {
            MaxOfTwoByTwo(x + first * s.channels, row, s.channels, to + i * s.channels);
          } else {
            MaxOfWindow(s, x, walk.range(), to + i * s.channels);
          }
          if (++position == s.out_positions()) {
            position = 0;
            ++image;
          }
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  // The first element of the window of output i when windows span channels.
  static const T* ChannelWindow(const PoolShape& s, bool channels_first, int64_t i, const T* x) {
    if (!channels_first) return x + i * s.channel_window;
    const int64_t positions = s.in_image();  // one channel counts as an image
    return x + i / positions * s.channel_window * positions + i % positions;
  }
  const int spatial_, ksize_input_;
  PoolWindow window_;
};

template <typename T>
class MaxPoolGradKernel : public Kernel {
 public:
  MaxPoolGradKernel(int spatial, int ksize_input, bool second_order)
      : spatial_(spatial), ksize_input_(ksize_input), second_order_(second_order) {}
  absl::Status Prepare(PrepareContext& p) override { return window_.Prepare(p, spatial_, ksize_input_); }

  absl::Status Run(KernelContext& c) const override {
    const Tensor &input = c.input(0), &output = c.input(1), &grad = c.input(2);
    ASSIGN_OR_RETURN(PoolShape s, window_.ShapeFor(c, input.shape()));
    if (s.channel_window > 1) return Unimplemented("the gradient of max pooling over channels");
    RETURN_IF_ERROR(WantShape("orig_output", output, s.output));
    RETURN_IF_ERROR(WantShape("grad", grad, second_order_ ? input.shape() : s.output));
    ASSIGN_OR_RETURN(Tensor * result, c.Allocate(0, second_order_ ? s.output : input.shape()));
    const T *x = input.data<T>(), *y = output.data<T>(), *g = grad.data<T>();
    T* to = result->data<T>();
    if (result->num_elements() == 0) return absl::OkStatus();
    if (s.output.num_elements() == 0) {
      std::fill_n(to, result->num_elements(), T(0));
      return absl::OkStatus();
    }
    c.ParallelFor(s.batch, 0.15 * s.taps() * s.out_image(), [&](int64_t begin, int64_t end) {
      if (second_order_) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t in = i * s.in_image(), out = i * s.out_image();
          for (int64_t p = 0; p < s.out_positions(); ++p) {
            CollectWindow(s, x + in, RangeOf(s, p), y + out + p * s.channels, g + in, to + out + p * s.channels);
          }
        }
        return;
      }
      const bool store = s.disjoint();
      if (!s.tiles()) std::fill(to + begin * s.in_image(), to + end * s.in_image(), T(0));
      LoopFor<T>([&]() SLUICE_INLINE_LOOP {
        const int64_t row = s.axes[2].input * s.channels;
        WindowWalk walk(s, 0);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t in = i * s.in_image();
          for (int64_t p = 0; p < s.out_positions(); ++p, walk.Next()) {
            const int64_t out = i * s.out_image() + p * s.channels;
            const WindowRange& r = walk.range();
            int64_t first;
            if (kVectors<T> && store && IsTwoByTwo(s, r, &first)) {
              first = in + first * s.channels;
              SpreadTwoByTwo(x + first, row, s.channels, y + out, g + out, to + first);
            } else if (store) {
              SpreadWindow<T, true>(s, x + in, r, y + out, g + out, to + in);
            } else {
              SpreadWindow<T, false>(s, x + in, r, y + out, g + out, to + in);
            }
          }
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  const int spatial_, ksize_input_;
  const bool second_order_;
  PoolWindow window_;
};

template <template <typename> class K, typename... Args>
KernelDef MaxPoolDef(DTypeSet types, Args... args) {
  return KernelDef().Types("T", types).Factory([args...](const NodeInfo& node) {
    std::unique_ptr<Kernel> kernel;
    Dispatch<kRealTypes.bits()>(node.Attr<DType>("T").value_or(DType::kInvalid),
                                [&](auto tag) { kernel = std::make_unique<K<typename decltype(tag)::type>>(args...); });
    return kernel;
  });
}

}  // namespace

void AddMaxPoolCpu(KernelRegistry& k) {
  k.Add("MaxPool", kCpu, MaxPoolDef<MaxPoolKernel>(kRealTypes, 2, -1));
  k.Add("MaxPool3D", kCpu, MaxPoolDef<MaxPoolKernel>(kRealTypes, 3, -1));
  k.Add("MaxPoolV2", kCpu, MaxPoolDef<MaxPoolKernel>(kRealTypes, 2, 1).HostMemory("ksize").HostMemory("strides"));
  k.Add("MaxPoolGrad", kCpu, MaxPoolDef<MaxPoolGradKernel>(kRealTypes, 2, -1, false));
  k.Add("MaxPool3DGrad", kCpu, MaxPoolDef<MaxPoolGradKernel>(kRealTypes, 3, -1, false));
  k.Add("MaxPoolGradV2", kCpu,
        MaxPoolDef<MaxPoolGradKernel>(kRealTypes, 2, 3, false).HostMemory("ksize").HostMemory("strides"));
  k.Add("MaxPoolGradGrad", kCpu, MaxPoolDef<MaxPoolGradKernel>(kRealTypes, 2, -1, true));
  k.Add("MaxPool3DGradGrad", kCpu, MaxPoolDef<MaxPoolGradKernel>(kRealTypes, 3, -1, true));
  k.Add("MaxPoolGradGradV2", kCpu,
        MaxPoolDef<MaxPoolGradKernel>(kRealTypes, 2, 3, true).HostMemory("ksize").HostMemory("strides"));
}

}  // namespace sluice
