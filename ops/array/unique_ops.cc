// Ops whose output sizes depend on the elements: distinct elements, differences, places of non-zeros.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"

namespace sluice {
namespace {

absl::Status UniqueShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape x, c.WithRank(0, 1));
  c.SetOutput(0, {kUnknownDim});
  c.SetOutput(1, {x.dim(0)});
  if (c.num_outputs() > 2) c.SetOutput(2, {kUnknownDim});
  return absl::OkStatus();
}

absl::Status UniqueV2Shape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape axis_shape, c.WithRank(1, 1));
  if (axis_shape.dim(0) > 1)
    return InvalidArgument("axis must be empty or hold one number, found ", axis_shape.ToString());
  const PartialShape& x = c.input(0);
  PartialShape y;
  int64_t places = kUnknownDim;
  const std::optional<std::vector<int64_t>> axis = c.ints(1);
  if (x.known_rank()) {
    if (axis.has_value() && axis->size() == 1) {
      ASSIGN_OR_RETURN(const int a, ShapeContext::Axis((*axis)[0], x.rank()));
      y = x;
      y.SetDim(a, kUnknownDim);
      places = x.dim(a);
    } else if (axis_shape.dim(0) == 0) {
      if (x.rank() != 1) return InvalidArgument("x must be a vector when there is no axis, found shape ", x.ToString());
      y = {kUnknownDim};
      places = x.dim(0);
    } else {
      y = PartialShape::UnknownDims(x.rank());
    }
  }
  c.SetOutput(0, y);
  c.SetOutput(1, {places});
  if (c.num_outputs() > 2) c.SetOutput(2, {kUnknownDim});
  return absl::OkStatus();
}

void DefineUnique(OpRegistry& ops, absl::string_view name, absl::string_view summary, bool has_axis, bool has_count) {
  OpBuilder op = ops.Define(name, summary);
  op.Input("x", "T");
  if (has_axis) op.Input("axis", "Taxis");
  op.Output("y", "T").Output("idx", "out_idx");
  if (has_count) op.Output("count", "out_idx");
  op.Type("T");
  if (has_axis) op.Type("Taxis", kIndexTypes, DType::kInt64);
  op.Type("out_idx", kIndexTypes, DType::kInt32).Shape(has_axis ? UniqueV2Shape : UniqueShape);
}

}  // namespace

void DefineUniqueOps(OpRegistry& ops) {
  DefineUnique(ops, "Unique", "The distinct elements in order of appearance; x[i] == y[idx[i]].", false, false);
  DefineUnique(ops, "UniqueV2", "The distinct slices along an axis in order of appearance.", true, false);
  DefineUnique(ops, "UniqueWithCounts", "As Unique, and how often each element appears.", false, true);
  DefineUnique(ops, "UniqueWithCountsV2", "As UniqueV2, and how often each slice appears.", true, true);

  ops.Define("ListDiff", "The elements of x that are not in y, and where they are in x.")
      .Input("x", "T")
      .Input("y", "T")
      .Output("out", "T")
      .Output("idx", "out_idx")
      .Type("T")
      .Type("out_idx", kIndexTypes, DType::kInt32)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRank(0, 1).status());
        RETURN_IF_ERROR(c.WithRank(1, 1).status());
        c.SetOutput(0, {kUnknownDim});
        c.SetOutput(1, {kUnknownDim});
        return absl::OkStatus();
      });

  ops.Define("Where", "The coordinates of the elements that are not zero, row by row in order.")
      .Input("input", "T")
      .Output("index", "int64")
      .Type("T", kNumberTypes | DTypeSet{DType::kBool}, DType::kBool)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) {
        const PartialShape& in = c.input(0);
        c.SetOutput(0, {kUnknownDim, in.known_rank() ? in.rank() : kUnknownDim});
        return absl::OkStatus();
      });
}

}  // namespace sluice
