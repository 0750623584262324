// Arithmetic on tensors: element-wise functions, comparisons, reductions, segments, matrix products, sequences.
#ifndef SLUICE_OPS_MATH_MATH_OPS_H_
#define SLUICE_OPS_MATH_MATH_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineMathOps(OpRegistry& ops);

}  // namespace sluice

#endif  // SLUICE_OPS_MATH_MATH_OPS_H_
