// The sizes of one convolution, as the kernels see it: channels last, three spatial axes (leading ones of size 1 when
// there are fewer), grouped. A depthwise convolution is one with a group for each input channel; its filter [h,w,c,m]
// has the same bytes as the grouped filter [h,w,1,c*m].
#ifndef SLUICE_KERNELS_NN_CONV_SHAPE_H_
#define SLUICE_KERNELS_NN_CONV_SHAPE_H_

#include <array>
#include <cstdint>
#include <utility>

#include "core/op/window.h"

namespace sluice {

struct ConvShape {
  int spatial = 2;  // axes that count: the last ones
  int64_t batch = 0, in_channels = 0, out_channels = 0, groups = 1;
  std::array<WindowAxis, 3> axes;

  int64_t in_positions() const { return axes[0].input * axes[1].input * axes[2].input; }
  int64_t out_positions() const { return axes[0].output * axes[1].output * axes[2].output; }
  int64_t filter_positions() const { return axes[0].filter * axes[1].filter * axes[2].filter; }
  int64_t input_elements() const { return batch * in_positions() * in_channels; }
  int64_t output_elements() const { return batch * out_positions() * out_channels; }
  int64_t filter_elements() const { return filter_positions() * (in_channels / groups) * out_channels; }
  double flops() const {
    return 2.0 * batch * out_positions() * filter_positions() * (in_channels / groups) * out_channels;
  }
  bool empty() const { return input_elements() == 0 || output_elements() == 0 || filter_elements() == 0; }

  friend bool operator==(const ConvShape& a, const ConvShape& b) {
    if (a.spatial != b.spatial || a.batch != b.batch || a.in_channels != b.in_channels ||
        a.out_channels != b.out_channels || a.groups != b.groups) {
      return false;
    }
    for (int i = 0; i < 3; ++i) {
      const WindowAxis &x = a.axes[i], &y = b.axes[i];
      if (x.input != y.input || x.filter != y.filter || x.stride != y.stride || x.dilation != y.dilation ||
          x.pad_before != y.pad_before || x.pad_after != y.pad_after || x.output != y.output) {
        return false;
      }
    }
    return true;
  }
};

// The convolution of the output's gradient that is the gradient of the input, where strides are 1 and there is one
// group: its filter is the transposed one with taps in reverse order.
inline ConvShape TurnedConv(const ConvShape& s) {
  ConvShape t = s;
  std::swap(t.in_channels, t.out_channels);
  for (WindowAxis& a : t.axes) {
    std::swap(a.input, a.output);
    a.pad_before = (a.filter - 1) * a.dilation - a.pad_before;
    a.pad_after = (a.filter - 1) * a.dilation - a.pad_after;
  }
  return t;
}

enum class ConvDirection { kForward, kBackwardInput, kBackwardFilter };

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_SHAPE_H_
