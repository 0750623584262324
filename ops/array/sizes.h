// Arithmetic on sizes and shapes of which some parts are not known, and small helpers for value and gradient rules.
#ifndef SLUICE_OPS_ARRAY_SIZES_H_
#define SLUICE_OPS_ARRAY_SIZES_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"

namespace sluice {

// a + b and a * b; unknown when either is (but 0 * unknown is 0). Errors on overflow and on results below zero.
absl::StatusOr<int64_t> AddSizes(int64_t a, int64_t b);
absl::StatusOr<int64_t> MultiplySizes(int64_t a, int64_t b);
// a / b, an error when it does not divide.
absl::StatusOr<int64_t> DivideSize(int64_t a, int64_t b, absl::string_view what);
// The known one of two sizes that must agree.
absl::StatusOr<int64_t> MergeSizes(int64_t a, int64_t b, absl::string_view what);

inline PartialShape ScalarShapeValue() { return PartialShape(std::initializer_list<int64_t>{}); }
// Dimensions [begin, end) of a shape of known rank; end -1 means the rest.
PartialShape SubShape(const PartialShape& shape, int begin, int end = -1);
// The dimensions of a, then those of b; of unknown rank when either is.
PartialShape JoinShapes(const PartialShape& a, const PartialShape& b);

// The number of elements of input i, a vector; kUnknownDim when not known.
int64_t VectorLength(const ShapeContext& c, int i);
// As ShapeContext::InputAsShape, but takes at least the rank from the length of the vector.
absl::StatusOr<PartialShape> ShapeFromInput(ShapeContext& c, int i);
// Errors unless input i is a scalar, or may turn out to be one (a vector of one element passes when `or_one`).
absl::Status WantScalar(const ShapeContext& c, int i, absl::string_view name, bool or_one = false);

// True when graphs compute shapes with the type.
inline bool IsIndexType(DType t) { return t == DType::kInt32 || t == DType::kInt64; }
inline constexpr int kMaxKnownElements = 256;  // value rules follow no larger tensors
// What is known of the elements of an index-typed input.
std::optional<PartialValue> IndexValue(const ShapeContext& c, int i);

// ---- for gradient rules

// The elements of an integer tensor of rank 0 or 1 when they are known in full.
std::optional<std::vector<int64_t>> KnownInts(Out x);
// The rank of x as a number when it is known.
std::optional<int> KnownRank(Out x);
// Every axis of x, as a vector.
Out AllAxes(Out x);
// The vector [0, 1, ... n) of `type`; n is a scalar of that type.
Out Iota(Out n);
// x as a vector.
Out Flat(Out x);
// A rule that passes the gradient on to one input.
std::function<void(GradientScope&)> PassTo(std::string input);
// A rule that gives the gradient back in the shape of an input.
std::function<void(GradientScope&)> ReshapeTo(std::string input);

}  // namespace sluice

#endif  // SLUICE_OPS_ARRAY_SIZES_H_
