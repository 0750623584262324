// The arithmetic of collectives: element by element, two tensors into one, and the division at the end.
//
// Half and bfloat16 are added in float and rounded after each step.
#ifndef SLUICE_RUNTIME_COLLECTIVE_MERGE_H_
#define SLUICE_RUNTIME_COLLECTIVE_MERGE_H_

#include <cstdint>

#include "core/kernel/collectives.h"
#include "core/types/dtype.h"

namespace sluice {

// to[i] = a[i] op b[i]. `to` may be `a` or `b`. REQUIRES: a type of kArithmeticTypes.
void Merge(DType dtype, MergeOp op, const void* a, const void* b, void* to, int64_t count);
// As Merge, then DivideBy when `divisor` is not 1. With `stream`, `to` is memory that is not read again soon: where the
// machine can, its old lines are not fetched first.
void MergeLast(DType dtype, MergeOp op, const void* a, const void* b, void* to, int64_t count, int64_t divisor,
               bool stream);
// memcpy, likewise.
void CopyOut(void* to, const void* from, int64_t bytes, bool stream);
// to[i] /= members; integers are truncated.
void DivideBy(DType dtype, int64_t members, void* to, int64_t count);

// Where part `i` of `parts` begins when `count` elements are cut evenly: at multiples of `align`, but for the end.
int64_t PartBegin(int64_t count, int64_t parts, int64_t i, int64_t align = 16);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_COLLECTIVE_MERGE_H_
