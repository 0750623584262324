#include "ops/expr/expr.h"

#include "core/base/status.h"

namespace sluice {
namespace {

Out Number(Out like, double value) { return like.builder()->Scalar(like.dtype(), value); }

Out Reduce(absl::string_view op, Out x, Out axes, bool keep_dims) {
  return x.builder()->Op(op, {x, axes}, {{"keep_dims", keep_dims}});
}

}  // namespace

Out operator+(Out a, Out b) { return Op2("AddV2", a, b); }
Out operator-(Out a, Out b) { return Op2("Sub", a, b); }
Out operator*(Out a, Out b) { return Op2("Mul", a, b); }
Out operator/(Out a, Out b) { return Op2("RealDiv", a, b); }
Out operator-(Out a) { return Op1("Neg", a); }
Out operator+(Out a, double b) { return a + Number(a, b); }
Out operator-(Out a, double b) { return a - Number(a, b); }
Out operator-(double a, Out b) { return Number(b, a) - b; }
Out operator*(Out a, double b) { return a * Number(a, b); }
Out operator*(double a, Out b) { return Number(b, a) * b; }
Out operator/(Out a, double b) { return a / Number(a, b); }
Out operator/(double a, Out b) { return Number(b, a) / b; }

Out Conj(Out x) { return IsComplex(x.dtype()) ? Op1("Conj", x) : x; }
Out Cast(Out x, DType to) { return x.dtype() == to ? x : Op1("Cast", x, {{"DstT", to}}); }
Out Select(Out condition, Out x, Out y) { return x.builder()->Op("Select", {condition, x, y}); }
Out SelectV2(Out condition, Out x, Out y) { return x.builder()->Op("SelectV2", {condition, x, y}); }

Out ShapeOf(Out x, DType type) {
  PartialShape s = x.shape();
  if (s.IsFullyKnown()) return x.builder()->Ints({s.dims().begin(), s.dims().end()}, type);
  return x.builder()->Op("Shape", {x}, {{"out_type", type}});
}
Out SizeOf(Out x, DType type) {
  int64_t n = x.shape().num_elements();
  if (n >= 0) return x.builder()->Int(n, type);
  return x.builder()->Op("Size", {x}, {{"out_type", type}});
}
Out RankOf(Out x) {
  if (x.shape().known_rank()) return x.builder()->Int(x.shape().rank());
  return Op1("Rank", x);
}
Out Reshape(Out x, Out shape) { return Op2("Reshape", x, shape); }
Out ReshapeLike(Out x, Out like) {
  if (x.shape().IsFullyKnown() && x.shape() == like.shape()) return x;
  return Reshape(x, ShapeOf(like));
}
Out ExpandDims(Out x, Out axis) { return Op2("ExpandDims", x, axis); }
Out Squeeze(Out x, std::vector<int64_t> axes) { return Op1("Squeeze", x, {{"squeeze_dims", std::move(axes)}}); }
Out Transpose(Out x, Out permutation) { return Op2("Transpose", x, permutation); }
Out Sum(Out x, Out axes, bool keep_dims) { return Reduce("Sum", x, axes, keep_dims); }
Out Mean(Out x, Out axes, bool keep_dims) { return Reduce("Mean", x, axes, keep_dims); }
Out Prod(Out x, Out axes, bool keep_dims) { return Reduce("Prod", x, axes, keep_dims); }
Out MatMul(Out a, Out b, bool transpose_a, bool transpose_b) {
  return Op2("MatMul", a, b, {{"transpose_a", transpose_a}, {"transpose_b", transpose_b}});
}
Out BatchMatMul(Out a, Out b, bool adjoint_a, bool adjoint_b) {
  return Op2("BatchMatMulV2", a, b, {{"adj_x", adjoint_a}, {"adj_y", adjoint_b}});
}
Out Fill(Out dims, Out value) { return Op2("Fill", dims, value); }
Out Concat(const std::vector<Out>& values, Out axis) {
  std::vector<Out> inputs = values;
  inputs.push_back(axis);
  return axis.builder()->Op("ConcatV2", inputs, {{"N", static_cast<int64_t>(values.size())}});
}
Out Pack(const std::vector<Out>& values, int axis) { return values[0].builder()->Op("Pack", values, {{"axis", axis}}); }
Out Slice(Out x, Out begin, Out size) { return x.builder()->Op("Slice", {x, begin, size}); }
Out Gather(Out params, Out indices, Out axis) { return params.builder()->Op("GatherV2", {params, indices, axis}); }
Out Range(Out start, Out limit, Out delta) { return start.builder()->Op("Range", {start, limit, delta}); }
Out Tile(Out x, Out multiples) { return Op2("Tile", x, multiples); }
Out AddN(const std::vector<Out>& values) { return values[0].builder()->Op("AddN", values); }

Out SumToShapeOf(Out gradient, Out input, Out other) {
  const PartialShape in = input.shape(), with = other.shape();
  if (in.IsFullyKnown() && with.IsFullyKnown()) {
    absl::StatusOr<PartialShape> out = BroadcastShapes(in, with);
    if (out.ok() && *out == in) return gradient;
    if (out.ok()) {
      // The axes that broadcasting repeated are known now.
      std::vector<int64_t> axes;
      int shift = out->rank() - in.rank();
      for (int i = 0; i < out->rank(); ++i) {
        if (i < shift || (in.dim(i - shift) == 1 && out->dim(i) != 1)) axes.push_back(i);
      }
      GraphBuilder* b = gradient.builder();
      return Reshape(Sum(gradient, b->Ints(std::move(axes))), ShapeOf(input));
    }
  }
  Out shape = ShapeOf(input);
  Out axes = gradient.builder()->Op("BroadcastGradientArgs", {shape, ShapeOf(other)});
  return Reshape(Sum(gradient, axes), shape);
}

}  // namespace sluice
