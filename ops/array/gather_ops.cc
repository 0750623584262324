// Ops that read by index.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

absl::Status GatherShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape params, c.WithRankAtLeast(0, 1));
  c.SetOutput(0, params.known_rank() ? JoinShapes(c.input(1), SubShape(params, 1)) : PartialShape());
  return absl::OkStatus();
}

absl::Status GatherV2Shape(ShapeContext& c) {
  RETURN_IF_ERROR(WantScalar(c, 2, "axis"));
  ASSIGN_OR_RETURN(int64_t batch_dims, c.Attr<int64_t>("batch_dims"));
  ASSIGN_OR_RETURN(const PartialShape params, c.WithRankAtLeast(0, 1));
  const PartialShape& indices = c.input(1);
  if (batch_dims != 0 && indices.known_rank()) {
    if (batch_dims < 0) batch_dims += indices.rank();
    if (batch_dims < 0 || batch_dims > indices.rank()) {
      return InvalidArgument("batch_dims must be in [-rank, rank] of the indices ", indices.ToString());
    }
  }
  c.SetOutput(0, PartialShape());
  if (!params.known_rank() || !indices.known_rank()) return absl::OkStatus();
  const std::optional<int64_t> axis_value = c.scalar(2);
  if (!axis_value.has_value()) {
    const int64_t rank = params.rank() + indices.rank() - 1 - batch_dims;
    if (rank >= 0) c.SetOutput(0, PartialShape::UnknownDims(static_cast<int>(rank)));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis(*axis_value, params.rank()));
  if (axis < batch_dims) return InvalidArgument("batch_dims ", batch_dims, " must be at most axis ", axis);
  PartialShape head = SubShape(params, 0, axis);
  for (int i = 0; i < batch_dims; ++i) {
    ASSIGN_OR_RETURN(const int64_t size,
                     MergeSizes(head.dim(i), indices.dim(i), "batch dimension of params and indices"));
    head.SetDim(i, size);
  }
  c.SetOutput(
      0, JoinShapes(JoinShapes(head, SubShape(indices, static_cast<int>(batch_dims))), SubShape(params, axis + 1)));
  return absl::OkStatus();
}

// Elements of a known vector at known places.
void GatherValue(ShapeContext& c) {
  const std::optional<PartialValue> params = IndexValue(c, 0), indices = IndexValue(c, 1);
  if (!params.has_value() || params->scalar || !indices.has_value() || c.input(1).rank() + c.input(0).rank() > 2)
    return;
  PartialValue taken;
  taken.scalar = indices->scalar;
  const int64_t size = params->elements.size();
  for (int64_t i : indices->elements) {
    if (i != PartialValue::kUnknown && (i < 0 || i >= size)) return;
    taken.elements.push_back(i == PartialValue::kUnknown ? PartialValue::kUnknown : params->elements[i]);
  }
  c.SetOutputValue(0, std::move(taken));
}

// The rows of a gather along dimension 0, as they are: values [number of indices, row ...].
void GatherRowsGradient(GradientScope& g) {
  const Out params = g["params"], indices = g["indices"], dy = g.dy();
  const Out shape = ShapeOf(params);
  Out values = dy;
  if (!indices.shape().known_rank() || indices.shape().rank() != 1) {
    const Out row = g.Op("StridedSlice", {shape, g.Ints({1}), g.Ints({0}), g.Ints({1})}, {{"end_mask", 1}});
    values = Reshape(dy, Concat({Reshape(SizeOf(indices), g.Ints({1})), row}, g.Int(0)));
  }
  g.IntoSparse("params", values, Flat(indices), shape);
}

// dy has the shape batch + head + places + tail. As [batch, head, places, tail] it is turned to rows of head * tail
// that are added up by place, and back; so neither the ranks nor the axis need be known.
void GatherAxisGradient(GradientScope& g, Out axis, Out batch) {
  const Out params = g["params"], indices = g["indices"];
  const DType type = indices.dtype();
  const Out params_shape = ShapeOf(params, type), indices_shape = ShapeOf(indices, type);
  const Out zero = g.Int(0, type), one = g.Int(1, type);
  const auto product = [&](Out shape, Out begin, Out end) {
    const Out vector = g.Ints({1});
    return Prod(Slice(shape, Reshape(begin, vector), Reshape(end - begin, vector)), g.Ints({0}));
  };
  const auto rank = [&](Out x) { return Cast(RankOf(x), type); };
  const Out batches = product(params_shape, zero, batch), head = product(params_shape, batch, axis);
  const Out size = product(params_shape, axis, axis + one), tail = product(params_shape, axis + one, rank(params));
  const Out places = product(indices_shape, batch, rank(indices)), row = head * tail;
  const Out starts = Reshape(Iota(batches) * size, g.Ints({-1, 1}));
  const Out at = Reshape(Reshape(indices, Pack({batches, places})) + starts, Pack({batches * places, one}));
  const Out swap = g.Ints({0, 2, 1, 3});
  const Out by_place = Transpose(Reshape(g.dy(), Pack({batches, head, places, tail})), swap);
  const Out sums =
      g.Op("ScatterNd", {at, Reshape(by_place, Pack({batches * places, row})), Pack({batches * size, row})});
  g.Into("params") = Reshape(Transpose(Reshape(sums, Pack({batches, size, head, tail})), swap), params_shape);
}

