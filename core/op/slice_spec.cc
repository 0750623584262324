#include "core/op/slice_spec.h"

#include <algorithm>

#include "core/base/status.h"

namespace sluice {
namespace {

constexpr int kMaxEntries = 32;  // the masks of the format have that many useful bits

bool Bit(int64_t mask, int i) { return (mask >> i) & 1; }

// An index of a range, clamped as NumPy clamps it.
int64_t Clamp(int64_t index, int64_t size, bool masked, bool is_end, bool forward) {
  const int64_t low = forward ? 0 : -1;
  const int64_t high = forward ? size : size - 1;
  if (masked) return forward == is_end ? high : low;
  if (index < 0) index += size;
  return std::min(std::max(index, low), high);
}

absl::StatusOr<SlicePlan::Dim> PlanIndex(int64_t begin, int64_t stride, int64_t size, int dim) {
  SlicePlan::Dim d{0, 1, 1};
  if (stride != SliceSpec::kUnknown && stride <= 0)
    return InvalidArgument("only stride 1 is allowed where an axis is dropped");
  if (begin == SliceSpec::kUnknown || size < 0) return d;
  const int64_t at = begin < 0 ? begin + size : begin;
  if (at < 0 || at >= size) {
    return InvalidArgument("slice index ", begin, " of dimension ", dim, " out of bounds: the size is ", size);
  }
  d.begin = at;
  return d;
}

SlicePlan::Dim PlanRange(int64_t begin, int64_t end, int64_t stride, bool begin_masked, bool end_masked, int64_t size) {
  SlicePlan::Dim d;
  if (stride == SliceSpec::kUnknown || size < 0) return d;
  if ((begin == SliceSpec::kUnknown && !begin_masked) || (end == SliceSpec::kUnknown && !end_masked)) return d;
  const bool forward = stride > 0;
  const int64_t from = Clamp(begin, size, begin_masked, false, forward);
  const int64_t to = Clamp(end, size, end_masked, true, forward);
  d.begin = from;
  d.stride = stride;
  const int64_t length = forward ? to - from : from - to;
  // Unsigned, since the stride may be INT64_MIN + 1.
  const uint64_t step = forward ? static_cast<uint64_t>(stride) : uint64_t{0} - static_cast<uint64_t>(stride);
  d.size = length <= 0 ? 0 : static_cast<int64_t>((static_cast<uint64_t>(length) - 1) / step + 1);
  if (d.size == 0) d.begin = 0;
  if (d.size <= 1) d.stride = 1;
  return d;
}

}  // namespace

PartialShape SlicePlan::TakenShape() const {
  PartialShape shape{std::initializer_list<int64_t>{}};
  for (const Dim& d : dims) shape.AddDim(d.size);
  return shape;
}

PartialShape SlicePlan::OutputShape() const {
  PartialShape shape{std::initializer_list<int64_t>{}};
  for (int from : outputs) shape.AddDim(from == kNewAxis ? 1 : dims[from].size);
  return shape;
}

bool SlicePlan::TakesEverything(const PartialShape& input) const {
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i].size != input.dim(i) || dims[i].size < 0 || dims[i].begin != 0 || dims[i].stride != 1) return false;
  }
  return true;
}

absl::StatusOr<SlicePlan> PlanSlice(const PartialShape& input, const SliceSpec& spec) {
  const int entries = static_cast<int>(spec.strides.size());
  if (spec.begin.size() != spec.strides.size() || spec.end.size() != spec.strides.size()) {
    return InvalidArgument("begin, end and strides must be vectors of one length, found ", spec.begin.size(), ", ",
                           spec.end.size(), " and ", entries);
  }
  if (entries >= kMaxEntries)
    return InvalidArgument("a slice has at most ", kMaxEntries - 1, " entries, found ", entries);
  int ellipsis = entries;  // the one at the end that is always meant
  int new_axes_after = 0;
  for (int i = 0; i < entries; ++i) {
    if (Bit(spec.ellipsis_mask, i)) {
      if (ellipsis < entries) return InvalidArgument("more than one ellipsis in a slice");
      ellipsis = i;
    } else if (ellipsis < entries && Bit(spec.new_axis_mask, i)) {
      ++new_axes_after;
    }
  }
  const int rank = input.rank();
  SlicePlan plan;
  const auto take_all = [&](int until) {
    while (static_cast<int>(plan.dims.size()) < until) {
      plan.outputs.push_back(static_cast<int>(plan.dims.size()));
      plan.dims.push_back({0, 1, input.dim(static_cast<int>(plan.dims.size()))});
    }
  };
  for (int i = 0; i < entries; ++i) {
    if (i == ellipsis) {
      take_all(std::min(rank - (entries - i) + 1 + new_axes_after, rank));
      continue;
    }
    if (Bit(spec.new_axis_mask, i)) {
      plan.outputs.push_back(SlicePlan::kNewAxis);
      continue;
    }
    const int dim = static_cast<int>(plan.dims.size());
    if (dim >= rank) {
      return InvalidArgument("index out of range using input dim ", dim, "; input has only ", rank,
                             " dims: its shape is ", input.ToString());
    }
    if (spec.strides[i] == 0) return InvalidArgument("strides[", i, "] must be non-zero");
    if (Bit(spec.shrink_axis_mask, i)) {
      ASSIGN_OR_RETURN(SlicePlan::Dim d, PlanIndex(spec.begin[i], spec.strides[i], input.dim(dim), dim));
      plan.dims.push_back(d);
      continue;
    }
    plan.outputs.push_back(dim);
    plan.dims.push_back(PlanRange(spec.begin[i], spec.end[i], spec.strides[i], Bit(spec.begin_mask, i),
                                  Bit(spec.end_mask, i), input.dim(dim)));
  }
  take_all(rank);
  return plan;
}

}  // namespace sluice
