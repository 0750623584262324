// Ops that look for the largest, the n-th, or the place of an element.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

absl::Status TopKShape(ShapeContext& c, std::optional<int64_t> k) {
  if (k.has_value() && *k < 0) return InvalidArgument("k must be non-negative, found ", *k);
  ASSIGN_OR_RETURN(PartialShape s, c.WithRankAtLeast(0, 1));
  if (s.known_rank()) {
    const int last = s.rank() - 1;
    if (k.has_value() && s.dim(last) >= 0 && s.dim(last) < *k) {
      return InvalidArgument("input ", s.ToString(), " must have at least k = ", *k, " columns");
    }
    s.SetDim(last, k.value_or(kUnknownDim));
  }
  c.SetOutput(0, s);
  c.SetOutput(1, s);
  return absl::OkStatus();
}

// Adds dy at the places that were taken.
void TopKGradient(GradientScope& g) {
  const Out x = g["input"], indices = g.output(1);
  const Out shape = ShapeOf(x);
  const Out columns = Reshape(
      g.Op("StridedSlice", {shape, g.Ints({-1}), g.Ints({0}), g.Ints({1})}, {{"shrink_axis_mask", 1}}), g.Ints({}));
  const Out count = SizeOf(x);
  // Rows are counted by x's elements over its columns; an empty x has nothing to give.
  const Out starts = Range(g.Int(0), count, Maximum(columns, g.Int(1)));
  const Out k = g.Op("StridedSlice", {ShapeOf(indices), g.Ints({-1}), g.Ints({0}), g.Ints({1})}, {{"end_mask", 1}});
  const Out by_row = Reshape(indices, Concat({ShapeOf(starts), k}, g.Int(0)));
  const Out places = Reshape(by_row + ExpandDims(starts, g.Int(1)), g.Ints({-1, 1}));
  g.Into("input") = ReshapeLike(g.Op("ScatterNd", {places, Flat(g.dy()), Reshape(count, g.Ints({1}))}), x);
}

absl::Status InTopKShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape predictions, c.WithRank(0, 2));
  ASSIGN_OR_RETURN(const PartialShape targets, c.WithRank(1, 1));
  if (c.num_inputs() > 2) RETURN_IF_ERROR(WantScalar(c, 2, "k"));
  ASSIGN_OR_RETURN(const int64_t batch,
                   MergeSizes(predictions.dim(0), targets.dim(0), "rows of predictions and targets"));
  c.SetOutput(0, {batch});
  return absl::OkStatus();
}

absl::Status NthElementShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape in, c.WithRankAtLeast(0, 1));
  RETURN_IF_ERROR(WantScalar(c, 1, "n"));
  const std::optional<int64_t> n = c.scalar(1);
  if (n.has_value() && *n < 0) return InvalidArgument("n must be non-negative, found ", *n);
  if (!in.known_rank()) {
    c.SetOutput(0, PartialShape());
    return absl::OkStatus();
  }
  const int64_t columns = in.dim(in.rank() - 1);
  if (n.has_value() && columns >= 0 && columns <= *n) {
    return InvalidArgument("input ", in.ToString(), " must have more than n = ", *n, " columns");
  }
  c.SetOutput(0, SubShape(in, 0, in.rank() - 1));
  return absl::OkStatus();
}

// Shared equally by the elements that are equal to the one taken.
void NthElementGradient(GradientScope& g) {
  const Out x = g["input"], last = g.Int(-1);
  const Out same = Cast(Equal(ExpandDims(g.output(0), last), x), x.dtype());
  g.Into("input") = same / Sum(same, g.Ints({-1}), true) * ExpandDims(g.dy(), last);
}

absl::Status BoundShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape sorted, c.WithRank(0, 2));
  ASSIGN_OR_RETURN(const PartialShape values, c.WithRank(1, 2));
  ASSIGN_OR_RETURN(const int64_t rows, MergeSizes(sorted.dim(0), values.dim(0), "rows of sorted_inputs and values"));
  c.SetOutput(0, {rows, values.dim(1)});
  return absl::OkStatus();
}

void DefineBound(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  ops.Define(name, summary)
      .Input("sorted_inputs", "T")
      .Input("values", "T")
      .Output("output", "out_type")
      .Type("T")
      .Type("out_type", kIndexTypes, DType::kInt32)
      .Shape(BoundShape);
}

}  // namespace

void DefineSelectionOps(OpRegistry& ops) {
  ops.Define("TopK", "The k largest elements of each row, and their columns; of equal elements the lower column first.")
      .Input("input", "T")
      .Output("values", "T")
      .Output("indices", "int32")
      .Attr("k: int >= 0")
      .Attr("sorted: bool = true")
      .Type("T", kRealTypes)
      .Deprecated(7, "Use TopKV2 instead")
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(const int64_t k, c.Attr<int64_t>("k"));
        return TopKShape(c, k);
      })
      .Gradient(TopKGradient);

  ops.Define("TopKV2",
             "The k largest elements of each row, and their columns; of equal elements the lower column first.")
      .Input("input", "T")
      .Input("k", "int32")
      .Output("values", "T")
      .Output("indices", "int32")
      .Attr("sorted: bool = true")
      .Type("T", kRealTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(WantScalar(c, 1, "k"));
        return TopKShape(c, c.scalar(1));
      })
      .Gradient(TopKGradient);

  ops.Define("InTopK",
             "Whether the target is among the k classes with the largest predictions; ties at the border count.")
      .Input("predictions", "float")
      .Input("targets", "T")
      .Output("precision", "bool")
      .Attr("k: int")
      .Type("T", kIndexTypes, DType::kInt32)
      .NotDifferentiable()
      .Shape(InTopKShape);

  ops.Define("InTopKV2", "As InTopK, with k an input.")
      .Input("predictions", "float")
      .Input("targets", "T")
      .Input("k", "T")
      .Output("precision", "bool")
      .Type("T", kIndexTypes, DType::kInt32)
      .NotDifferentiable()
      .Shape(InTopKShape);

  ops.Define("NthElement", "The n-th smallest element of each row (the n-th largest when `reverse`), counted from 0.")
      .Input("input", "T")
      .Input("n", "int32")
      .Output("values", "T")
      .Attr("reverse: bool = false")
      .Type("T", kRealTypes)
      .Shape(NthElementShape)
      .Gradient(NthElementGradient);

  DefineBound(ops, "LowerBound",
              "Row by row: the first place of sorted_inputs whose element is not less than the value.");
  DefineBound(ops, "UpperBound",
              "Row by row: the first place of sorted_inputs whose element is greater than the value.");

  ops.Define("Fingerprint", "A 64-bit hash of each slice along dimension 0, as 8 bytes.")
      .Input("data", "T")
      .Input("method", "string")
      .Output("fingerprint", "uint8")
      .Type("T")
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(const PartialShape data, c.WithRankAtLeast(0, 1));
        RETURN_IF_ERROR(WantScalar(c, 1, "method"));
        c.SetOutput(0, {data.known_rank() ? data.dim(0) : kUnknownDim, 8});
        return absl::OkStatus();
      });
}

}  // namespace sluice
