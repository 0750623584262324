// The sizes of one pooling, as the kernels see it: channels last, three spatial axes (leading ones of size 1 when there
// are fewer). With channels first every channel counts as an image of one channel.
#ifndef SLUICE_KERNELS_NN_POOL_SHAPE_H_
#define SLUICE_KERNELS_NN_POOL_SHAPE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/base/status.h"
#include "core/kernel/kernel.h"
#include "core/op/window.h"
#include "kernels/nn/simd.h"

namespace sluice {

struct PoolShape {
  int64_t batch = 0, channels = 0;
  std::array<WindowAxis, 3> axes;
  Shape output;                // in the layout of the op
  int64_t channel_window = 1;  // above 1 only where everything else is 1

  int64_t in_image() const { return axes[0].input * axes[1].input * axes[2].input * channels; }
  int64_t out_positions() const { return axes[0].output * axes[1].output * axes[2].output; }
  int64_t out_image() const { return out_positions() * channels; }
  int64_t taps() const { return axes[0].filter * axes[1].filter * axes[2].filter; }
  // No element lies in two windows; every element lies in one.
  bool disjoint() const {
    return std::all_of(axes.begin(), axes.end(), [](const WindowAxis& a) { return a.filter <= a.stride; });
  }
  bool tiles() const {
    return std::all_of(axes.begin(), axes.end(),
                       [](const WindowAxis& a) { return a.filter == a.stride && a.input <= a.output * a.stride; });
  }
};

inline absl::StatusOr<PoolShape> MakePoolShape(const WindowAttrs& w, const Shape& input) {
  if (input.rank() != w.rank()) return InvalidArgument("the input is ", input.ToString(), ", wanted rank ", w.rank());
  PoolShape s;
  int64_t sizes[3] = {};
  for (int i = 0; i < 3 - w.spatial; ++i) s.axes[i].input = s.axes[i].output = 1;
  for (int i = 0; i < w.spatial; ++i) {
    ASSIGN_OR_RETURN(WindowAxis axis, w.PoolAxis(i, input.dim(w.spatial_dim(i))));
    sizes[i] = axis.output;
    s.axes[3 - w.spatial + i] = axis;
  }
  const int64_t channels = input.dim(w.channel_dim());
  ASSIGN_OR_RETURN(int64_t out_channels, PoolChannels(w, channels));
  s.channel_window = w.ksize[w.channel_dim()];
  s.batch = w.channels_first ? input.dim(0) * channels : input.dim(0);
  s.channels = w.channels_first ? 1 : channels;
  ASSIGN_OR_RETURN(s.output, Shape::Make(w.MakeShape(input.dim(0), sizes, out_channels).dims()));
  return s;
}

// The window of a pooling op: from attributes, or from the inputs `ksize_input` and the one after it.
class PoolWindow {
 public:
  absl::Status Prepare(const PrepareContext& p, int spatial, int ksize_input) {
    ksize_input_ = ksize_input;
    ASSIGN_OR_RETURN(window_, ParseWindowAttrs(p.node().attrs, spatial));
    return absl::OkStatus();
  }
  absl::StatusOr<PoolShape> ShapeFor(const KernelContext& c, const Shape& input) const {
    if (ksize_input_ < 0) return MakePoolShape(window_, input);
    WindowAttrs w = window_;
    std::vector<int64_t> lists[2];
    for (int i = 0; i < 2; ++i) {
      const Tensor& t = c.input(ksize_input_ + i);
      for (int64_t j = 0; j < t.num_elements(); ++j) lists[i].push_back(t.IntAt(j));
    }
    RETURN_IF_ERROR(SetPoolWindow(std::move(lists[0]), std::move(lists[1]), &w));
    return MakePoolShape(w, input);
  }
  const WindowAttrs& window() const { return window_; }

 private:
  WindowAttrs window_;
  int ksize_input_ = -1;
};

inline absl::Status WantShape(absl::string_view what, const Tensor& t, const Shape& wanted) {
  if (t.shape() == wanted) return absl::OkStatus();
  return InvalidArgument(what, " is ", t.shape().ToString(), ", wanted ", wanted.ToString());
}

// The part of the input that one window covers: [begin, end) on each axis.
struct WindowRange {
  int64_t begin[3], end[3];
  SLUICE_HOST_DEVICE int64_t count() const { return (end[0] - begin[0]) * (end[1] - begin[1]) * (end[2] - begin[2]); }
};
SLUICE_HOST_DEVICE WindowRange RangeOf(const PoolShape& s, int64_t position) {
  WindowRange r;
  int64_t rest = position;
  for (int i = 2; i >= 0; --i) {
    const WindowAxis& a = s.axes[i];
    const int64_t start = rest % a.output * a.stride - a.pad_before;
    rest /= a.output;
    r.begin[i] = start < 0 ? 0 : start;
    r.end[i] = start + a.filter > a.input ? a.input : start + a.filter;
  }
  return r;
}
// RangeOf of one position after the other, over and over the image.
class WindowWalk {
 public:
  SLUICE_HOST_DEVICE WindowWalk(const PoolShape& s, int64_t position) : s_(s), range_(RangeOf(s, position)) {
    for (int i = 2; i >= 0; --i) {
      at_[i] = position % s.axes[i].output;
      position /= s.axes[i].output;
    }
  }
  SLUICE_HOST_DEVICE const WindowRange& range() const { return range_; }
  SLUICE_HOST_DEVICE void Next() {
    for (int i = 2; i >= 0; --i) {
      const WindowAxis& a = s_.axes[i];
      const bool wraps = ++at_[i] == a.output;
      if (wraps) at_[i] = 0;
      const int64_t start = at_[i] * a.stride - a.pad_before;
      range_.begin[i] = start < 0 ? 0 : start;
      range_.end[i] = start + a.filter > a.input ? a.input : start + a.filter;
      if (!wraps) return;
    }
  }

 private:
  const PoolShape& s_;
  WindowRange range_;
  int64_t at_[3];
};

// Calls f(index of the position in the image) for each position of the range, rows first.
template <typename F>
SLUICE_HOST_DEVICE void ForEachIn(const PoolShape& s, const WindowRange& r, const F& f) {
  for (int64_t z = r.begin[0]; z < r.end[0]; ++z) {
    for (int64_t y = r.begin[1]; y < r.end[1]; ++y) {
      const int64_t row = (z * s.axes[1].input + y) * s.axes[2].input;
      for (int64_t x = r.begin[2]; x < r.end[2]; ++x) f(row + x);
    }
  }
}

// Vector variants only for the types that are worth their compile time.
template <typename T, typename F>
void LoopFor(const F& f) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    WithSimd(f);
  } else {
    RunBaseline(f);
  }
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_POOL_SHAPE_H_
