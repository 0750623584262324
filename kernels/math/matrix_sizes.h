// The sizes of a product of two matrices, checked.
#ifndef SLUICE_KERNELS_MATH_MATRIX_SIZES_H_
#define SLUICE_KERNELS_MATH_MATRIX_SIZES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/status.h"
#include "core/types/shape.h"

namespace sluice {

// `cure` names the attribute that would help when b were turned.
inline absl::Status InnerSizesDiffer(const Shape& a, const Shape& b, bool ta, bool tb, absl::string_view cure) {
  const int64_t m = a.dim(a.rank() - (ta ? 1 : 2)), k = a.dim(a.rank() - (ta ? 2 : 1)),
                n = b.dim(b.rank() - (tb ? 2 : 1));
  const std::string found = absl::StrCat("inner sizes differ: a is ", a.ToString(), ta ? " transposed" : "", ", b is ",
                                         b.ToString(), tb ? " transposed" : "");
  if (n != k) return InvalidArgument(found);
  return InvalidArgument(found, "; ", cure, "=", tb ? "False" : "True", " would give [", m, ",",
                         b.dim(b.rank() - (tb ? 1 : 2)), "]");
}

struct MatrixSizes {
  int64_t m, n, k;  // [m,k] * [k,n]
};
inline absl::StatusOr<MatrixSizes> MatMulSizes(const Shape& a, const Shape& b, bool ta, bool tb) {
  if (a.rank() != 2 || b.rank() != 2) {
    return InvalidArgument("wanted two matrices, found shapes ", a.ToString(), " and ", b.ToString());
  }
  const MatrixSizes s{a.dim(ta ? 1 : 0), b.dim(tb ? 0 : 1), a.dim(ta ? 0 : 1)};
  if (s.k != b.dim(tb ? 1 : 0)) return InnerSizesDiffer(a, b, ta, tb, "transpose_b");
  return s;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_MATRIX_SIZES_H_
