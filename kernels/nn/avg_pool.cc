// AvgPool and its gradient. Padding does not count: a window at the border has the mean of what lies inside.
#include <algorithm>
#include <memory>

#include "kernels/common/type_dispatch.h"
#include "kernels/nn/nn_kernels.h"
#include "kernels/nn/pool_shape.h"

namespace sluice {
namespace {

constexpr int64_t kChannelBlock = 64;
template <typename T>
using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Of 64 channels, in registers.
SLUICE_HOST_DEVICE void MeanOfBlock(const PoolShape& s, const WindowRange& r, const float* image, float scale,
                                    float* out) {
  Lanes a = {}, b = {}, c = {}, d = {};
  ForEachIn(s, r, [&](int64_t position) SLUICE_INLINE_LOOP {
    const float* x = image + position * s.channels;
    Lanes next;
    LoadLanes(x, &next);
    a += next;
    LoadLanes(x + kLanes, &next);
    b += next;
    LoadLanes(x + 2 * kLanes, &next);
    c += next;
    LoadLanes(x + 3 * kLanes, &next);
    d += next;
  });
  StoreLanes(a * scale, out);
  StoreLanes(b * scale, out + kLanes);
  StoreLanes(c * scale, out + 2 * kLanes);
  StoreLanes(d * scale, out + 3 * kLanes);
}

template <typename T>
class AvgPoolKernel : public Kernel {
 public:
  explicit AvgPoolKernel(int spatial) : spatial_(spatial) {}
  absl::Status Prepare(PrepareContext& p) override { return window_.Prepare(p, spatial_, -1); }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(PoolShape s, window_.ShapeFor(c, c.input(0).shape()));
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, s.output));
    const T* from = c.input(0).data<T>();
    T* to = y->data<T>();
    c.ParallelFor(s.batch * s.out_positions(), 0.05 * s.taps() * s.channels + 2, [&](int64_t begin, int64_t end) {
      LoopFor<T>([&]() SLUICE_INLINE_LOOP {
        for (int64_t i = begin; i < end; ++i) {
          const T* image = from + i / s.out_positions() * s.in_image();
          const WindowRange r = RangeOf(s, i % s.out_positions());
          const Sum<T> scale = Sum<T>(1) / static_cast<Sum<T>>(r.count());
          for (int64_t c0 = 0; c0 < s.channels; c0 += kChannelBlock) {
            const int64_t n = std::min(kChannelBlock, s.channels - c0);
            T* out = to + i * s.channels + c0;
            if constexpr (std::is_same_v<T, float>) {
              if (n == kChannelBlock) {
                MeanOfBlock(s, r, image + c0, scale, out);
                continue;
              }
            }
            Sum<T> sum[kChannelBlock] = {};
            ForEachIn(s, r, [&](int64_t position) SLUICE_INLINE_LOOP {
              const T* x = image + position * s.channels + c0;
#pragma GCC ivdep
              for (int64_t j = 0; j < n; ++j) sum[j] += static_cast<Sum<T>>(x[j]);
            });
#pragma GCC ivdep
            for (int64_t j = 0; j < n; ++j) out[j] = static_cast<T>(sum[j] * scale);
          }
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  const int spatial_;
  PoolWindow window_;
};

template <typename T>
class AvgPoolGradKernel : public Kernel {
 public:
  explicit AvgPoolGradKernel(int spatial) : spatial_(spatial) {}
  absl::Status Prepare(PrepareContext& p) override { return window_.Prepare(p, spatial_, -1); }
  absl::Status Run(KernelContext& c) const override {
    std::vector<int64_t> dims;
    for (int64_t i = 0; i < c.input(0).num_elements(); ++i) dims.push_back(c.input(0).IntAt(i));
    ASSIGN_OR_RETURN(Shape input, Shape::Make(dims));
    ASSIGN_OR_RETURN(PoolShape s, window_.ShapeFor(c, input));
    if (s.channel_window > 1) return InvalidArgument("ksize spans channels, which average pooling does not");
    RETURN_IF_ERROR(WantShape("grad", c.input(1), s.output));
    ASSIGN_OR_RETURN(Tensor * dx, c.Allocate(0, input));
    const T* from = c.input(1).data<T>();
    T* to = dx->data<T>();
    c.ParallelFor(s.batch, 0.1 * s.taps() * s.out_image() + 0.05 * s.in_image(), [&](int64_t begin, int64_t end) {
      std::fill(to + begin * s.in_image(), to + end * s.in_image(), T(0));
      LoopFor<T>([&]() SLUICE_INLINE_LOOP {
        for (int64_t i = begin * s.out_positions(); i < end * s.out_positions(); ++i) {
          T* image = to + i / s.out_positions() * s.in_image();
          const WindowRange r = RangeOf(s, i % s.out_positions());
          const Sum<T> scale = Sum<T>(1) / static_cast<Sum<T>>(r.count());
          const T* g = from + i * s.channels;
          ForEachIn(s, r, [&](int64_t position) SLUICE_INLINE_LOOP {
            T* x = image + position * s.channels;
#pragma GCC ivdep
            for (int64_t j = 0; j < s.channels; ++j) {
              x[j] = static_cast<T>(static_cast<Sum<T>>(x[j]) + static_cast<Sum<T>>(g[j]) * scale);
            }
          });
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  const int spatial_;
  PoolWindow window_;
};

template <template <typename> class K>
KernelDef AvgPoolDef(int spatial) {
  return KernelDef().Types("T", kFloatingTypes).Factory([spatial](const NodeInfo& node) {
    std::unique_ptr<Kernel> kernel;
    Dispatch<kFloatingTypes.bits()>(node.Attr<DType>("T").value_or(DType::kInvalid), [&](auto tag) {
      kernel = std::make_unique<K<typename decltype(tag)::type>>(spatial);
    });
    return kernel;
  });
}

}  // namespace

void AddAvgPoolCpu(KernelRegistry& k) {
  k.Add("AvgPool", kCpu, AvgPoolDef<AvgPoolKernel>(2));
  k.Add("AvgPool3D", kCpu, AvgPoolDef<AvgPoolKernel>(3));
  k.Add("AvgPoolGrad", kCpu, AvgPoolDef<AvgPoolGradKernel>(2).HostMemory("orig_input_shape"));
  k.Add("AvgPool3DGrad", kCpu, AvgPoolDef<AvgPoolGradKernel>(3).HostMemory("orig_input_shape"));
}

}  // namespace sluice
