// Ops that take a box, or a strided box, out of a tensor.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "core/op/slice_spec.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

absl::Status SliceShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape begin_shape, c.WithRank(1, 1));
  ASSIGN_OR_RETURN(const PartialShape size_shape, c.WithRank(2, 1));
  ASSIGN_OR_RETURN(int64_t rank, MergeSizes(begin_shape.dim(0), size_shape.dim(0), "begin and size"));
  const PartialShape& in = c.input(0);
  if (in.known_rank()) {
    ASSIGN_OR_RETURN(rank, MergeSizes(in.rank(), rank, "the rank of the input and the length of begin and size"));
  }
  c.SetOutput(0, PartialShape());
  if (rank < 0) return absl::OkStatus();
  if (rank > kMaxRank) return InvalidArgument("a slice of ", rank, " dimensions");
  PartialShape out = PartialShape::UnknownDims(static_cast<int>(rank));
  const std::optional<PartialValue> begin = c.value(1), size = c.value(2);
  for (int i = 0; i < rank; ++i) {
    const int64_t b = begin ? begin->elements[i] : PartialValue::kUnknown;
    const int64_t s = size ? size->elements[i] : PartialValue::kUnknown;
    const int64_t dim = in.known_rank() ? in.dim(i) : kUnknownDim;
    const bool b_known = b != PartialValue::kUnknown, s_known = s != PartialValue::kUnknown;
    if (b_known && (b < 0 || (dim >= 0 && b > dim))) {
      return InvalidArgument("begin[", i, "] = ", b, " is not in [0, ", dim < 0 ? "size" : absl::StrCat(dim), "] of ",
                             in.ToString());
    }
    if (s_known && s < -1) return InvalidArgument("size[", i, "] = ", s, " is negative");
    if (s_known && s >= 0) {
      if (dim >= 0 && (s > dim || (b_known && s > dim - b))) {
        return InvalidArgument("begin[", i, "] + size[", i, "] is beyond dimension ", i, " of ", in.ToString(), ": ",
                               b_known ? absl::StrCat(b) : "?", " + ", s);
      }
      out.SetDim(i, s);
    } else if (s_known && b_known && dim >= 0) {
      out.SetDim(i, dim - b);
    }
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

void SliceValue(ShapeContext& c) {
  const std::optional<PartialValue> value = IndexValue(c, 0);
  const std::optional<std::vector<int64_t>> begin = c.ints(1);
  const int64_t count = c.output(0).num_elements();
  if (!value.has_value() || value->scalar || !begin.has_value() || begin->size() != 1 || count < 0) return;
  const int64_t from = (*begin)[0];
  if (from < 0 || from + count > static_cast<int64_t>(value->elements.size())) return;
  c.SetOutputValue(0, PartialValue{false, {value->elements.begin() + from, value->elements.begin() + from + count}});
}

void SliceGradient(GradientScope& g) {
  const Out dy = g.dy(), x = g["input"], begin = g["begin"];
  const DType index = begin.dtype();
  const std::optional<std::vector<int64_t>> known_begin = KnownInts(begin);
  Out paddings;
  if (known_begin.has_value() && x.shape().IsFullyKnown() && g.output(0).shape().IsFullyKnown()) {
    const int rank = x.shape().rank();
    Tensor t = Tensor::FromValues<int32_t>(Shape({rank, 2}), std::vector<int32_t>(2 * rank));
    for (int i = 0; i < rank; ++i) {
      t.data<int32_t>()[2 * i] = (*known_begin)[i];
      t.data<int32_t>()[2 * i + 1] = x.shape().dim(i) - (*known_begin)[i] - g.output(0).shape().dim(i);
    }
    paddings = g.Const(t);
  } else {
    paddings = Pack({begin, ShapeOf(x, index) - ShapeOf(g.output(0), index) - begin}, 1);
  }
  g.Into("input") = g.Op("Pad", {dy, paddings});
}

constexpr const char* kMasks[] = {"begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"};

OpBuilder DefineWithMasks(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  OpBuilder op = ops.Define(name, summary);
  for (const char* mask : kMasks) op.Attr(absl::StrCat(mask, ": int = 0"));
  return op;
}

AttrMap MasksOf(GradientScope& g) {
  AttrMap attrs;
  for (const char* mask : kMasks) attrs.Set(mask, g.MustAttr<int64_t>(mask));
  return attrs;
}

// The plan of a strided slice of `input` whose begin, end and strides are inputs from `first` on; nullopt when their
// number or the rank is not known.
absl::StatusOr<std::optional<SlicePlan>> PlanFromInputs(ShapeContext& c, const PartialShape& input, int first) {
  int64_t entries = kUnknownDim;
  for (int i = first; i < first + 3; ++i) {
    ASSIGN_OR_RETURN(const PartialShape s, c.WithRank(i, 1));
    ASSIGN_OR_RETURN(entries, MergeSizes(entries, s.dim(0), "begin, end and strides"));
  }
  if (entries < 0 || !input.known_rank()) return std::optional<SlicePlan>();
  if (entries > kMaxRank) return InvalidArgument("a slice of ", entries, " entries");
  SliceSpec spec;
  std::vector<int64_t>* const lists[] = {&spec.begin, &spec.end, &spec.strides};
  for (int i = 0; i < 3; ++i) {
    const std::optional<PartialValue> value = c.value(first + i);
    lists[i]->assign(entries, SliceSpec::kUnknown);
    if (value.has_value() && static_cast<int64_t>(value->elements.size()) == entries) *lists[i] = value->elements;
  }
  int64_t* const masks[] = {&spec.begin_mask, &spec.end_mask, &spec.ellipsis_mask, &spec.new_axis_mask,
                            &spec.shrink_axis_mask};
  for (int i = 0; i < 5; ++i) {
    ASSIGN_OR_RETURN(*masks[i], c.Attr<int64_t>(kMasks[i]));
  }
  ASSIGN_OR_RETURN(SlicePlan plan, PlanSlice(input, spec));
  return std::optional<SlicePlan>(std::move(plan));
}

absl::Status StridedSliceShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const std::optional<SlicePlan> plan, PlanFromInputs(c, c.input(0), 1));
  c.SetOutput(0, plan.has_value() ? plan->OutputShape() : PartialShape());
  return absl::OkStatus();
}

