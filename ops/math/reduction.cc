// Reductions over axes. Axes may be negative; none given means none reduced, so the front end passes all of them by
// default.
#include <algorithm>
#include <numeric>

#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

absl::Status ReductionShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(bool keep, c.Attr<bool>("keep_dims"));
  const PartialShape& in = c.input(0);
  if (c.input(1).known_rank() && c.input(1).rank() > 1) {
    return InvalidArgument("the axes must be a scalar or a vector, found shape ", c.input(1).ToString());
  }
  const std::optional<std::vector<int64_t>> axes = c.ints(1);
  if (!in.known_rank()) return absl::OkStatus();
  if (!axes) {
    // Each axis is one of the input's, so without axes the shape stays.
    if (keep) c.SetOutput(0, PartialShape::UnknownDims(in.rank()));
    return absl::OkStatus();
  }
  std::vector<bool> reduced(in.rank(), false);
  for (int64_t a : *axes) {
    ASSIGN_OR_RETURN(int axis, ShapeContext::Axis(a, in.rank()));
    reduced[axis] = true;
  }
  PartialShape out = PartialShape(absl::Span<const int64_t>());
  for (int i = 0; i < in.rank(); ++i) {
    if (!reduced[i]) {
      out.AddDim(in.dim(i));
    } else if (keep) {
      out.AddDim(1);
    }
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

// The shape of the forward input with 1 in place of every reduced size, as a tensor.
Out KeptShape(GradientScope& g) {
  Out x = g["input"], axes = g["reduction_indices"];
  const std::optional<std::vector<int64_t>> known = ConstantInts(axes);
  if (known && x.shape().IsFullyKnown()) {
    const PartialShape shape = x.shape();
    std::vector<int64_t> dims(shape.dims().begin(), shape.dims().end());
    for (int64_t a : *known) dims[a < 0 ? a + x.shape().rank() : a] = 1;
    return g.Ints(std::move(dims));
  }
  Out rank = RankOf(x), shape = ShapeOf(x);
  Out flat = Reshape(Cast(axes, DType::kInt32), g.Ints({-1}));
  Out positive = FloorMod(flat + rank, rank);
  return g.Op("DynamicStitch", {Range(g.Int(0), rank, g.Int(1)), positive, shape, OnesLike(positive)});
}

// A tensor of the output's shape with the reduced sizes put back as 1.
Out Kept(GradientScope& g, Out t) { return g.MustAttr<bool>("keep_dims") ? t : Reshape(t, KeptShape(g)); }

Out Spread(GradientScope& g, Out t) { return Op2("BroadcastTo", Kept(g, t), ShapeOf(g["input"])); }

// How many elements each output came from, as the tensor's type.
Out ReducedCount(GradientScope& g) {
  Out x = g["input"], y = g["output"];
  const int64_t nx = x.shape().num_elements(), ny = y.shape().num_elements();
  if (nx >= 0 && ny > 0) return g.Scalar(x.dtype(), static_cast<double>(nx / ny));
  return Cast(FloorDiv(SizeOf(x), Maximum(SizeOf(y), g.Int(1))), x.dtype());
}

void ExtremeGradient(GradientScope& g) {
  Out x = g["input"];
  Out chosen = Cast(Equal(Kept(g, g["output"]), x), x.dtype());
  // Equal extremes share the gradient.
  Out ties = Kept(g, Sum(chosen, g["reduction_indices"], g.MustAttr<bool>("keep_dims")));
  g.Into("input") = chosen / ties * Kept(g, g.dy());
}

// The product of all others along the reduced axes, by products from both ends, so that zeros are no special case.
void ProdGradient(GradientScope& g) {
  Out x = g["input"], axes = g["reduction_indices"];
  Out rank = RankOf(x), shape = ShapeOf(x);
  Out reduced = FloorMod(Reshape(Cast(axes, DType::kInt32), g.Ints({-1})) + rank, rank);
  Out others = g.Op("ListDiff", {Range(g.Int(0), rank, g.Int(1)), reduced});
  Out permutation = Concat({reduced, others}, g.Int(0));
  Out count = Reshape(Prod(Gather(shape, reduced, g.Int(0)), g.Ints({0})), g.Ints({1}));
  Out rest = Reshape(Prod(Gather(shape, others, g.Int(0)), g.Ints({0})), g.Ints({1}));
  Out permuted = Transpose(x, permutation);
  Out columns = Reshape(permuted, Concat({count, rest}, g.Int(0)));
  auto scan = [&](bool reverse) {
    return Op2("Cumprod", columns, g.Int(0), {{"exclusive", true}, {"reverse", reverse}});
  };
  Out product = Reshape(Conj(scan(false)) * Conj(scan(true)), ShapeOf(permuted));
  Out spread = Op2("BroadcastTo", Kept(g, g.dy()), shape);
  g.Into("input") = spread * Transpose(product, Op1("InvertPermutation", permutation));
}

ValueRule ReduceVector(int64_t start, std::function<int64_t(int64_t, int64_t)> f) {
  return [start, f = std::move(f)](ShapeContext& c) {
    const int64_t n = c.input(0).num_elements();
    if (!c.input(0).known_rank() || c.input(0).rank() != 1 || n < 0 || n > kMaxRank) return;
    if (!c.output(0).known_rank() || c.output(0).rank() != 0) return;
    const std::optional<std::vector<int64_t>> x = c.ints(0);
    if (!x) return;
    const int64_t total = std::accumulate(x->begin(), x->end(), start, f);
    if (c.input_type(0) != DType::kInt64 && (c.input_type(0) != DType::kInt32 || total != static_cast<int32_t>(total)))
      return;
    PartialValue v;
    v.scalar = true;
    v.elements = {total};
    c.SetOutputValue(0, std::move(v));
  };
}

OpBuilder Reduction(OpRegistry& ops, absl::string_view name, absl::string_view summary, DTypeSet types) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("input", "T").Input("reduction_indices", "Tidx").Output("output", "T");
  b.Attr("keep_dims: bool = false", "Keep reduced axes with size 1.");
  b.Type("T", types).Type("Tidx", kIndexTypes, DType::kInt32).Shape(ReductionShape);
  return b;
}

