// Sequences of numbers, and what shapes become when they are broadcast.
#include <algorithm>
#include <cmath>

#include "core/base/status.h"
#include "core/types/numeric_types.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

template <typename T>
double NumberOf(const Tensor& t) {
  return static_cast<double>(*t.data<T>());
}

std::optional<double> ConstantNumber(const ShapeContext& c, int i) {
  const Tensor* t = c.constant(i);
  if (t == nullptr || t->num_elements() != 1) return std::nullopt;
  switch (t->dtype()) {
    case DType::kFloat:
      return NumberOf<float>(*t);
    case DType::kDouble:
      return NumberOf<double>(*t);
    case DType::kHalf:
      return NumberOf<half>(*t);
    case DType::kBfloat16:
      return NumberOf<bfloat16>(*t);
    default:
      return std::nullopt;
  }
}

absl::Status RangeShape(ShapeContext& c) {
  for (int i = 0; i < 3; ++i) RETURN_IF_ERROR(c.WithRank(i, 0).status());
  c.SetOutput(0, PartialShape::UnknownDims(1));
  if (IsInteger(c.input_type(0))) {
    const std::optional<int64_t> start = c.scalar(0), limit = c.scalar(1), delta = c.scalar(2);
    if (delta && *delta == 0) return InvalidArgument("delta must not be 0");
    if (!start || !limit || !delta) return absl::OkStatus();
    if ((*delta > 0 && *start > *limit) || (*delta < 0 && *start < *limit)) {
      return InvalidArgument("from ", *start, " one does not come to ", *limit, " by steps of ", *delta);
    }
    const __int128 span = static_cast<__int128>(*limit) - *start;
    const __int128 size = (span + *delta - (*delta > 0 ? 1 : -1)) / *delta;
    c.SetOutput(0, PartialShape({static_cast<int64_t>(size)}));
    return absl::OkStatus();
  }
  const std::optional<double> start = ConstantNumber(c, 0), limit = ConstantNumber(c, 1), delta = ConstantNumber(c, 2);
  if (delta && *delta == 0) return InvalidArgument("delta must not be 0");
  if (!start || !limit || !delta) return absl::OkStatus();
  const double size = std::ceil(std::abs((*limit - *start) / *delta));
  if ((*delta > 0 && *start > *limit) || (*delta < 0 && *start < *limit)) {
    return InvalidArgument("from ", *start, " one does not come to ", *limit, " by steps of ", *delta);
  }
  if (!(size < 9e15)) return InvalidArgument("a range of ", size, " elements is too long");
  c.SetOutput(0, PartialShape({static_cast<int64_t>(size)}));
  return absl::OkStatus();
}

void RangeValue(ShapeContext& c) {
  const std::optional<int64_t> start = c.scalar(0), delta = c.scalar(2);
  const int64_t n = c.output(0).num_elements();
  if (!IsInteger(c.input_type(0)) || !start || !delta || n < 0 || n > kMaxRank) return;
  PartialValue v;
  for (int64_t i = 0; i < n; ++i) v.elements.push_back(*start + i * *delta);
  c.SetOutputValue(0, std::move(v));
}

absl::Status CheckShapeVectors(const ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(0, 1).status());
  return c.WithRank(1, 1).status();
}

}  // namespace

