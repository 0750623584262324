// The topics of the family, and what their rules share.
#ifndef SLUICE_OPS_MATH_TOPICS_H_
#define SLUICE_OPS_MATH_TOPICS_H_

#include <functional>
#include <optional>

#include "core/graph/gradient_scope.h"
#include "core/op/op_registry.h"
#include "core/op/shape_context.h"
#include "ops/expr/expr.h"

namespace sluice {

void DefineUnaryOps(OpRegistry& ops);
void DefineComplexOps(OpRegistry& ops);
void DefineArithmeticOps(OpRegistry& ops);
void DefineComparisonOps(OpRegistry& ops);
void DefineSpecialFunctionOps(OpRegistry& ops);
void DefineReductionOps(OpRegistry& ops);
void DefineScanOps(OpRegistry& ops);
void DefineSegmentOps(OpRegistry& ops);
void DefineSparseSegmentOps(OpRegistry& ops);
void DefineMatMulOps(OpRegistry& ops);
void DefineMatrixOps(OpRegistry& ops);
void DefineLinearAlgebraOps(OpRegistry& ops);
void DefineSequenceOps(OpRegistry& ops);
void DefineHistogramOps(OpRegistry& ops);

inline constexpr DTypeSet kFloatOrComplex = kFloatingTypes | kComplexTypes;

// x and y as gradients take them: conjugated.
inline Out X(GradientScope& g) { return Conj(g["x"]); }
inline Out Y(GradientScope& g) { return Conj(g["y"]); }

// The value of a constant, or null.
const Tensor* ConstantValue(Out x);
// The elements of a constant integer tensor.
std::optional<std::vector<int64_t>> ConstantInts(Out x);

// f over the known elements of one or two small integer inputs, broadcasting a scalar; f returns nullopt where it has
// no value.
ValueRule UnaryValue(std::function<std::optional<int64_t>(int64_t)> f);
ValueRule BinaryValue(std::function<std::optional<int64_t>(int64_t, int64_t)> f);

}  // namespace sluice

#endif  // SLUICE_OPS_MATH_TOPICS_H_
