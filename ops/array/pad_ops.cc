// Ops that make a tensor larger: padding and tiling.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

// The known elements of the [rank, 2] paddings of input `i`.
std::optional<std::vector<int64_t>> Paddings(const ShapeContext& c, int i) {
  const Tensor* t = c.constant(i);
  if (t == nullptr || !IsIndexType(t->dtype())) return std::nullopt;
  std::vector<int64_t> values(t->num_elements());
  for (size_t k = 0; k < values.size(); ++k) values[k] = t->IntAt(k);
  return values;
}

// `sign` 1 adds the paddings to the input's sizes, -1 takes them away.
absl::Status PadShape(ShapeContext& c, int sign) {
  ASSIGN_OR_RETURN(const PartialShape table, c.WithRank(1, 2));
  if (table.dim(1) >= 0 && table.dim(1) != 2) {
    return InvalidArgument("paddings must have two columns, found shape ", table.ToString());
  }
  const PartialShape& in = c.input(0);
  int64_t rank = table.dim(0);
  if (in.known_rank()) {
    ASSIGN_OR_RETURN(rank, MergeSizes(in.rank(), rank, "the rank of the input and the rows of paddings"));
  }
  c.SetOutput(0, PartialShape());
  if (rank < 0) return absl::OkStatus();
  if (rank > kMaxRank) return InvalidArgument("paddings have ", rank, " rows");
  PartialShape out = PartialShape::UnknownDims(static_cast<int>(rank));
  const std::optional<std::vector<int64_t>> paddings = Paddings(c, 1);
  for (int i = 0; paddings.has_value() && i < rank; ++i) {
    const int64_t before = (*paddings)[2 * i], after = (*paddings)[2 * i + 1];
    if (before < 0 || after < 0)
      return InvalidArgument("paddings must be non-negative, found ", before, " and ", after);
    if (!in.known_rank() || in.dim(i) < 0) continue;
    ASSIGN_OR_RETURN(const int64_t both, AddSizes(before, after));
    if (sign > 0) {
      ASSIGN_OR_RETURN(const int64_t size, AddSizes(in.dim(i), both));
      out.SetDim(i, size);
    } else if (both > in.dim(i)) {
      return InvalidArgument("paddings ", before, " + ", after, " exceed dimension ", i, " of ", in.ToString());
    } else {
      out.SetDim(i, in.dim(i) - both);
    }
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

// The first column of the paddings.
Out Befores(GradientScope& g) {
  const Out paddings = g["paddings"];
  const Out column = g.Op("StridedSlice", {paddings, g.Ints({0, 0}), g.Ints({0, 1}), g.Ints({1, 1})},
                          {{"begin_mask", 1}, {"end_mask", 1}, {"shrink_axis_mask", 2}});
  return column;
}

void PadGradient(GradientScope& g) {
  const Out paddings = g["paddings"];
  const Out inner = Slice(g.dy(), Befores(g), ShapeOf(g["input"], paddings.dtype()));
  g.Into("input") = inner;
  if (g.node()->num_inputs() == 3) {
    g.Into("constant_values") = Sum(g.dy(), AllAxes(g.dy())) - Sum(inner, AllAxes(inner));
  }
}

std::function<void(GradientScope&)> MirrorWith(const char* op) {
  return [op](GradientScope& g) {
    g.Into("input") = g.Op(op, {g.dy(), g["paddings"]}, {{"mode", g.MustAttr<std::string>("mode")}});
  };
}

absl::Status TileShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape multiples_shape, c.WithRank(1, 1));
  const PartialShape& in = c.input(0);
  int64_t rank = multiples_shape.dim(0);
  if (in.known_rank()) {
    ASSIGN_OR_RETURN(rank, MergeSizes(in.rank(), rank, "the rank of the input and the length of multiples"));
  }
  c.SetOutput(0, PartialShape());
  if (rank < 0) return absl::OkStatus();
  if (rank > kMaxRank) return InvalidArgument("multiples have ", rank, " entries");
  PartialShape out = PartialShape::UnknownDims(static_cast<int>(rank));
  const std::optional<PartialValue> multiples = c.value(1);
  for (int i = 0; multiples.has_value() && i < rank; ++i) {
    const int64_t m = multiples->elements[i];
    if (m == PartialValue::kUnknown) continue;
    if (m < 0) return InvalidArgument("multiples[", i, "] = ", m, " is negative");
    ASSIGN_OR_RETURN(const int64_t size, MultiplySizes(m, in.known_rank() ? in.dim(i) : kUnknownDim));
    out.SetDim(i, size);
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

// dy as [multiple 0, size 0, multiple 1, size 1 ...], added up over the multiples.
void TileGradient(GradientScope& g) {
  const Out x = g["input"], multiples = g["multiples"];
  Out shape, axes;
  const std::optional<std::vector<int64_t>> known = KnownInts(multiples);
  if (known.has_value() && x.shape().IsFullyKnown()) {
    std::vector<int64_t> pairs, evens;
    for (size_t i = 0; i < known->size(); ++i) {
      pairs.push_back((*known)[i]);
      pairs.push_back(x.shape().dim(static_cast<int>(i)));
      evens.push_back(2 * i);
    }
    shape = g.Ints(std::move(pairs), multiples.dtype());
    axes = g.Ints(std::move(evens));
  } else {
    shape = Flat(Pack({multiples, ShapeOf(x, multiples.dtype())}, 1));
    axes = Range(g.Int(0), SizeOf(shape), g.Int(2));
  }
  g.Into("input") = Sum(Reshape(g.dy(), shape), axes);
}

}  // namespace

void DefinePadOps(OpRegistry& ops) {
  ops.Define("Pad", "The input with zeros around it: paddings[i] = [before, after] of dimension i.")
      .Input("input", "T")
      .Input("paddings", "Tpaddings")
      .Output("output", "T")
      .Type("T")
      .Type("Tpaddings", kIndexTypes, DType::kInt32)
      .Shape([](ShapeContext& c) { return PadShape(c, 1); })
      .Gradient(PadGradient);

  ops.Define("PadV2", "The input with constant_values around it: paddings[i] = [before, after] of dimension i.")
      .Input("input", "T")
      .Input("paddings", "Tpaddings")
      .Input("constant_values", "T")
      .Output("output", "T")
      .Type("T")
      .Type("Tpaddings", kIndexTypes, DType::kInt32)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(WantScalar(c, 2, "constant_values"));
        return PadShape(c, 1);
      })
      .Gradient(PadGradient);

  ops.Define("MirrorPad", "The input with its mirror image around it; SYMMETRIC repeats the edge, REFLECT does not.")
      .Input("input", "T")
      .Input("paddings", "Tpaddings")
      .Output("output", "T")
      .Type("T")
      .Type("Tpaddings", kIndexTypes, DType::kInt32)
      .Attr("mode: {'REFLECT', 'SYMMETRIC'}")
      .Shape([](ShapeContext& c) { return PadShape(c, 1); })
      .Gradient(MirrorWith("MirrorPadGrad"));

  ops.Define("MirrorPadGrad", "Folds the padding that MirrorPad made back onto what it mirrored, adding.")
      .Input("input", "T")
      .Input("paddings", "Tpaddings")
      .Output("output", "T")
      .Type("T")
      .Type("Tpaddings", kIndexTypes, DType::kInt32)
      .Attr("mode: {'REFLECT', 'SYMMETRIC'}")
      .Shape([](ShapeContext& c) { return PadShape(c, -1); })
      .Gradient(MirrorWith("MirrorPad"));

  ops.Define("Tile", "The input repeated multiples[i] times along dimension i.")
      .Input("input", "T")
      .Input("multiples", "Tmultiples")
      .Output("output", "T")
      .Type("T")
      .Type("Tmultiples", kIndexTypes, DType::kInt32)
      .Shape(TileShape)
      .Gradient(TileGradient);
}

}  // namespace sluice