void StridedSliceValue(ShapeContext& c) {
  const std::optional<PartialValue> value = IndexValue(c, 0);
  if (!value.has_value() || value->scalar || !c.ints(1) || !c.ints(2) || !c.ints(3)) return;
  const absl::StatusOr<std::optional<SlicePlan>> plan = PlanFromInputs(c, c.input(0), 1);
  if (!plan.ok() || !plan->has_value() || (*plan)->outputs.size() > 1 || (*plan)->dims[0].size < 0) return;
  const SlicePlan::Dim& d = (*plan)->dims[0];
  PartialValue taken;
  taken.scalar = (*plan)->outputs.empty();
  for (int64_t i = 0; i < d.size; ++i) taken.elements.push_back(value->elements[d.begin + i * d.stride]);
  c.SetOutputValue(0, std::move(taken));
}

}  // namespace

void DefineSliceOps(OpRegistry& ops) {
  ops.Define("Slice", "The box of the given sizes (-1: all that is left) that begins at `begin`.")
      .Input("input", "T")
      .Input("begin", "Index")
      .Input("size", "Index")
      .Output("output", "T")
      .Type("T")
      .Type("Index", kIndexTypes)
      .Traits(kMayAlias)
      .Shape(SliceShape)
      .Value(SliceValue)
      .Gradient(SliceGradient);

  DefineWithMasks(ops, "StridedSlice",
                  "x[begin:end:strides] with NumPy's meaning; the masks are one bit for each entry.")
      .Input("input", "T")
      .Input("begin", "Index")
      .Input("end", "Index")
      .Input("strides", "Index")
      .Output("output", "T")
      .Type("T")
      .Type("Index", kIndexTypes)
      .Traits(kMayAlias)
      .Shape(StridedSliceShape)
      .Value(StridedSliceValue)
      .Gradient([](GradientScope& g) {
        const Out begin = g["begin"];
        g.Into("input") = g.Op("StridedSliceGrad",
                               {ShapeOf(g["input"], begin.dtype()), begin, g["end"], g["strides"], g.dy()}, MasksOf(g));
      });

  DefineWithMasks(ops, "StridedSliceGrad",
                  "Zeros of the given shape with dy written where StridedSlice would have read.")
      .Input("shape", "Index")
      .Input("begin", "Index")
      .Input("end", "Index")
      .Input("strides", "Index")
      .Input("dy", "T")
      .Output("output", "T")
      .Type("T")
      .Type("Index", kIndexTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape shape, ShapeFromInput(c, 0));
        ASSIGN_OR_RETURN(const std::optional<SlicePlan> plan, PlanFromInputs(c, shape, 1));
        if (plan.has_value() && !plan->OutputShape().IsCompatibleWith(c.input(4))) {
          return InvalidArgument("dy has shape ", c.input(4).ToString(), ", the slice is ",
                                 plan->OutputShape().ToString());
        }
        c.SetOutput(0, shape);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into("dy") = g.Op("StridedSlice", {g.dy(), g["begin"], g["end"], g["strides"]}, MasksOf(g));
      });

  DefineWithMasks(ops, "TensorStridedSliceUpdate",
                  "A copy of the input with `value` written where StridedSlice would read.")
      .Input("input", "T")
      .Input("begin", "Index")
      .Input("end", "Index")
      .Input("strides", "Index")
      .Input("value", "T")
      .Output("output", "T")
      .Type("T")
      .Type("Index", kIndexTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(PlanFromInputs(c, c.input(0), 1).status());
        c.SetOutput(0, c.input(0));
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        const Out dy = g.dy(), value = g["value"];
        const Out taken = g.Op("StridedSlice", {dy, g["begin"], g["end"], g["strides"]}, MasksOf(g));
        g.Into("input") =
            g.Op("TensorStridedSliceUpdate", {dy, g["begin"], g["end"], g["strides"], ZerosLike(taken)}, MasksOf(g));
        g.Into("value") = SumToShapeOf(taken, value, taken);
      });
}

}  // namespace sluice
