// Products of row-major matrices on the CPU.
//
//   // c[m,n] = op(a) * op(b) + beta * c, where op(a) is [m,k] and op(b) is [k,n]
//   Gemm(c.step().pool, /*ta=*/false, /*tb=*/false, m, n, k, a, k, b, n, c, n, /*beta=*/0.f);
//
// lda, ldb and ldc are the distances between rows as stored: a is [m,k], or [k,m] when ta. `pool` may be null: the
// product then runs on the calling thread. The bits of the result do not depend on the number of threads. With beta ==
// 0 c is not read. Conjugation is the caller's. half and bfloat16 (gemm_narrow.h) are summed in float and
// rounded once.
#ifndef SLUICE_KERNELS_COMMON_GEMM_H_
#define SLUICE_KERNELS_COMMON_GEMM_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "core/base/thread_pool.h"
#include "core/types/numeric_types.h"

namespace sluice {

// T: float, double, half, bfloat16, int32_t, int64_t, complex64, complex128.
template <typename T>
void Gemm(ThreadPool* pool, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
          int64_t ldb, T* c, int64_t ldc, T beta = T(0));

// What is done with a part of a product as soon as it is whole, while it is in a cache near the core: rows [i, i +
// rows) and columns [j, j + columns) of c. Called once for each element, by several threads at a time.
using GemmEpilogue = absl::FunctionRef<void(int64_t i, int64_t rows, int64_t j, int64_t columns)>;

// As Gemm with beta == 0. T: float, double.
template <typename T>
void GemmWithEpilogue(ThreadPool* pool, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
                      const T* b, int64_t ldb, T* c, int64_t ldc, GemmEpilogue epilogue);

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_GEMM_H_
