// Ops that put tensors together: along an axis, or along a new one.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

// Shape rule of a concatenation of inputs [begin, end) along the axis that input `axis_input` gives.
absl::Status ConcatShape(ShapeContext& c, int begin, int end, int axis_input) {
  RETURN_IF_ERROR(WantScalar(c, axis_input, "the axis", true));
  const std::optional<std::vector<int64_t>> axis_value = c.ints(axis_input);
  int rank = -1;
  for (int i = begin; i < end; ++i) {
    const PartialShape& s = c.input(i);
    if (!s.known_rank()) continue;
    if (rank >= 0 && s.rank() != rank) {
      return InvalidArgument("all values must have one rank; value ", i - begin, " has shape ", s.ToString(),
                             ", another has rank ", rank);
    }
    rank = s.rank();
  }
  c.SetOutput(0, PartialShape());
  if (rank < 0) return absl::OkStatus();
  if (rank == 0) return InvalidArgument("cannot concatenate scalars; Pack makes a vector of them");
  PartialShape out = PartialShape::UnknownDims(rank);
  if (!axis_value.has_value() || axis_value->size() != 1) {
    c.SetOutput(0, out);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis((*axis_value)[0], rank));
  int64_t sum = 0;
  for (int i = begin; i < end; ++i) {
    const PartialShape& s = c.input(i);
    if (!s.known_rank()) {
      sum = kUnknownDim;
      continue;
    }
    ASSIGN_OR_RETURN(sum, AddSizes(sum, s.dim(axis)));
    for (int d = 0; d < rank; ++d) {
      if (d == axis) continue;
      if (out.dim(d) >= 0 && s.dim(d) >= 0 && out.dim(d) != s.dim(d)) {
        return InvalidArgument("value ", i - begin, " of shape ", s.ToString(), " does not fit ", out.ToString(),
                               ": they may differ in dimension ", axis, " only");
      }
      if (s.dim(d) >= 0) out.SetDim(d, s.dim(d));
    }
  }
  out.SetDim(axis, sum);
  c.SetOutput(0, out);
  return absl::OkStatus();
}

void ConcatValue(ShapeContext& c, int begin, int end) {
  PartialValue joined;
  for (int i = begin; i < end; ++i) {
    const std::optional<PartialValue> part = IndexValue(c, i);
    if (!part.has_value() || part->scalar) return;
    joined.elements.insert(joined.elements.end(), part->elements.begin(), part->elements.end());
    if (joined.elements.size() > kMaxKnownElements) return;
  }
  c.SetOutputValue(0, std::move(joined));
}

// The gradients of the values: slices of dy.
void ConcatGradient(GradientScope& g, Out axis) {
  const ArgRange range = g.InputRange("values");
  const std::vector<Out> values = g.Inputs("values");
  const Out dy = g.dy();
  if (values.size() == 1) {
    g.Into(range.begin) = dy;
    return;
  }
  bool known = true;
  for (const Out& v : values) known = known && v.shape().IsFullyKnown();
  const std::optional<std::vector<int64_t>> axis_value = KnownInts(axis);
  if (known && axis_value.has_value()) {
    const int rank = values[0].shape().rank();
    const int64_t a = (*axis_value)[0] < 0 ? (*axis_value)[0] + rank : (*axis_value)[0];
    std::vector<int64_t> begin(rank, 0);
    for (size_t i = 0; i < values.size(); ++i) {
      const PartialShape shape = values[i].shape();
      g.Into(range.begin + i) = Slice(dy, g.Ints(begin), g.Ints({shape.dims().begin(), shape.dims().end()}));
      begin[a] += shape.dim(a);
    }
    return;
  }
  std::vector<Out> inputs{Cast(Reshape(axis, g.Ints({})), DType::kInt32)};
  for (const Out& v : values) inputs.push_back(ShapeOf(v));
  const Out offset = g.Op("ConcatOffset", inputs);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!offset.valid()) return;
    g.Into(range.begin + i) = Slice(dy, offset.output(i), inputs[i + 1]);
  }
}

absl::Status ConcatOffsetShape(ShapeContext& c) {
  RETURN_IF_ERROR(WantScalar(c, 0, "concat_dim"));
  int64_t rank = kUnknownDim;
  for (int i = 1; i < c.num_inputs(); ++i) {
    ASSIGN_OR_RETURN(PartialShape s, c.WithRank(i, 1));
    ASSIGN_OR_RETURN(rank, MergeSizes(rank, s.dim(0), "shapes to concatenate"));
  }
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, {rank});
  return absl::OkStatus();
}

