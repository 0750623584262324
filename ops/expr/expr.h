// Expressions over graph tensors, for gradient rules and passes: one function for each common op, and operators.
//
//   g.Into("x") = g.dy() * Exp(g["x"]);
#ifndef SLUICE_OPS_EXPR_EXPR_H_
#define SLUICE_OPS_EXPR_EXPR_H_

#include <utility>
#include <vector>

#include "core/graph/builder.h"

namespace sluice {

// Any op with inputs of one builder.
inline Out Op1(absl::string_view op, Out x, AttrMap attrs = {}) { return x.builder()->Op(op, {x}, std::move(attrs)); }
inline Out Op2(absl::string_view op, Out x, Out y, AttrMap attrs = {}) {
  return x.builder()->Op(op, {x, y}, std::move(attrs));
}

Out operator+(Out a, Out b);
Out operator-(Out a, Out b);
Out operator*(Out a, Out b);
Out operator/(Out a, Out b);  // RealDiv
Out operator-(Out a);
// With a number: a constant of the tensor's type.
Out operator+(Out a, double b);
Out operator-(Out a, double b);
Out operator-(double a, Out b);
Out operator*(Out a, double b);
Out operator*(double a, Out b);
Out operator/(Out a, double b);
Out operator/(double a, Out b);

inline Out Exp(Out x) { return Op1("Exp", x); }
inline Out Log(Out x) { return Op1("Log", x); }
inline Out Sqrt(Out x) { return Op1("Sqrt", x); }
inline Out Rsqrt(Out x) { return Op1("Rsqrt", x); }
inline Out Square(Out x) { return Op1("Square", x); }
inline Out Sin(Out x) { return Op1("Sin", x); }
inline Out Cos(Out x) { return Op1("Cos", x); }
inline Out Tanh(Out x) { return Op1("Tanh", x); }
inline Out Sigmoid(Out x) { return Op1("Sigmoid", x); }
inline Out Sign(Out x) { return Op1("Sign", x); }
inline Out Reciprocal(Out x) { return Op1("Reciprocal", x); }
inline Out Identity(Out x) { return Op1("Identity", x); }
inline Out StopGradient(Out x) { return Op1("StopGradient", x); }
inline Out ZerosLike(Out x) { return Op1("ZerosLike", x); }
inline Out OnesLike(Out x) { return Op1("OnesLike", x); }
inline Out Pow(Out x, Out y) { return Op2("Pow", x, y); }
inline Out Maximum(Out x, Out y) { return Op2("Maximum", x, y); }
inline Out Minimum(Out x, Out y) { return Op2("Minimum", x, y); }
inline Out Equal(Out x, Out y) { return Op2("Equal", x, y); }
inline Out Less(Out x, Out y) { return Op2("Less", x, y); }
inline Out LessEqual(Out x, Out y) { return Op2("LessEqual", x, y); }
inline Out Greater(Out x, Out y) { return Op2("Greater", x, y); }
inline Out GreaterEqual(Out x, Out y) { return Op2("GreaterEqual", x, y); }
inline Out FloorDiv(Out x, Out y) { return Op2("FloorDiv", x, y); }
inline Out FloorMod(Out x, Out y) { return Op2("FloorMod", x, y); }
Out Conj(Out x);                            // x itself for real types
Out Cast(Out x, DType to);                  // x itself when it has the type
Out Select(Out condition, Out x, Out y);    // same shapes (or a vector condition): "Select"
Out SelectV2(Out condition, Out x, Out y);  // broadcasting: "SelectV2"

// The shape of x as a vector: a constant when it is fully known.
Out ShapeOf(Out x, DType type = DType::kInt32);
Out SizeOf(Out x, DType type = DType::kInt32);
Out RankOf(Out x);
Out Reshape(Out x, Out shape);
// x reshaped to the shape of `like`; x itself when the shapes are known to be equal.
Out ReshapeLike(Out x, Out like);
Out ExpandDims(Out x, Out axis);
Out Squeeze(Out x, std::vector<int64_t> axes = {});
Out Transpose(Out x, Out permutation);
Out Sum(Out x, Out axes, bool keep_dims = false);
Out Mean(Out x, Out axes, bool keep_dims = false);
Out Prod(Out x, Out axes, bool keep_dims = false);
Out MatMul(Out a, Out b, bool transpose_a = false, bool transpose_b = false);
Out BatchMatMul(Out a, Out b, bool adjoint_a = false, bool adjoint_b = false);  // BatchMatMulV2
Out Fill(Out dims, Out value);
Out Concat(const std::vector<Out>& values, Out axis);  // ConcatV2
Out Pack(const std::vector<Out>& values, int axis = 0);
Out Slice(Out x, Out begin, Out size);
Out Gather(Out params, Out indices, Out axis);  // GatherV2
Out Range(Out start, Out limit, Out delta);
Out Tile(Out x, Out multiples);
Out AddN(const std::vector<Out>& values);

// Sums `gradient` (of the broadcast shape) over what broadcasting repeated, back to the shape of `input`, whose partner
// was `other`. Costs nothing when the static shapes are equal.
Out SumToShapeOf(Out gradient, Out input, Out other);

}  // namespace sluice

#endif  // SLUICE_OPS_EXPR_EXPR_H_
