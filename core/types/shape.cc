#include "core/types/shape.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace sluice {
namespace {

std::string Join(absl::Span<const int64_t> dims) {
  return absl::StrCat(
      "[",
      absl::StrJoin(dims, ",",
                    [](std::string* out, int64_t d) { d < 0 ? absl::StrAppend(out, "?") : absl::StrAppend(out, d); }),
      "]");
}

absl::Status CheckDims(absl::Span<const int64_t> dims, int64_t least) {
  if (dims.size() > kMaxRank) {
    return InvalidArgument("shape has ", dims.size(), " dimensions, the limit is ", kMaxRank);
  }
  int64_t n = 1;
  bool zero = std::find(dims.begin(), dims.end(), 0) != dims.end();
  for (int64_t d : dims) {
    if (d < least) return InvalidArgument("shape ", Join(dims), " has a negative size (", d, ")");
    if (d > 0 && !zero) n = MultiplyWithoutOverflow(n, d);
    if (n < 0) return InvalidArgument("shape ", Join(dims), " has more elements than an int64 can count");
  }
  return absl::OkStatus();
}

}  // namespace

int64_t MultiplyWithoutOverflow(int64_t a, int64_t b) {
  int64_t r;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &r)) return -1;
  return r;
}

absl::StatusOr<Shape> Shape::Make(absl::Span<const int64_t> dims) {
  RETURN_IF_ERROR(CheckDims(dims, 0));
  return Shape(dims);
}

std::string Shape::ToString() const { return Join(dims_); }

absl::StatusOr<PartialShape> PartialShape::Make(absl::Span<const int64_t> dims) {
  RETURN_IF_ERROR(CheckDims(dims, -1));
  return PartialShape(dims);
}

absl::StatusOr<PartialShape> PartialShape::Parse(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  if (text == "?") return PartialShape();
  if (!absl::ConsumePrefix(&text, "[") || !absl::ConsumeSuffix(&text, "]")) {
    return InvalidArgument("a shape looks like [2,?] or ?, found '", text, "'");
  }
  std::vector<int64_t> dims;
  if (!absl::StripAsciiWhitespace(text).empty()) {
    for (absl::string_view part : absl::StrSplit(text, ',')) {
      part = absl::StripAsciiWhitespace(part);
      int64_t d = -1;
      if (part != "?" && !absl::SimpleAtoi(part, &d)) return InvalidArgument("'", part, "' is no size of a dimension");
      dims.push_back(d);
    }
  }
  return Make(dims);
}

bool PartialShape::IsFullyKnown() const {
  return known_rank_ && std::all_of(dims_.begin(), dims_.end(), [](int64_t d) { return d >= 0; });
}

int64_t PartialShape::num_elements() const { return IsFullyKnown() ? ToShape().num_elements() : -1; }

bool PartialShape::IsCompatibleWith(const PartialShape& other) const {
  if (!known_rank_ || !other.known_rank_) return true;
  if (dims_.size() != other.dims_.size()) return false;
  for (size_t i = 0; i < dims_.size(); ++i) {
    if (dims_[i] >= 0 && other.dims_[i] >= 0 && dims_[i] != other.dims_[i]) return false;
  }
  return true;
}

absl::StatusOr<PartialShape> PartialShape::MergeWith(const PartialShape& other) const {
  if (!IsCompatibleWith(other)) {
    return InvalidArgument("shapes ", ToString(), " and ", other.ToString(), " are not compatible");
  }
  if (!known_rank_) return other;
  PartialShape merged = *this;
  if (other.known_rank_) {
    for (size_t i = 0; i < dims_.size(); ++i) {
      if (dims_[i] < 0) merged.dims_[i] = other.dims_[i];
    }
  }
  return merged;
}

std::string PartialShape::ToString() const { return known_rank_ ? Join(dims_) : "?"; }

absl::StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b) {
  const Shape& longer = a.rank() >= b.rank() ? a : b;
  const Shape& shorter = a.rank() >= b.rank() ? b : a;
  absl::InlinedVector<int64_t, 8> dims(longer.dims().begin(), longer.dims().end());
  int shift = longer.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    int64_t& d = dims[i + shift];
    int64_t s = shorter.dim(i);
    if (d == s || s == 1) continue;
    if (d != 1)
      return InvalidArgument("shapes ", a.ToString(), " and ", b.ToString(), " do not broadcast: sizes ", d, " and ",
                             s);
    d = s;
  }
  return Shape::Make(dims);
}

absl::StatusOr<PartialShape> BroadcastShapes(const PartialShape& a, const PartialShape& b) {
  if (!a.known_rank() || !b.known_rank()) return PartialShape();
  const PartialShape& longer = a.rank() >= b.rank() ? a : b;
  const PartialShape& shorter = a.rank() >= b.rank() ? b : a;
  PartialShape out = longer;
  int shift = longer.rank() - shorter.rank();
  for (int i = 0; i < shorter.rank(); ++i) {
    int64_t d = longer.dim(i + shift), s = shorter.dim(i);
    if (d == s || s == 1) continue;
    if (d == 1) {
      out.SetDim(i + shift, s);
    } else if (d < 0) {
      out.SetDim(i + shift, s);  // a known size over 1 wins, an unknown one stays unknown
    } else if (s >= 0) {
      return InvalidArgument("shapes ", a.ToString(), " and ", b.ToString(), " do not broadcast: sizes ", d, " and ",
                             s);
    }
  }
  return out;
}

}  // namespace sluice
