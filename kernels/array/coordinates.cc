#include "kernels/array/coordinates.h"

#include "core/base/status.h"

namespace sluice {
namespace {

// "3" or "1,3": the coordinates of a flat position.
std::string Coordinates(const Shape& shape, int64_t at) {
  std::string text;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    text = absl::StrCat(at % shape.dim(i), text.empty() ? "" : ",", text);
    at /= shape.dim(i);
  }
  return text;
}

template <typename I>
int64_t FirstOutside(const I* indices, int64_t n, int64_t limit) {
  bool outside = false;
  for (int64_t i = 0; i < n; ++i) {
    outside |= static_cast<uint64_t>(static_cast<int64_t>(indices[i])) >= static_cast<uint64_t>(limit);
  }
  if (!outside) return -1;
  for (int64_t i = 0; i < n; ++i) {
    if (indices[i] < 0 || indices[i] >= limit) return i;
  }
  return -1;
}

template <typename I>
int64_t FindOffsets(const I* indices, int64_t slices, int64_t depth, const Shape& target, int64_t slice_elements,
                    IntList* offsets) {
  for (int64_t i = 0; i < slices; ++i) {
    int64_t at = 0;
    for (int64_t d = 0; d < depth; ++d) {
      const int64_t index = indices[i * depth + d];
      if (index < 0 || index >= target.dim(static_cast<int>(d))) return i;
      at = at * target.dim(static_cast<int>(d)) + index;
    }
    (*offsets)[i] = at * slice_elements;
  }
  return -1;
}

}  // namespace

absl::Status CheckIndices(const Tensor& indices, int64_t limit, absl::string_view name) {
  const int64_t n = indices.num_elements();
  const int64_t bad = indices.dtype() == DType::kInt32 ? FirstOutside(indices.data<int32_t>(), n, limit)
                                                       : FirstOutside(indices.data<int64_t>(), n, limit);
  if (bad < 0) return absl::OkStatus();
  const std::string where = indices.rank() == 0 ? "" : absl::StrCat("[", Coordinates(indices.shape(), bad), "]");
  return InvalidArgument(name, where, " = ", indices.IntAt(bad), " is not in [0, ", limit, ")");
}

absl::StatusOr<SliceOffsets> FindSlices(const Tensor& indices, const Shape& target, absl::string_view target_name) {
  if (indices.rank() < 1) return InvalidArgument("indices must have a dimension, found a scalar");
  const int64_t depth = indices.dim(indices.rank() - 1);
  if (depth > target.rank()) {
    return InvalidArgument("indices ", indices.shape().ToString(), " have ", depth, " coordinates, ", target_name, " ",
                           target.ToString(), " has ", target.rank(), " dimensions");
  }
  const int64_t slices = SizeOfDims(indices.shape(), 0, indices.rank() - 1);
  SliceOffsets found;
  found.slice_elements = SizeOfDims(target, static_cast<int>(depth), target.rank());
  found.offsets.resize(slices);
  const int64_t bad =
      indices.dtype() == DType::kInt32
          ? FindOffsets(indices.data<int32_t>(), slices, depth, target, found.slice_elements, &found.offsets)
          : FindOffsets(indices.data<int64_t>(), slices, depth, target, found.slice_elements, &found.offsets);
  if (bad < 0) return found;
  Shape outer = indices.shape();
  outer.RemoveDim(outer.rank() - 1);
  std::string coordinates;
  for (int64_t d = 0; d < depth; ++d) absl::StrAppend(&coordinates, d ? ", " : "", indices.IntAt(bad * depth + d));
  const std::string where = outer.rank() == 0 ? "" : absl::StrCat("[", Coordinates(outer, bad), "]");
  return InvalidArgument("indices", where, " = [", coordinates, "] does not index into ", target_name, " of shape ",
                         target.ToString());
}

}  // namespace sluice