absl::Status ArgShape(ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(1, 0).status());
  const PartialShape& in = c.input(0);
  if (!in.known_rank()) return absl::OkStatus();
  if (in.rank() == 0) return InvalidArgument("a scalar has no axis to search along");
  const std::optional<int64_t> axis = c.scalar(1);
  if (!axis) {
    c.SetOutput(0, PartialShape::UnknownDims(in.rank() - 1));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(int at, ShapeContext::Axis(*axis, in.rank()));
  PartialShape out = PartialShape(absl::Span<const int64_t>());
  for (int i = 0; i < in.rank(); ++i) {
    if (i != at) out.AddDim(in.dim(i));
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

}  // namespace

void DefineReductionOps(OpRegistry& ops) {
  constexpr DTypeSet kTypes = kArithmeticTypes;
  Reduction(ops, "Sum", "The sum over axes.", kTypes)
      .Value(ReduceVector(0,
                          [](int64_t a, int64_t b) {
                            int64_t r;
                            return a == PartialValue::kUnknown || __builtin_add_overflow(a, b, &r)
                                       ? PartialValue::kUnknown
                                       : r;
                          }))
      .Gradient([](GradientScope& g) { g.Into("input") = Spread(g, g.dy()); });
  Reduction(ops, "Mean", "The mean over axes.", kTypes).Gradient([](GradientScope& g) {
    g.Into("input") = Spread(g, g.dy() / ReducedCount(g));
  });
  Reduction(ops, "Prod", "The product over axes.", kTypes)
      .Value(ReduceVector(1,
                          [](int64_t a, int64_t b) {
                            int64_t r;
                            return a == PartialValue::kUnknown || __builtin_mul_overflow(a, b, &r)
                                       ? PartialValue::kUnknown
                                       : r;
                          }))
      .Gradient([](GradientScope& g) { ProdGradient(g); });
  Reduction(ops, "Max", "The greatest element over axes; nan when one is nan.", kRealTypes)
      .Gradient([](GradientScope& g) { ExtremeGradient(g); });
  Reduction(ops, "Min", "The least element over axes; nan when one is nan.", kRealTypes).Gradient([](GradientScope& g) {
    ExtremeGradient(g);
  });
  Reduction(ops, "EuclideanNorm", "The square root of the sum of x * conj(x) over axes.", kTypes)
      .Gradient([](GradientScope& g) {
        Out unit = Op2("DivNoNan", g["input"], Kept(g, g["output"]));
        g.Into("input") = unit * Kept(g, g.dy());
      });
  for (auto [name, summary] : {std::pair{"All", "Whether all elements over axes are true."},
                               std::pair{"Any", "Whether one element over axes is true."}}) {
    ops.Define(name, summary)
        .Input("input", "bool")
        .Input("reduction_indices", "Tidx")
        .Output("output", "bool")
        .Attr("keep_dims: bool = false")
        .Type("Tidx", kIndexTypes, DType::kInt32)
        .NotDifferentiable()
        .Shape(ReductionShape);
  }
  for (auto [name, summary] : {std::pair{"ArgMax", "Where the greatest element along an axis is; the first of equals."},
                               std::pair{"ArgMin", "Where the least element along an axis is; the first of equals."}}) {
    ops.Define(name, summary)
        .Input("input", "T")
        .Input("dimension", "Tidx")
        .Output("output", "output_type")
        .Type("T", kArithmeticTypes | DTypeSet{DType::kBool})
        .Type("Tidx", kIndexTypes, DType::kInt32)
        .Type("output_type", kIndexTypes, DType::kInt64)
        .NotDifferentiable()
        .Shape(ArgShape);
  }
}

void DefineScanOps(OpRegistry& ops) {
  auto scan = [&](const char* name, const char* summary) {
    OpBuilder b = ops.Define(name, summary);
    b.Input("x", "T").Input("axis", "Tidx").Output("out", "T");
    b.Attr("exclusive: bool = false", "Element i leaves out x[i].").Attr("reverse: bool = false", "Begin at the end.");
    b.Type("T", kArithmeticTypes).Type("Tidx", kIndexTypes, DType::kInt32).Shape([](ShapeContext& c) -> absl::Status {
      RETURN_IF_ERROR(c.WithRank(1, 0).status());
      const std::optional<int64_t> axis = c.scalar(1);
      if (axis && c.input(0).known_rank()) RETURN_IF_ERROR(ShapeContext::Axis(*axis, c.input(0).rank()).status());
      c.SetOutput(0, c.input(0));
      return absl::OkStatus();
    });
    return b;
  };
  auto attrs = [](GradientScope& g) {
    return AttrMap{{"exclusive", g.MustAttr<bool>("exclusive")}, {"reverse", !g.MustAttr<bool>("reverse")}};
  };
  scan("Cumsum", "The running sum along an axis.").Gradient([attrs](GradientScope& g) {
    g.Into("x") = Op2("Cumsum", g.dy(), g["axis"], attrs(g));
  });
  scan("Cumprod", "The running product along an axis.").Gradient([attrs](GradientScope& g) {
    Out sums = Op2("Cumsum", Conj(g["out"]) * g.dy(), g["axis"], attrs(g));
    g.Into("x") = Op2("DivNoNan", sums, Conj(g["x"]));
  });
}

}  // namespace sluice
