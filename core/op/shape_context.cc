#include "core/op/shape_context.h"

#include <algorithm>

#include "core/base/status.h"

namespace sluice {

bool PartialValue::IsFullyKnown() const {
  return std::find(elements.begin(), elements.end(), kUnknown) == elements.end();
}

ShapeContext::ShapeContext(const OpDef& op, const AttrMap& attrs, std::vector<Input> inputs, int num_outputs)
    : op_(&op),
      attrs_(&attrs),
      inputs_(std::move(inputs)),
      outputs_(num_outputs),
      output_values_(num_outputs),
      output_handles_(num_outputs) {}

ArgRange ShapeContext::InputRange(absl::string_view name) const {
  absl::StatusOr<ArgRange> r = FindArgRange(op_->inputs, *attrs_, name);
  SLUICE_CHECK(r.ok());
  return *r;
}
ArgRange ShapeContext::OutputRange(absl::string_view name) const {
  absl::StatusOr<ArgRange> r = FindArgRange(op_->outputs, *attrs_, name);
  SLUICE_CHECK(r.ok());
  return *r;
}

std::optional<PartialValue> ShapeContext::value(int i) const {
  const Input& in = inputs_[i];
  if (in.value != nullptr) return *in.value;
  if (in.constant == nullptr || !IsInteger(in.constant->dtype()) || in.constant->rank() > 1) return std::nullopt;
  PartialValue v;
  v.scalar = in.constant->rank() == 0;
  v.elements.resize(in.constant->num_elements());
  for (size_t k = 0; k < v.elements.size(); ++k) v.elements[k] = in.constant->IntAt(static_cast<int64_t>(k));
  return v;
}

std::optional<int64_t> ShapeContext::scalar(int i) const {
  std::optional<PartialValue> v = value(i);
  // A vector of one element is taken too: TensorFlow's graphs use it for axes.
  if (!v || v->elements.size() != 1 || v->elements[0] == PartialValue::kUnknown) return std::nullopt;
  return v->elements[0];
}

std::optional<std::vector<int64_t>> ShapeContext::ints(int i) const {
  std::optional<PartialValue> v = value(i);
  if (!v || !v->IsFullyKnown()) return std::nullopt;
  return std::move(v->elements);
}

absl::StatusOr<PartialShape> ShapeContext::InputAsShape(int i) const {
  const PartialShape& shape = input(i);
  if (shape.known_rank() && shape.rank() > 1) {
    return InvalidArgument("a shape must be a vector, found a tensor of shape ", shape.ToString());
  }
  std::optional<PartialValue> v = value(i);
  if (!v) {
    if (!shape.known_rank() || shape.rank() == 0 || shape.dim(0) < 0) return PartialShape();
    if (shape.dim(0) > kMaxRank) return InvalidArgument("a shape with ", shape.dim(0), " dimensions is too long");
    return PartialShape::UnknownDims(static_cast<int>(shape.dim(0)));
  }
  if (v->scalar) {
    if (v->elements[0] == -1 || v->elements[0] == PartialValue::kUnknown) return PartialShape();
    return InvalidArgument("a shape must be a vector, found the scalar ", v->elements[0]);
  }
  for (int64_t& d : v->elements) {
    if (d == PartialValue::kUnknown) d = kUnknownDim;
  }
  return PartialShape::Make(v->elements);
}

absl::StatusOr<PartialShape> ShapeContext::WithRank(int i, int rank) const {
  const PartialShape& s = input(i);
  if (!s.known_rank()) return PartialShape::UnknownDims(rank);
  if (s.rank() == rank) return s;
  return InvalidArgument("input ", i, " must have rank ", rank, ", found shape ", s.ToString());
}

absl::StatusOr<PartialShape> ShapeContext::WithRankAtLeast(int i, int rank) const {
  const PartialShape& s = input(i);
  if (!s.known_rank() || s.rank() >= rank) return s;
  return InvalidArgument("input ", i, " must have rank ", rank, " or more, found shape ", s.ToString());
}

absl::StatusOr<int> ShapeContext::Axis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    return InvalidArgument("axis ", axis, " is not in [", -rank, ", ", rank, ")");
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

ShapeRule SameAs(std::string input) {
  return [input = std::move(input)](ShapeContext& c) -> absl::Status {
    int at = c.InputRange(input).begin;
    for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, c.input(at));
    return absl::OkStatus();
  };
}
ShapeRule UnknownShape() {
  return [](ShapeContext& c) { return absl::OkStatus(); };
}
ShapeRule ScalarShape() {
  return [](ShapeContext& c) {
    for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, Shape());
    return absl::OkStatus();
  };
}
ShapeRule BroadcastOf(int a, int b) {
  return [a, b](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape s, BroadcastShapes(c.input(a), c.input(b)));
    c.SetOutput(0, std::move(s));
    return absl::OkStatus();
  };
}
ShapeRule NoOutputs() { return UnknownShape(); }
ShapeRule MergeInputs() {
  return [](ShapeContext& c) -> absl::Status {
    PartialShape s;
    for (int i = 0; i < c.num_inputs(); ++i) {
      ASSIGN_OR_RETURN(s, s.MergeWith(c.input(i)));
    }
    c.SetOutput(0, std::move(s));
    return absl::OkStatus();
  };
}
ShapeRule FromAttr(std::string attr) {
  return [attr = std::move(attr)](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape s, c.Attr<PartialShape>(attr));
    c.SetOutput(0, std::move(s));
    return absl::OkStatus();
  };
}

}  // namespace sluice