void GatherV2Gradient(GradientScope& g) {
  const DType type = g["indices"].dtype();
  const int64_t batch = g.MustAttr<int64_t>("batch_dims");
  const std::optional<std::vector<int64_t>> known = KnownInts(g["axis"]);
  const std::optional<int> rank = KnownRank(g["params"]);
  const bool is_known = known.has_value() && ((*known)[0] >= 0 || rank.has_value());
  const int64_t axis_value = is_known ? (*known)[0] + ((*known)[0] < 0 ? *rank : 0) : -1;
  if (axis_value == 0) return GatherRowsGradient(g);
  const Out axis = is_known ? g.Int(axis_value, type)
                            : FloorMod(Reshape(Cast(g["axis"], type), g.Ints({})), Cast(RankOf(g["params"]), type));
  const Out batch_dims =
      batch >= 0 ? g.Int(batch, type) : Cast(RankOf(g["indices"]), type) + static_cast<double>(batch);
  GatherAxisGradient(g, axis, batch_dims);
}

absl::Status GatherNdShape(ShapeContext& c) {
  const PartialShape& params = c.input(0);
  ASSIGN_OR_RETURN(const PartialShape indices, c.WithRankAtLeast(1, 1));
  c.SetOutput(0, PartialShape());
  if (!indices.known_rank() || !params.known_rank()) return absl::OkStatus();
  const int64_t depth = indices.dim(indices.rank() - 1);
  if (depth < 0) return absl::OkStatus();
  if (depth > params.rank()) {
    return InvalidArgument("the last dimension of indices ", indices.ToString(), " must be at most the rank of params ",
                           params.ToString());
  }
  c.SetOutput(0, JoinShapes(SubShape(indices, 0, indices.rank() - 1), SubShape(params, static_cast<int>(depth))));
  return absl::OkStatus();
}

void GatherNdGradient(GradientScope& g) {
  const Out params = g["params"], indices = g["indices"];
  const PartialShape shape = indices.shape();
  if (shape.known_rank() && shape.rank() == 2 && shape.dim(1) == 1) {
    g.IntoSparse("params", g.dy(), Squeeze(indices, {1}), ShapeOf(params));
  } else {
    g.Into("params") = g.Op("ScatterNd", {indices, g.dy(), ShapeOf(params, indices.dtype())});
  }
}

}  // namespace

void DefineGatherOps(OpRegistry& ops) {
  ops.Define("Gather", "The rows of params that the indices name.")
      .Input("params", "Tparams")
      .Input("indices", "Tindices")
      .Output("output", "Tparams")
      .Attr("validate_indices: bool = true")
      .Type("Tparams")
      .Type("Tindices", kIndexTypes)
      .Shape(GatherShape)
      .Value(GatherValue)
      .Gradient(GatherRowsGradient);

  ops.Define("GatherV2", "The slices of params along an axis that the indices name.")
      .Input("params", "Tparams")
      .Input("indices", "Tindices")
      .Input("axis", "Taxis")
      .Output("output", "Tparams")
      .Attr("batch_dims: int = 0")
      .Type("Tparams")
      .Type("Tindices", kIndexTypes)
      .Type("Taxis", kIndexTypes)
      .Shape(GatherV2Shape)
      .Value(GatherValue)
      .Gradient(GatherV2Gradient);

  ops.Define("GatherNd", "The slices of params at the coordinates in the last dimension of the indices.")
      .Input("params", "Tparams")
      .Input("indices", "Tindices")
      .Output("output", "Tparams")
      .Type("Tparams")
      .Type("Tindices", kIndexTypes)
      .Shape(GatherNdShape)
      .Gradient(GatherNdGradient);
}

}  // namespace sluice
