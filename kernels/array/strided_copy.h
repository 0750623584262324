// Copies between two arrays that are walked with strides of their own: the one loop behind slices, transposes, padding,
// tiling, reversal, blocks of space, joins and cuts.
//
//   // A transpose of [r, c] to [c, r]:
//   StridedCopy(c, t.dtype(), out, in, {{c, r, 1}, {r, 1, c}});
//
// Strides are in elements and may be zero (in `from`: repeats) or negative. Dimensions that can be walked as one are
// merged; contiguous runs become memcpy, transposed planes are walked in tiles, and large copies are split over the
// threads of the step.
#ifndef SLUICE_KERNELS_ARRAY_STRIDED_COPY_H_
#define SLUICE_KERNELS_ARRAY_STRIDED_COPY_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "core/kernel/kernel.h"
#include "kernels/array/elements.h"

namespace sluice {

struct CopyDim {
  int64_t size;
  int64_t to;    // stride in the destination
  int64_t from;  // stride in the source
};
using CopyDims = absl::InlinedVector<CopyDim, 8>;

// `to` and `from` point at the element with index 0 in every dimension. The arrays do not overlap, no two places of
// `to` are one.
void StridedCopy(const KernelContext& c, DType t, void* to, const void* from, absl::Span<const CopyDim> dims);

// True when the copy is a single run, so that the source may be used as it is.
bool IsOneRun(absl::Span<const CopyDim> dims);

// Row-major strides of a shape.
IntList RowMajorStrides(const Shape& shape);

}  // namespace sluice

#endif  // SLUICE_KERNELS_ARRAY_STRIDED_COPY_H_
