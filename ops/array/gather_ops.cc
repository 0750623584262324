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

// The axes `front` first, then the others in order.
std::vector<int64_t> FrontAxes(int rank, int batch, int axis) {
  std::vector<int64_t> perm;
  for (int i = 0; i < batch; ++i) perm.push_back(i);
  perm.push_back(axis);
  for (int i = batch; i < rank; ++i) {
    if (i != axis) perm.push_back(i);
  }
  return perm;
}

std::vector<int64_t> Inverse(const std::vector<int64_t>& perm) {
  std::vector<int64_t> inverse(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) inverse[perm[i]] = i;
  return inverse;
}

// dy has the shape batch + head + indices + tail. It is turned to [batch * axis places, head * tail] rows that are
// added up by index, and back.
void GatherAxisGradient(GradientScope& g, int axis, int batch) {
  const Out params = g["params"], dy = g.dy();
  const Out indices = g["indices"];
  if (!params.shape().known_rank() || !indices.shape().known_rank()) {
    g.Fail(Unimplemented("the gradient of GatherV2 along axis ", axis, " needs params and indices of known rank"));
    return;
  }
  const int rank = params.shape().rank(), places = indices.shape().rank() - batch;
  // [batch, indices, head, tail] of dy
  std::vector<int64_t> dy_perm;
  for (int i = 0; i < batch; ++i) dy_perm.push_back(i);
  for (int i = 0; i < places; ++i) dy_perm.push_back(axis + i);
  for (int i = batch; i < axis; ++i) dy_perm.push_back(i);
  for (int i = axis + places; i < rank - 1 + places; ++i) dy_perm.push_back(i);
  const std::vector<int64_t> perm = FrontAxes(rank, batch, axis);

  const DType index = indices.dtype();
  const Out params_shape = ShapeOf(params, index);
  const Out turned_shape = Gather(params_shape, g.Ints(perm), g.Int(0));  // [batch, axis, head, tail]
  const auto product = [&](int begin, int count) {
    return Prod(Slice(turned_shape, g.Ints({begin}), g.Ints({count})), g.Ints({0}));
  };
  const Out one = g.Int(1, index);
  const Out axis_size = batch == 0 ? product(0, 1) : product(batch, 1);
  const Out batches = batch == 0 ? one : product(0, batch);
  const Out row = product(batch + 1, rank - batch - 1);
  const Out minus_one = g.Int(-1, index);
  Out flat = Reshape(indices, Pack({batches, minus_one}));
  if (batch == 0) {
    flat = Flat(indices);
  } else {
    flat = Flat(flat + ExpandDims(Iota(batches) * axis_size, g.Int(1)));
  }
  const Out values = Reshape(Transpose(dy, g.Ints(dy_perm)), Pack({SizeOf(indices, index), row}));
  const Out sums = g.Op("ScatterNd", {ExpandDims(flat, g.Int(1)), values, Pack({batches * axis_size, row})});
  g.Into("params") = Transpose(Reshape(sums, turned_shape), g.Ints(Inverse(perm)));
}

void GatherV2Gradient(GradientScope& g) {
  const std::optional<std::vector<int64_t>> axis_value = KnownInts(g["axis"]);
  const PartialShape params = g["params"].shape(), indices = g["indices"].shape();
  if (!axis_value.has_value()) {
    g.Fail(Unimplemented("the gradient of GatherV2 needs a constant axis"));
    return;
  }
  int64_t axis = (*axis_value)[0], batch = g.MustAttr<int64_t>("batch_dims");
  if (axis < 0 && params.known_rank()) axis += params.rank();
  if (batch < 0 && indices.known_rank()) batch += indices.rank();
  if (axis == 0 && batch == 0) {
    GatherRowsGradient(g);
  } else {
    GatherAxisGradient(g, static_cast<int>(axis), static_cast<int>(batch));
  }
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
