#include "core/op/window.h"

#include <string>
#include <utility>

#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {
namespace {

constexpr int64_t kMaxAttr = (int64_t{1} << 31) - 1;  // of strides, dilations, paddings and filter sizes
constexpr int64_t kMaxInput = int64_t{1} << 48;

std::string List(const std::vector<int64_t>& v) { return absl::StrCat("[", absl::StrJoin(v, ","), "]"); }

// `values` has one positive entry for each dimension, and 1 for batch (and channels when asked).
absl::Status CheckWindowList(absl::string_view name, const std::vector<int64_t>& values, const WindowAttrs& w,
                             bool channels_fixed) {
  if (static_cast<int>(values.size()) != w.rank()) {
    return InvalidArgument(name, " is ", List(values), ", wanted ", w.rank(),
                           " values, one for each dimension of the input");
  }
  for (int64_t v : values) {
    if (v < 1 || v > kMaxAttr)
      return InvalidArgument(name, " is ", List(values), ", wanted values from 1 to ", kMaxAttr);
  }
  if (values[0] != 1 || (channels_fixed && values[w.channel_dim()] != 1)) {
    return InvalidArgument(name, " is ", List(values), ", wanted 1 for ",
                           channels_fixed ? "batch and channels" : "batch", " (data_format ",
                           w.channels_first ? "NCHW" : "NHWC", ")");
  }
  return absl::OkStatus();
}

absl::Status CheckExplicitPaddings(const WindowAttrs& w) {
  const std::vector<int64_t>& p = w.explicit_paddings;
  if (w.padding != Padding::kExplicit) {
    if (p.empty()) return absl::OkStatus();
    return InvalidArgument("explicit_paddings is ", List(p), ", wanted an empty list unless padding is EXPLICIT");
  }
  if (static_cast<int>(p.size()) != 2 * w.rank()) {
    return InvalidArgument("explicit_paddings is ", List(p), ", wanted ", 2 * w.rank(),
                           " values, before and after each dimension of the input");
  }
  for (int64_t v : p) {
    if (v < 0 || v > kMaxAttr)
      return InvalidArgument("explicit_paddings is ", List(p), ", wanted values from 0 to ", kMaxAttr);
  }
  const int c = w.channel_dim();
  if (p[0] != 0 || p[1] != 0 || p[2 * c] != 0 || p[2 * c + 1] != 0) {
    return InvalidArgument("explicit_paddings is ", List(p), ", wanted 0 for batch and channels");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> IsChannelsFirst(const AttrMap& attrs) {
  const AttrValue* format = attrs.Find("data_format");
  if (format == nullptr) return false;
  const std::string* s = format->As<std::string>();
  if (s != nullptr && (*s == "NHWC" || *s == "NDHWC")) return false;
  if (s != nullptr && (*s == "NCHW" || *s == "NCDHW")) return true;
  return InvalidArgument("data_format is ", format->ToString(),
                         ", wanted NHWC or NCHW (NDHWC or NCDHW in three dimensions)");
}

absl::StatusOr<WindowAttrs> ParseWindowAttrs(const AttrMap& attrs, int spatial) {
  WindowAttrs w;
  w.spatial = spatial;
  ASSIGN_OR_RETURN(w.channels_first, IsChannelsFirst(attrs));
  ASSIGN_OR_RETURN(std::string padding, GetAttr<std::string>(attrs, "padding"));
  if (padding == "SAME") {
    w.padding = Padding::kSame;
  } else if (padding == "VALID") {
    w.padding = Padding::kValid;
  } else if (padding == "EXPLICIT") {
    w.padding = Padding::kExplicit;
  } else {
    return InvalidArgument("padding is '", padding, "', wanted SAME, VALID or EXPLICIT");
  }
  w.dilations.assign(w.rank(), 1);
  w.strides.assign(w.rank(), 1);
  for (const char* name : {"dilations", "rates"}) {
    if (attrs.Find(name) == nullptr) continue;
    ASSIGN_OR_RETURN(w.dilations, GetAttr<std::vector<int64_t>>(attrs, name));
    RETURN_IF_ERROR(CheckWindowList(name, w.dilations, w, /*channels_fixed=*/true));
  }
  const bool pool = attrs.Find("ksize") != nullptr;
  if (attrs.Find("strides") != nullptr) {
    ASSIGN_OR_RETURN(w.strides, GetAttr<std::vector<int64_t>>(attrs, "strides"));
    RETURN_IF_ERROR(CheckWindowList("strides", w.strides, w, /*channels_fixed=*/!pool));
  }
  if (pool) {
    ASSIGN_OR_RETURN(w.ksize, GetAttr<std::vector<int64_t>>(attrs, "ksize"));
    RETURN_IF_ERROR(CheckWindowList("ksize", w.ksize, w, /*channels_fixed=*/false));
  }
  if (attrs.Find("explicit_paddings") != nullptr) {
    ASSIGN_OR_RETURN(w.explicit_paddings, GetAttr<std::vector<int64_t>>(attrs, "explicit_paddings"));
  }
  RETURN_IF_ERROR(CheckExplicitPaddings(w));
  return w;
}

absl::Status SetPoolWindow(std::vector<int64_t> ksize, std::vector<int64_t> strides, WindowAttrs* w) {
  RETURN_IF_ERROR(CheckWindowList("ksize", ksize, *w, /*channels_fixed=*/false));
  RETURN_IF_ERROR(CheckWindowList("strides", strides, *w, /*channels_fixed=*/false));
  w->ksize = std::move(ksize);
  w->strides = std::move(strides);
  return absl::OkStatus();
}

absl::StatusOr<WindowAxis> WindowAttrs::Axis(int i, int64_t input, int64_t filter) const {
  const int d = spatial_dim(i);
  WindowAxis a;
  a.input = input;
  a.filter = filter;
  a.stride = strides[d];
  a.dilation = dilations[d];
  if (padding == Padding::kExplicit) {
    a.pad_before = explicit_paddings[2 * d];
    a.pad_after = explicit_paddings[2 * d + 1];
  }
  if (filter != kUnknownDim && (filter < 1 || filter > kMaxAttr)) {
    return InvalidArgument("spatial size ", i, " of the filter is ", filter, ", wanted 1 to ", kMaxAttr);
  }
  if (input > kMaxInput)
    return InvalidArgument("spatial size ", i, " of the input is ", input, ", wanted at most ", kMaxInput);
  if (input == kUnknownDim || (filter == kUnknownDim && padding != Padding::kSame)) {
    a.output = kUnknownDim;
    return a;
  }
  if (padding == Padding::kSame) {
    a.output = (input + a.stride - 1) / a.stride;
    if (filter == kUnknownDim) return a;
    const int64_t span = (filter - 1) * a.dilation + 1;
    const int64_t pad = a.output == 0 ? 0 : (a.output - 1) * a.stride + span - input;
    a.pad_before = pad > 0 ? pad / 2 : 0;
    a.pad_after = pad > 0 ? pad - pad / 2 : 0;
    return a;
  }
  const int64_t span = (filter - 1) * a.dilation + 1;
  const int64_t room = input + a.pad_before + a.pad_after - span;
  if (room + a.stride < 0) {
    return InvalidArgument("the filter spans ", span, " elements of spatial dimension ", i, ", but the input has only ",
                           input, " there",
                           padding == Padding::kExplicit ? " (with its padding)" : "; padding='SAME' would pad it");
  }
  a.output = (room + a.stride) / a.stride;
  return a;
}

absl::StatusOr<int64_t> PoolChannels(const WindowAttrs& w, int64_t channels) {
  const int64_t window = w.ksize[w.channel_dim()];
  const int64_t stride = w.strides[w.channel_dim()];
  if (window == 1 && stride == 1) return channels;
  for (int i = 0; i < w.spatial; ++i) {
    if (w.ksize[w.spatial_dim(i)] != 1 || w.strides[w.spatial_dim(i)] != 1) {
      return InvalidArgument("ksize is ", List(w.ksize), " and strides is ", List(w.strides),
                             ", wanted a window over channels alone or over positions alone");
    }
  }
  if (window != stride || (channels != kUnknownDim && channels % window != 0)) {
    return InvalidArgument("a window of ", window, " channels that moves by ", stride, " over ", channels,
                           " channels, wanted one that moves by its size and divides them evenly");
  }
  return channels == kUnknownDim ? kUnknownDim : channels / window;
}

PartialShape WindowAttrs::MakeShape(int64_t batch, absl::Span<const int64_t> spatial_sizes, int64_t channels) const {
  PartialShape s = PartialShape::UnknownDims(rank());
  s.SetDim(0, batch);
  s.SetDim(channel_dim(), channels);
  for (int i = 0; i < spatial; ++i) s.SetDim(spatial_dim(i), spatial_sizes[i]);
  return s;
}

}  // namespace sluice
