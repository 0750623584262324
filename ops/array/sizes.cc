#include "ops/array/sizes.h"

#include "core/base/status.h"
#include "ops/expr/expr.h"

namespace sluice {

absl::StatusOr<int64_t> AddSizes(int64_t a, int64_t b) {
  if (a < 0 || b < 0) return kUnknownDim;
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return InvalidArgument("the size ", a, " + ", b, " is too large");
  return sum;
}

absl::StatusOr<int64_t> MultiplySizes(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  if (a < 0 || b < 0) return kUnknownDim;
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return InvalidArgument("the size ", a, " * ", b, " is too large");
  return product;
}

absl::StatusOr<int64_t> DivideSize(int64_t a, int64_t b, absl::string_view what) {
  if (b == 0 || b < kUnknownDim) return InvalidArgument(what, ": cannot divide by ", b);
  if (a < 0 || b < 0) return kUnknownDim;
  if (a % b != 0) return InvalidArgument(what, ": ", a, " is not a multiple of ", b);
  return a / b;
}

absl::StatusOr<int64_t> MergeSizes(int64_t a, int64_t b, absl::string_view what) {
  if (a < 0) return b;
  if (b < 0 || a == b) return a;
  return InvalidArgument(what, ": sizes ", a, " and ", b, " differ");
}

PartialShape SubShape(const PartialShape& shape, int begin, int end) {
  if (end < 0) end = shape.rank();
  return PartialShape(shape.dims().subspan(begin, end - begin));
}

PartialShape JoinShapes(const PartialShape& a, const PartialShape& b) {
  if (!a.known_rank() || !b.known_rank()) return PartialShape();
  PartialShape joined = a;
  for (int64_t d : b.dims()) joined.AddDim(d);
  return joined;
}

int64_t VectorLength(const ShapeContext& c, int i) {
  const PartialShape& shape = c.input(i);
  return shape.known_rank() && shape.rank() == 1 ? shape.dim(0) : kUnknownDim;
}

absl::StatusOr<PartialShape> ShapeFromInput(ShapeContext& c, int i) {
  ASSIGN_OR_RETURN(PartialShape vector, c.WithRank(i, 1));
  ASSIGN_OR_RETURN(PartialShape shape, c.InputAsShape(i));
  if (shape.known_rank() || vector.dim(0) < 0) return shape;
  if (vector.dim(0) > kMaxRank) return InvalidArgument("a shape of ", vector.dim(0), " dimensions");
  return PartialShape::UnknownDims(static_cast<int>(vector.dim(0)));
}

absl::Status WantScalar(const ShapeContext& c, int i, absl::string_view name, bool or_one) {
  const PartialShape& shape = c.input(i);
  if (!shape.known_rank() || shape.rank() == 0) return absl::OkStatus();
  if (or_one && shape.rank() == 1 && (shape.dim(0) == 1 || shape.dim(0) < 0)) return absl::OkStatus();
  return InvalidArgument(name, " must be a scalar, found shape ", shape.ToString());
}

std::optional<PartialValue> IndexValue(const ShapeContext& c, int i) {
  if (!IsIndexType(BaseType(c.input_type(i)))) return std::nullopt;
  const PartialShape& shape = c.input(i);
  if (!shape.known_rank() || shape.rank() > 1 || (shape.rank() == 1 && shape.dim(0) > kMaxKnownElements))
    return std::nullopt;
  if (std::optional<PartialValue> value = c.value(i)) return value;
  if (shape.rank() == 1 && shape.dim(0) < 0) return std::nullopt;
  PartialValue unknown;
  unknown.scalar = shape.rank() == 0;
  unknown.elements.assign(unknown.scalar ? 1 : shape.dim(0), PartialValue::kUnknown);
  return unknown;
}

std::optional<std::vector<int64_t>> KnownInts(Out x) {
  if (!x.valid()) return std::nullopt;
  const Node* node = x.node();
  if (const PartialValue* value = node->output_value(x.endpoint().index)) {
    if (value->IsFullyKnown()) return value->elements;
    return std::nullopt;
  }
  if (!node->Is(kConstant)) return std::nullopt;
  const AttrValue* attr = node->attrs().Find("value");
  const Tensor* t = attr == nullptr ? nullptr : attr->As<Tensor>();
  if (t == nullptr || !IsIndexType(t->dtype()) || t->rank() > 1) return std::nullopt;
  std::vector<int64_t> ints(t->num_elements());
  for (size_t i = 0; i < ints.size(); ++i) ints[i] = t->IntAt(i);
  return ints;
}

std::optional<int> KnownRank(Out x) {
  const PartialShape shape = x.shape();
  if (!shape.known_rank()) return std::nullopt;
  return shape.rank();
}

Out AllAxes(Out x) {
  if (!x.valid()) return x;
  GraphBuilder* b = x.builder();
  if (std::optional<int> rank = KnownRank(x)) {
    std::vector<int64_t> axes(*rank);
    for (int i = 0; i < *rank; ++i) axes[i] = i;
    return b->Ints(std::move(axes));
  }
  return Iota(RankOf(x));
}

Out Iota(Out n) {
  if (!n.valid()) return n;
  GraphBuilder* b = n.builder();
  return Range(b->Int(0, n.dtype()), n, b->Int(1, n.dtype()));
}

Out Flat(Out x) {
  if (!x.valid()) return x;
  return Reshape(x, x.builder()->Ints({-1}));
}

std::function<void(GradientScope&)> PassTo(std::string input) {
  return [input = std::move(input)](GradientScope& g) { g.Into(input) = g.dy(); };
}

std::function<void(GradientScope&)> ReshapeTo(std::string input) {
  return [input = std::move(input)](GradientScope& g) { g.Into(input) = ReshapeLike(g.dy(), g[input]); };
}

}  // namespace sluice
