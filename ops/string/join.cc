// Ops that make one string of several, or several of one.
#include <set>

#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/string/string_ops.h"

namespace sluice {
namespace {

constexpr uint32_t kJoinTraits = kHostOnly | kNotDifferentiable;

// Scalars go with everything; the others must agree.
absl::Status JoinShape(ShapeContext& c) {
  PartialShape out{};
  bool all_scalars = true;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const PartialShape& shape = c.input(i);
    if (shape.known_rank() && shape.rank() == 0) continue;
    all_scalars = false;
    if (!shape.known_rank()) continue;  // may turn out to be a scalar
    ASSIGN_OR_RETURN(out, out.MergeWith(shape));
  }
  c.SetOutput(0, all_scalars ? PartialShape(Shape()) : out);
  return absl::OkStatus();
}

absl::Status ReduceJoinShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const bool keep, c.Attr<bool>("keep_dims"));
  auto axes = c.ints(1);
  const PartialShape& in = c.input(0);
  if (!axes || !in.known_rank()) {
    c.SetOutput(0, keep && in.known_rank() ? PartialShape::UnknownDims(in.rank()) : PartialShape());
    return absl::OkStatus();
  }
  std::set<int> reduced;
  for (int64_t axis : *axes) {
    ASSIGN_OR_RETURN(const int a, ShapeContext::Axis(axis, in.rank()));
    if (!reduced.insert(a).second) return InvalidArgument("axis ", axis, " is given twice");
  }
  PartialShape out((Shape()));
  for (int i = 0; i < in.rank(); ++i) {
    if (reduced.count(i) == 0) {
      out.AddDim(in.dim(i));
    } else if (keep) {
      out.AddDim(1);
    }
  }
  c.SetOutput(0, std::move(out));
  return absl::OkStatus();
}

absl::Status SplitShape(ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(0, 1).status());
  RETURN_IF_ERROR(c.WithRank(1, 0).status());
  c.SetOutput(0, {kUnknownDim, 2});
  c.SetOutput(1, {kUnknownDim});
  c.SetOutput(2, {2});
  return absl::OkStatus();
}

OpBuilder DefineSplit(OpRegistry& ops, absl::string_view name, absl::string_view separator, absl::string_view summary) {
  OpBuilder op = ops.Define(name, summary);
  op.Input("input", "string")
      .Input(separator, "string")
      .Output("indices", "int64")
      .Output("values", "string")
      .Output("shape", "int64")
      .Traits(kJoinTraits)
      .Shape(SplitShape);
  return op;
}

}  // namespace

void DefineStringJoinOps(OpRegistry& ops) {
  ops.Define("StringJoin", "Joins strings element by element; scalars go with every element.")
      .Input("inputs", "N * string")
      .Output("output", "string")
      .Attr("N: int >= 1")
      .Attr("separator: string = ''")
      .Traits(kJoinTraits)
      .Shape(JoinShape);
  ops.Define("ReduceJoin", "Joins the strings along the given axes, in the order the axes are given.")
      .Input("inputs", "string")
      .Input("reduction_indices", "int32")
      .Output("output", "string")
      .Attr("keep_dims: bool = false")
      .Attr("separator: string = ''")
      .Traits(kJoinTraits)
      .Shape(ReduceJoinShape);
  ops.Define("StringFormat", "The template with each placeholder replaced by the text of a tensor.")
      .Input("inputs", "T")
      .Output("output", "string")
      .Attr("T: list(type) >= 0")
      .Attr("template: string = '%s'")
      .Attr("placeholder: string = '%s'")
      .Attr("summarize: int = 3", "elements shown at both ends of a dimension; -1 shows all")
      .Traits(kJoinTraits)
      .Shape(ScalarShape());
  DefineSplit(ops, "StringSplit", "delimiter",
              "Splits each string at any byte of `delimiter` (at every byte when it is empty) into a sparse matrix.")
      .Attr("skip_empty: bool = true");
  DefineSplit(ops, "StringSplitV2", "sep",
              "Splits each string at `sep`, or at runs of white space when it is empty, into a sparse matrix.")
      .Attr("maxsplit: int = -1");
}

}  // namespace sluice
