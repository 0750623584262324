// The meaning of x[b:e:s, ..., newaxis, i]: StridedSlice's begin, end, strides and five masks made plain.
//
//   SliceSpec spec{{1, 0}, {3, 0}, {1, 1}};  spec.end_mask = 2;
//   ASSIGN_OR_RETURN(SlicePlan plan, PlanSlice(PartialShape({5, 7}), spec));   // takes [2,7] from row 1 on
//
// Shape rules and kernels share it, so it works with sizes and indices that are not known.
#ifndef SLUICE_CORE_OP_SLICE_SPEC_H_
#define SLUICE_CORE_OP_SLICE_SPEC_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/types/shape.h"

namespace sluice {

struct SliceSpec {
  static constexpr int64_t kUnknown = INT64_MIN;  // an index that is not known yet
  std::vector<int64_t> begin, end, strides;       // of equal length
  // Bit i speaks of entry i. An ellipsis wins over a new axis, which wins over a shrunk one.
  int64_t begin_mask = 0, end_mask = 0, ellipsis_mask = 0, new_axis_mask = 0, shrink_axis_mask = 0;
};

struct SlicePlan {
  static constexpr int kNewAxis = -1;
  // Of each dimension of the input: elements begin, begin + stride ... `size` of them. Sizes may be kUnknownDim, and
  // then begin and stride may be meaningless.
  struct Dim {
    int64_t begin = 0;
    int64_t stride = 1;
    int64_t size = kUnknownDim;
  };
  std::vector<Dim> dims;
  std::vector<int> outputs;  // for each dimension of the output: the one of the input it comes from, or kNewAxis

  PartialShape TakenShape() const;   // with the rank of the input
  PartialShape OutputShape() const;  // after axes were added and dropped
  bool TakesEverything(const PartialShape& input) const;
};

// Errors on zero strides, indices that are out of range, too many entries, more than one ellipsis.
// REQUIRES: input.known_rank().
absl::StatusOr<SlicePlan> PlanSlice(const PartialShape& input, const SliceSpec& spec);

}  // namespace sluice

#endif  // SLUICE_CORE_OP_SLICE_SPEC_H_