void DefineSequenceOps(OpRegistry& ops) {
  ops.Define("Range", "start, start + delta, ... without limit and what lies beyond it.")
      .Input("start", "Tidx")
      .Input("limit", "Tidx")
      .Input("delta", "Tidx")
      .Output("output", "Tidx")
      .Type("Tidx", kRealTypes - DTypeSet{DType::kUint8, DType::kUint64}, DType::kInt32)
      .NotDifferentiable()
      .Shape(RangeShape)
      .Value(RangeValue);
  ops.Define("LinSpace", "num numbers at equal distances from start to stop, both included.")
      .Input("start", "T")
      .Input("stop", "T")
      .Input("num", "Tidx")
      .Output("output", "T")
      .Type("T", {DType::kBfloat16, DType::kHalf, DType::kFloat, DType::kDouble})
      .Type("Tidx", kIndexTypes, DType::kInt32)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        for (int i = 0; i < 3; ++i) RETURN_IF_ERROR(c.WithRank(i, 0).status());
        const std::optional<int64_t> n = c.scalar(2);
        if (n && *n <= 0) return InvalidArgument("num must be positive, found ", *n);
        c.SetOutput(0, PartialShape({n.value_or(kUnknownDim)}));
        return absl::OkStatus();
      });
  ops.Define("BroadcastArgs", "The shape that two shapes broadcast to.")
      .Input("s0", "T")
      .Input("s1", "T")
      .Output("r0", "T")
      .Type("T", kIndexTypes, DType::kInt32)
      .Traits(kCheap)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(CheckShapeVectors(c));
        const PartialShape &a = c.input(0), &b = c.input(1);
        const bool known = a.IsFullyKnown() && b.IsFullyKnown();
        c.SetOutput(0, PartialShape({known ? std::max(a.dim(0), b.dim(0)) : kUnknownDim}));
        return absl::OkStatus();
      })
      .Value([](ShapeContext& c) {
        if (!c.value(0) || !c.value(1)) return;
        absl::StatusOr<PartialShape> a = c.InputAsShape(0), b = c.InputAsShape(1);
        if (!a.ok() || !b.ok()) return;
        absl::StatusOr<PartialShape> s = BroadcastShapes(*a, *b);
        if (!s.ok() || !s->known_rank()) return;
        PartialValue v;
        for (int64_t d : s->dims()) v.elements.push_back(d < 0 ? PartialValue::kUnknown : d);
        c.SetOutputValue(0, std::move(v));
      });
  ops.Define("BroadcastGradientArgs",
             "The axes over which gradients of a broadcast result are summed for each operand.")
      .Input("s0", "T")
      .Input("s1", "T")
      .Output("r0", "T")
      .Output("r1", "T")
      .Type("T", kIndexTypes, DType::kInt32)
      .Traits(kCheap)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(CheckShapeVectors(c));
        c.SetOutput(0, PartialShape::UnknownDims(1));
        c.SetOutput(1, PartialShape::UnknownDims(1));
        return absl::OkStatus();
      });
}

void DefineHistogramOps(OpRegistry& ops) {
  constexpr DTypeSet kTypes = {DType::kInt32, DType::kInt64, DType::kFloat, DType::kDouble};
  ops.Define("Bincount",
             "How often each number below size occurs in arr, or the sums of its weights; others are left out.")
      .Input("arr", "int32")
      .Input("size", "int32")
      .Input("weights", "T", "Of the shape of arr, or of size 0.")
      .Output("bins", "T")
      .Type("T", kTypes)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRank(1, 0).status());
        const std::optional<int64_t> n = c.scalar(1);
        if (n && *n < 0) return InvalidArgument("size must not be negative, found ", *n);
        c.SetOutput(0, PartialShape({n.value_or(kUnknownDim)}));
        return absl::OkStatus();
      });
  ops.Define("Bucketize", "For each element how many boundaries are not above it.")
      .Input("input", "T")
      .Output("output", "int32")
      .Type("T", kTypes)
      .Attr("boundaries: list(float)", "Sorted.")
      .NotDifferentiable()
      .Shape(SameAs("input"));
  ops.Define("HistogramFixedWidth",
             "The counts of values in nbins equal parts of value_range; values outside go to the first and the last.")
      .Input("values", "T")
      .Input("value_range", "T", "Two numbers, the first below the second.")
      .Input("nbins", "int32")
      .Output("out", "dtype")
      .Type("T", kTypes)
      .Type("dtype", kIndexTypes, DType::kInt32)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape range, c.WithRank(1, 1));
        RETURN_IF_ERROR(range.MergeWith(PartialShape({2})).status());
        RETURN_IF_ERROR(c.WithRank(2, 0).status());
        const std::optional<int64_t> n = c.scalar(2);
        if (n && *n <= 0) return InvalidArgument("nbins must be positive, found ", *n);
        c.SetOutput(0, PartialShape({n.value_or(kUnknownDim)}));
        return absl::OkStatus();
      });
}

}  // namespace sluice
