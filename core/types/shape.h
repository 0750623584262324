// Shapes of tensors: Shape is fully known, PartialShape may lack the rank or some sizes.
//
//   Shape s({32, 784});               s.ToString() == "[32,784]"
//   PartialShape p({-1, 784});        p.ToString() == "[?,784]";   PartialShape() is "?", of unknown rank
//
// Sizes are 64-bit, at most kMaxRank dimensions, and the number of elements fits int64 (Make checks; the constructors
// are for shapes that are known to be valid).
#ifndef SLUICE_CORE_TYPES_SHAPE_H_
#define SLUICE_CORE_TYPES_SHAPE_H_

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice {

inline constexpr int kMaxRank = 254;

class Shape {
 public:
  Shape() = default;  // a scalar
  Shape(std::initializer_list<int64_t> dims) : dims_(dims) { Count(); }
  explicit Shape(absl::Span<const int64_t> dims) : dims_(dims.begin(), dims.end()) { Count(); }

  // Checks: no negative size, rank within kMaxRank, no overflow of the number of elements.
  static absl::StatusOr<Shape> Make(absl::Span<const int64_t> dims);

  int rank() const { return static_cast<int>(dims_.size()); }
  int64_t dim(int i) const { return dims_[i]; }
  absl::Span<const int64_t> dims() const { return dims_; }
  int64_t num_elements() const { return num_elements_; }  // the largest int64 when it is more than that
  bool IsScalar() const { return dims_.empty(); }

  void AddDim(int64_t size) {
    dims_.push_back(size);
    num_elements_ = Times(num_elements_, size);
  }
  void SetDim(int i, int64_t size) {
    dims_[i] = size;
    Count();
  }
  void InsertDim(int at, int64_t size) {
    dims_.insert(dims_.begin() + at, size);
    Count();
  }
  void RemoveDim(int at) {
    dims_.erase(dims_.begin() + at);
    Count();
  }

  friend bool operator==(const Shape& a, const Shape& b) { return a.dims_ == b.dims_; }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }
  std::string ToString() const;

 private:
  // Never wraps to a number that looks small enough for a buffer.
  static int64_t Times(int64_t a, int64_t b) {
    int64_t r;
    return __builtin_mul_overflow(a, b, &r) ? std::numeric_limits<int64_t>::max() : r;
  }
  void Count() {
    num_elements_ = 1;
    for (int64_t d : dims_) num_elements_ = Times(num_elements_, d);
  }
  absl::InlinedVector<int64_t, 4> dims_;
  int64_t num_elements_ = 1;
};

inline constexpr int64_t kUnknownDim = -1;

class PartialShape {
 public:
  PartialShape() = default;  // of unknown rank
  PartialShape(std::initializer_list<int64_t> dims) : known_rank_(true), dims_(dims) {}
  explicit PartialShape(absl::Span<const int64_t> dims) : known_rank_(true), dims_(dims.begin(), dims.end()) {}
  PartialShape(const Shape& s) : PartialShape(s.dims()) {}  // NOLINT
  static PartialShape UnknownDims(int rank) {
    PartialShape p;
    p.known_rank_ = true;
    p.dims_.assign(rank, kUnknownDim);
    return p;
  }
  // Sizes below -1, ranks over kMaxRank and overflowing known products are errors.
  static absl::StatusOr<PartialShape> Make(absl::Span<const int64_t> dims);
  // Parses "[2,?]", "[]" and "?".
  static absl::StatusOr<PartialShape> Parse(absl::string_view text);

  bool known_rank() const { return known_rank_; }
  int rank() const { return known_rank_ ? static_cast<int>(dims_.size()) : -1; }
  int64_t dim(int i) const { return dims_[i]; }  // kUnknownDim when unknown
  absl::Span<const int64_t> dims() const { return dims_; }
  void AddDim(int64_t size) {
    dims_.push_back(size);
    known_rank_ = true;
  }
  void SetDim(int i, int64_t size) { dims_[i] = size; }

  bool IsFullyKnown() const;
  Shape ToShape() const { return Shape(absl::Span<const int64_t>(dims_)); }  // REQUIRES: IsFullyKnown()
  int64_t num_elements() const;                                              // -1 unless fully known
  bool IsCompatibleWith(const PartialShape& other) const;
  bool IsCompatibleWith(const Shape& other) const { return IsCompatibleWith(PartialShape(other)); }
  // The most specific shape that agrees with both; an error when they contradict.
  absl::StatusOr<PartialShape> MergeWith(const PartialShape& other) const;

  friend bool operator==(const PartialShape& a, const PartialShape& b) {
    return a.known_rank_ == b.known_rank_ && a.dims_ == b.dims_;
  }
  friend bool operator!=(const PartialShape& a, const PartialShape& b) { return !(a == b); }
  std::string ToString() const;

 private:
  bool known_rank_ = false;
  absl::InlinedVector<int64_t, 4> dims_;
};

// a*b, or -1 when either is negative or the product overflows int64.
int64_t MultiplyWithoutOverflow(int64_t a, int64_t b);

// The NumPy broadcast of two shapes; an error names both.
absl::StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b);
absl::StatusOr<PartialShape> BroadcastShapes(const PartialShape& a, const PartialShape& b);

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_SHAPE_H_
