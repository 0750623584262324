// Moving elements whose type does not matter: plain types are told apart by their size only, so that an op that only
// moves elements is compiled for eight units instead of twenty-three types.
//
//   DispatchUnit(t.dtype(), [&](auto tag) {
//     using U = typename decltype(tag)::type;      // uint8_t ... uint64_t, Bytes16, std::string, ResourceHandle,
//     Variant CopyRun(out.data<U>(), in.data<U>(), n);
//   });
#ifndef SLUICE_KERNELS_ARRAY_ELEMENTS_H_
#define SLUICE_KERNELS_ARRAY_ELEMENTS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "core/kernel/kernel.h"
#include "core/types/resource_handle.h"
#include "core/types/tensor.h"
#include "core/types/variant.h"
#include "kernels/common/type_dispatch.h"

namespace sluice {

struct Bytes16 {
  uint64_t low, high;
};

template <typename Fn>
void DispatchUnit(DType t, Fn&& fn) {
  switch (t) {
    case DType::kString:
      return fn(TypeTag<std::string>());
    case DType::kResource:
      return fn(TypeTag<ResourceHandle>());
    case DType::kVariant:
      return fn(TypeTag<Variant>());
    default:
      break;
  }
  switch (ElementSize(t)) {
    case 1:
      return fn(TypeTag<uint8_t>());
    case 2:
      return fn(TypeTag<uint16_t>());
    case 4:
      return fn(TypeTag<uint32_t>());
    case 8:
      return fn(TypeTag<uint64_t>());
    default:
      return fn(TypeTag<Bytes16>());
  }
}

template <typename U>
inline void CopyRun(U* to, const U* from, int64_t n) {
  if constexpr (std::is_trivially_copyable_v<U>) {
    if (n > 0) std::memcpy(to, from, n * sizeof(U));
  } else {
    std::copy_n(from, n, to);
  }
}

// `n` elements of any type, one after the other.
void CopyElements(DType t, void* to, const void* from, int64_t n);
// Sets all elements of `t` to the one at `value`, or to zero (empty strings, empty handles), on the threads of the
// step.
void FillTensor(const KernelContext& c, Tensor* t, const void* value);
void ZeroTensor(const KernelContext& c, Tensor* t);
// The address of element i.
inline char* ElementAt(const Tensor& t, int64_t i) {
  return static_cast<char*>(t.raw_data()) + i * static_cast<int64_t>(ElementSize(t.dtype()));
}

using IntList = absl::InlinedVector<int64_t, 8>;
// The elements of an int32 or int64 input of any rank.
IntList ReadInts(const Tensor& t);
// As ReadInts, for an input that must be a vector; the error calls it `name`.
absl::StatusOr<IntList> ReadIntVector(const Tensor& t, absl::string_view name);
// The only element of a scalar (or a vector of one element when `or_one`).
absl::StatusOr<int64_t> ReadIntScalar(const Tensor& t, absl::string_view name, bool or_one = false);
// An axis in [-rank, rank) made non-negative.
absl::StatusOr<int> CheckAxis(int64_t axis, int rank);
// The product of sizes [begin, end) of a shape. REQUIRES: a valid shape.
int64_t SizeOfDims(const Shape& shape, int begin, int end);

// Views may begin here: kernels read whole cache lines.
inline constexpr int64_t kViewAlignment = 64;
inline bool MayViewAt(const Tensor& t, int64_t element) {
  return element * static_cast<int64_t>(ElementSize(t.dtype())) % kViewAlignment == 0;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_ARRAY_ELEMENTS_H_
