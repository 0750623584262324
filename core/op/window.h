// The geometry of convolutions and pooling: attributes, padding, output sizes. Shape rules and kernels share it.
//
//   ASSIGN_OR_RETURN(WindowAttrs w, ParseWindowAttrs(attrs, /*spatial=*/2));
//   ASSIGN_OR_RETURN(WindowAxis rows, w.Axis(0, input_rows, filter_rows));     // rows.output, rows.pad_before ...
//
// Every attribute is checked: lengths, ranges, and that batch and channels are not strided. Sizes that come from
// tensors are checked against limits, so that no product here overflows.
#ifndef SLUICE_CORE_OP_WINDOW_H_
#define SLUICE_CORE_OP_WINDOW_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/op/attr_value.h"
#include "core/types/shape.h"

namespace sluice {

enum class Padding { kSame, kValid, kExplicit };

// One spatial axis of a window that slides over an input.
struct WindowAxis {
  int64_t input = 0;
  int64_t filter = 1;
  int64_t stride = 1;
  int64_t dilation = 1;
  int64_t pad_before = 0;
  int64_t pad_after = 0;
  int64_t output = 0;  // kUnknownDim when input or filter is
};

struct WindowAttrs {
  int spatial = 2;
  bool channels_first = false;
  Padding padding = Padding::kValid;
  // One entry for each dimension of the input, in the order of its layout. ksize is empty for convolutions.
  std::vector<int64_t> ksize, strides, dilations;
  std::vector<int64_t> explicit_paddings;  // before and after each dimension; empty unless padding is kExplicit

  int rank() const { return spatial + 2; }
  int channel_dim() const { return channels_first ? 1 : spatial + 1; }
  int spatial_dim(int i) const { return channels_first ? i + 2 : i + 1; }

  // Spatial axis i over `input` elements with a filter of `filter` elements; either may be kUnknownDim.
  absl::StatusOr<WindowAxis> Axis(int i, int64_t input, int64_t filter) const;
  // The same with the filter size of ksize.
  absl::StatusOr<WindowAxis> PoolAxis(int i, int64_t input) const { return Axis(i, input, ksize[spatial_dim(i)]); }
  // A shape in the order of the layout.
  PartialShape MakeShape(int64_t batch, absl::Span<const int64_t> spatial_sizes, int64_t channels) const;
};

// Reads strides, dilations (or rates, as dilation ops call them), padding, explicit_paddings, data_format and ksize as
// far as the op has them. An op whose ksize and strides are inputs passes them to SetPoolWindow instead.
absl::StatusOr<WindowAttrs> ParseWindowAttrs(const AttrMap& attrs, int spatial);
absl::Status SetPoolWindow(std::vector<int64_t> ksize, std::vector<int64_t> strides, WindowAttrs* w);

// The channels that come out of pooling: those of the input, or fewer when the window spans channels. Such a window
// must divide them evenly, move by its own size, and span nothing else.
absl::StatusOr<int64_t> PoolChannels(const WindowAttrs& w, int64_t channels);

// NHWC or NCHW of an attribute data_format, which may be absent.
absl::StatusOr<bool> IsChannelsFirst(const AttrMap& attrs);

}  // namespace sluice

#endif  // SLUICE_CORE_OP_WINDOW_H_