void ConcatOffsetValue(ShapeContext& c) {
  const std::optional<int64_t> dim = c.scalar(0);
  if (!dim.has_value()) return;
  int64_t at = 0;
  for (int i = 1; i < c.num_inputs(); ++i) {
    const std::optional<PartialValue> shape = IndexValue(c, i);
    if (!shape.has_value()) return;
    const int64_t rank = shape->elements.size();
    const int64_t axis = *dim < 0 ? *dim + rank : *dim;
    if (axis < 0 || axis >= rank) return;
    PartialValue offset;
    offset.elements.assign(rank, 0);
    offset.elements[axis] = at;
    c.SetOutputValue(i - 1, std::move(offset));
    const int64_t size = shape->elements[axis];
    if (size < 0 || at == PartialValue::kUnknown || __builtin_add_overflow(at, size, &at)) at = PartialValue::kUnknown;
  }
}

absl::Status PackShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const int64_t axis, c.Attr<int64_t>("axis"));
  PartialShape common = c.input(0);
  for (int i = 1; i < c.num_inputs(); ++i) {
    absl::StatusOr<PartialShape> merged = common.MergeWith(c.input(i));
    if (!merged.ok()) {
      return InvalidArgument("all values must have one shape; value ", i, " is ", c.input(i).ToString(),
                             ", an earlier one ", common.ToString());
    }
    common = *std::move(merged);
  }
  c.SetOutput(0, PartialShape());
  if (!common.known_rank()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int at, ShapeContext::Axis(axis, common.rank() + 1));
  c.SetOutput(0, JoinShapes(JoinShapes(SubShape(common, 0, at), {c.num_inputs()}), SubShape(common, at)));
  return absl::OkStatus();
}

void PackValue(ShapeContext& c) {
  if (c.num_inputs() > kMaxKnownElements) return;
  PartialValue packed;
  for (int i = 0; i < c.num_inputs(); ++i) {
    const std::optional<PartialValue> element = IndexValue(c, i);
    if (!element.has_value() || !element->scalar) return;
    packed.elements.push_back(element->elements[0]);
  }
  c.SetOutputValue(0, std::move(packed));
}

}  // namespace

void DefineJoinOps(OpRegistry& ops) {
  ops.Define("Concat", "Joins tensors along one dimension (the axis comes first; ConcatV2 takes it last).")
      .Input("concat_dim", "int32")
      .Input("values", "N * T")
      .Output("output", "T")
      .Attr("N: int >= 2")
      .Type("T")
      .Shape([](ShapeContext& c) { return ConcatShape(c, 1, c.num_inputs(), 0); })
      .Value([](ShapeContext& c) { ConcatValue(c, 1, c.num_inputs()); })
      .Gradient([](GradientScope& g) { ConcatGradient(g, g.input(0)); });

  ops.Define("ConcatV2", "Joins tensors along one dimension.")
      .Input("values", "N * T")
      .Input("axis", "Tidx")
      .Output("output", "T")
      .Attr("N: int >= 2")
      .Type("T")
      .Type("Tidx", kIndexTypes, DType::kInt32)
      .Shape([](ShapeContext& c) { return ConcatShape(c, 0, c.num_inputs() - 1, c.num_inputs() - 1); })
      .Value([](ShapeContext& c) { ConcatValue(c, 0, c.num_inputs() - 1); })
      .Gradient([](GradientScope& g) { ConcatGradient(g, g["axis"]); });

  ops.Define("ConcatOffset", "Where each of the tensors of the given shapes begins in their concatenation.")
      .Input("concat_dim", "int32")
      .Input("shape", "N * int32")
      .Output("offset", "N * int32")
      .Attr("N: int >= 2")
      .Traits(kCheap | kNotDifferentiable)
      .Shape(ConcatOffsetShape)
      .Value(ConcatOffsetValue);

  ops.Define("Pack", "Joins tensors of one shape along a new dimension.")
      .Input("values", "N * T")
      .Output("output", "T")
      .Attr("N: int >= 1")
      .Type("T")
      .Attr("axis: int = 0")
      .Shape(PackShape)
      .Value(PackValue)
      .Gradient([](GradientScope& g) {
        const int n = g.node()->num_inputs();
        const Out parts = g.Op("Unpack", {g.dy()}, {{"num", n}, {"axis", g.MustAttr<int64_t>("axis")}});
        for (int i = 0; i < n && parts.valid(); ++i) g.Into(i) = parts.output(i);
      });
}

}  // namespace sluice
