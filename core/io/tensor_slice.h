// A rectangular part of a tensor, as partitioned variables are saved and restored by.
//
//   ASSIGN_OR_RETURN(TensorSlice s, TensorSlice::Parse("0,10:-"));   // rows 0..9, all columns
#ifndef SLUICE_CORE_IO_TENSOR_SLICE_H_
#define SLUICE_CORE_IO_TENSOR_SLICE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/types/allocator.h"
#include "core/types/shape.h"
#include "core/types/tensor.h"

namespace sluice {

namespace proto {
class TensorSliceProto;
}

struct TensorSlice {
  static constexpr int64_t kAll = -1;
  struct Extent {
    int64_t start = 0;
    int64_t length = kAll;  // kAll: the whole dimension; start is then 0
  };
  std::vector<Extent> extents;

  // "start,length" or "-" for each dimension, joined by ':'. "" is the slice of a scalar.
  static absl::StatusOr<TensorSlice> Parse(absl::string_view text);
  static absl::StatusOr<TensorSlice> FromProto(const proto::TensorSliceProto& message);
  void ToProto(proto::TensorSliceProto* message) const;
  std::string ToString() const;

  // With every length filled in and checked to lie within `full`.
  absl::StatusOr<TensorSlice> Within(const Shape& full) const;
  // REQUIRES: no length is kAll.
  Shape ToShape() const;
};

// What SaveV2 and RestoreV2 take for each tensor: "" or "30 10 0,10:-" (the full shape, then the slice).
struct ShapeAndSlice {
  bool whole = true;
  Shape full_shape;
  TensorSlice slice;
};
absl::StatusOr<ShapeAndSlice> ParseShapeAndSlice(absl::string_view text);

// Copies the elements that both parts have from `from` (the part `from_slice` of a tensor) to `to` (the part
// `to_slice`); returns how many. REQUIRES: slices without kAll that agree with the tensors' shapes, equal types, plain
// or strings.
int64_t CopyOverlap(const Tensor& from, const TensorSlice& from_slice, const Tensor& to, const TensorSlice& to_slice);

// Puts the part `wanted` of a tensor together from its `parts`, calling `read` for those that it needs. DATA_LOSS when
// parts overlap (overlapping ones could pass for complete ones) or do not cover it. REQUIRES: slices without kAll;
// read(i) gives a tensor of type `dtype` and the shape of parts[i].
absl::StatusOr<Tensor> AssembleParts(DType dtype, const TensorSlice& wanted, const std::vector<TensorSlice>& parts,
                                     absl::FunctionRef<absl::StatusOr<Tensor>(size_t i)> read, Allocator* allocator);

// The key under which a checkpoint stores this part of tensor `name`.
std::string SliceKey(absl::string_view name, const TensorSlice& slice);

}  // namespace sluice

#endif  // SLUICE_CORE_IO_TENSOR_SLICE_H_
