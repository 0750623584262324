// Products of matrices, single and in batches.
#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kMatMulTypes = {DType::kBfloat16, DType::kHalf,  DType::kFloat,     DType::kDouble,
                                   DType::kInt32,    DType::kInt64, DType::kComplex64, DType::kComplex128};

absl::Status CheckInner(int64_t a, int64_t b, const PartialShape& x, const PartialShape& y) {
  if (a < 0 || b < 0 || a == b) return absl::OkStatus();
  return InvalidArgument("inner sizes differ: a is ", x.ToString(), ", b is ", y.ToString(), ", so ", a,
                         " columns meet ", b, " rows");
}

absl::Status MatMulShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape a, c.WithRank(0, 2));
  ASSIGN_OR_RETURN(PartialShape b, c.WithRank(1, 2));
  ASSIGN_OR_RETURN(bool ta, c.Attr<bool>("transpose_a"));
  ASSIGN_OR_RETURN(bool tb, c.Attr<bool>("transpose_b"));
  absl::Status inner = CheckInner(a.dim(ta ? 0 : 1), b.dim(tb ? 1 : 0), a, b);
  if (!inner.ok()) {
    if (a.dim(ta ? 0 : 1) == b.dim(tb ? 0 : 1)) {
      return InvalidArgument(inner.message(), "; transpose_b=", tb ? "False" : "True", " would give [",
                             a.dim(ta ? 1 : 0), ",", b.dim(tb ? 1 : 0), "]");
    }
    return inner;
  }
  c.SetOutput(0, {a.dim(ta ? 1 : 0), b.dim(tb ? 0 : 1)});
  return absl::OkStatus();
}

PartialShape BatchOf(const PartialShape& s) {
  if (!s.known_rank()) return PartialShape();
  return PartialShape(s.dims().subspan(0, s.rank() - 2));
}

