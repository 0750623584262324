// Joins rows by segment number: what the sorted, the unsorted and the sparse segment ops share.
#ifndef SLUICE_KERNELS_MATH_SEGMENT_H_
#define SLUICE_KERNELS_MATH_SEGMENT_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "core/kernel/kernel.h"

namespace sluice {

enum class SegmentOp { kSum, kMean, kSqrtN, kProd, kMax, kMin };
// What a segment without rows holds.
enum class EmptySegment { kZero, kOne, kLowest, kHighest };

// Row i of `data` (or row rows[i], when rows is not empty) is joined to row ids[i] of output 0, whose shape is `shape`;
// negative ids are dropped. A row has inner elements. Rows of one segment are joined in the order of i. half and
// bfloat16 are joined as float. REQUIRES: ids and rows are in range.
absl::Status JoinSegments(KernelContext& c, SegmentOp op, EmptySegment empty, const Tensor& data,
                          absl::Span<const int64_t> rows, absl::Span<const int64_t> ids, int64_t inner,
                          const Shape& shape);

// Any integer tensor as int64.
std::vector<int64_t> Integers(const Tensor& t);

// The elements as another type; REQUIRES: both are half, bfloat16 or float.
absl::StatusOr<Tensor> ConvertFloats(const Tensor& x, DType to);

// A number for each segment, all 0: there may be more segments than rows, and more than memory.
absl::StatusOr<Tensor> MakeCounts(int64_t segments);

// Divides row i of x, a tensor of float, double or another number type, by divisors[i] (1 where it is 0).
void DivideRows(Tensor* x, int64_t inner, absl::Span<const double> divisors);

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_SEGMENT_H_