absl::Status BatchMatMulShape(ShapeContext& c, bool broadcasts) {
  ASSIGN_OR_RETURN(PartialShape x, c.WithRankAtLeast(0, 2));
  ASSIGN_OR_RETURN(PartialShape y, c.WithRankAtLeast(1, 2));
  ASSIGN_OR_RETURN(bool adj_x, c.Attr<bool>("adj_x"));
  ASSIGN_OR_RETURN(bool adj_y, c.Attr<bool>("adj_y"));
  if (!x.known_rank() || !y.known_rank()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckInner(x.dim(x.rank() - (adj_x ? 2 : 1)), y.dim(y.rank() - (adj_y ? 1 : 2)), x, y));
  ASSIGN_OR_RETURN(PartialShape out,
                   broadcasts ? BroadcastShapes(BatchOf(x), BatchOf(y)) : BatchOf(x).MergeWith(BatchOf(y)));
  if (out.known_rank()) {
    out.AddDim(x.dim(x.rank() - (adj_x ? 1 : 2)));
    out.AddDim(y.dim(y.rank() - (adj_y ? 2 : 1)));
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

// Gradients of the broadcast batch, summed back to the batch of the input.
Out SumBatch(GradientScope& g, Out gradient, Out input, Out other) {
  const PartialShape in = input.shape(), with = other.shape();
  if (in.known_rank() && with.known_rank() && BatchOf(in).IsFullyKnown() && BatchOf(in) == BatchOf(with))
    return gradient;
  auto batch = [&](Out x) {
    if (x.shape().known_rank() && BatchOf(x.shape()).IsFullyKnown()) {
      const PartialShape s = BatchOf(x.shape());
      return g.Ints({s.dims().begin(), s.dims().end()});
    }
    Out shape = ShapeOf(x);
    return Slice(shape, g.Ints({0}), Reshape(RankOf(x) - g.Int(2), g.Ints({1})));
  };
  Out axes = g.Op("BroadcastGradientArgs", {batch(input), batch(other)});
  return Reshape(Sum(gradient, axes), ShapeOf(input));
}

void BatchGradient(GradientScope& g, absl::string_view op, bool broadcasts) {
  const bool ax = g.MustAttr<bool>("adj_x"), ay = g.MustAttr<bool>("adj_y");
  Out x = g["x"], y = g["y"], dy = g.dy();
  auto product = [&](Out a, Out b, bool adj_a, bool adj_b) {
    return Op2(op, a, b, {{"adj_x", adj_a}, {"adj_y", adj_b}});
  };
  Out gx = ax ? product(y, dy, ay, true) : product(dy, y, false, !ay);
  Out gy = ay ? product(dy, x, true, ax) : product(x, dy, !ax, false);
  g.Into("x") = broadcasts ? SumBatch(g, gx, x, y) : gx;
  g.Into("y") = broadcasts ? SumBatch(g, gy, y, x) : gy;
}

}  // namespace

void DefineMatMulOps(OpRegistry& ops) {
  ops.Define("MatMul", "The product of two matrices.")
      .Input("a", "T")
      .Input("b", "T")
      .Output("product", "T")
      .Attr("transpose_a: bool = false")
      .Attr("transpose_b: bool = false")
      .Type("T", kMatMulTypes)
      .Shape(MatMulShape)
      .Gradient([](GradientScope& g) {
        const bool ta = g.MustAttr<bool>("transpose_a"), tb = g.MustAttr<bool>("transpose_b");
        Out a = Conj(g["a"]), b = Conj(g["b"]), dy = g.dy();
        g.Into("a") = ta ? MatMul(b, dy, tb, true) : MatMul(dy, b, false, !tb);
        g.Into("b") = tb ? MatMul(dy, a, true, ta) : MatMul(a, dy, !ta, false);
      });
  ops.Define("SparseMatMul",
             "The product of two matrices of float or bfloat16, as float; the hints that one has many zeros change "
             "nothing.")
      .Input("a", "Ta")
      .Input("b", "Tb")
      .Output("product", "float")
      .Attr("transpose_a: bool = false")
      .Attr("transpose_b: bool = false")
      .Attr("a_is_sparse: bool = false")
      .Attr("b_is_sparse: bool = false")
      .Type("Ta", {DType::kFloat, DType::kBfloat16}, DType::kFloat)
      .Type("Tb", {DType::kFloat, DType::kBfloat16}, DType::kFloat)
      .Shape(MatMulShape)
      .Gradient([](GradientScope& g) {
        const bool ta = g.MustAttr<bool>("transpose_a"), tb = g.MustAttr<bool>("transpose_b");
        Out a = Cast(g["a"], DType::kFloat), b = Cast(g["b"], DType::kFloat), dy = g.dy();
        g.Into("a") = Cast(ta ? MatMul(b, dy, tb, true) : MatMul(dy, b, false, !tb), g["a"].dtype());
        g.Into("b") = Cast(tb ? MatMul(dy, a, true, ta) : MatMul(a, dy, !ta, false), g["b"].dtype());
      });
  for (bool broadcasts : {false, true}) {
    const char* name = broadcasts ? "BatchMatMulV2" : "BatchMatMul";
    ops.Define(name, broadcasts
                         ? "The products of the matrices in the last two dimensions; the others are broadcast."
                         : "The products of the matrices in the last two dimensions; the others are the same in both.")
        .Input("x", "T")
        .Input("y", "T")
        .Output("output", "T")
        .Attr("adj_x: bool = false", "Take the conjugate transpose of x.")
        .Attr("adj_y: bool = false", "Take the conjugate transpose of y.")
        .Type("T", kMatMulTypes)
        .Shape([broadcasts](ShapeContext& c) { return BatchMatMulShape(c, broadcasts); })
        .Gradient([broadcasts, name](GradientScope& g) { BatchGradient(g, name, broadcasts); });
  }
}

}  // namespace sluice
