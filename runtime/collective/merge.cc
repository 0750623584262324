#include "runtime/collective/merge.h"

#include <algorithm>
#include <type_traits>

#include "core/base/status.h"
#include "core/types/numeric_types.h"

namespace sluice {
namespace {

template <typename T>
inline constexpr bool kIsComplex = std::is_same_v<T, complex64> || std::is_same_v<T, complex128>;

// Overflow of signed integers wraps, as it does in the kernels.
template <typename T, typename Op>
void Loop(const void* a, const void* b, void* to, int64_t count, Op op) {
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  T* z = static_cast<T*>(to);
  for (int64_t i = 0; i < count; ++i) z[i] = op(x[i], y[i]);
}

template <typename T>
T Add(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  } else {
    return a + b;
  }
}
template <typename T>
T Multiply(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  } else {
    return a * b;
  }
}

template <typename T>
void MergeType(MergeOp op, const void* a, const void* b, void* to, int64_t count) {
  switch (op) {
    case MergeOp::kAdd:
      return Loop<T>(a, b, to, count, [](T x, T y) { return Add(x, y); });
    case MergeOp::kMul:
      return Loop<T>(a, b, to, count, [](T x, T y) { return Multiply(x, y); });
    case MergeOp::kMax:
    case MergeOp::kMin:
      if constexpr (!kIsComplex<T>) {
        // A NaN on either side stays.
        if (op == MergeOp::kMax) return Loop<T>(a, b, to, count, [](T x, T y) { return (x > y || x != x) ? x : y; });
        return Loop<T>(a, b, to, count, [](T x, T y) { return (x < y || x != x) ? x : y; });
      }
  }
}

template <typename Fn>
void ForType(DType dtype, Fn fn) {
  switch (dtype) {
    case DType::kFloat:
      return fn(float());
    case DType::kDouble:
      return fn(double());
    case DType::kHalf:
      return fn(half());
    case DType::kBfloat16:
      return fn(bfloat16());
    case DType::kInt8:
      return fn(int8_t());
    case DType::kInt16:
      return fn(int16_t());
    case DType::kInt32:
      return fn(int32_t());
    case DType::kInt64:
      return fn(int64_t());
    case DType::kUint8:
      return fn(uint8_t());
    case DType::kUint16:
      return fn(uint16_t());
    case DType::kUint32:
      return fn(uint32_t());
    case DType::kUint64:
      return fn(uint64_t());
    case DType::kComplex64:
      return fn(complex64());
    case DType::kComplex128:
      return fn(complex128());
    default:
      SLUICE_CHECK(false);
  }
}

}  // namespace

void Merge(DType dtype, MergeOp op, const void* a, const void* b, void* to, int64_t count) {
  ForType(dtype, [&](auto zero) { MergeType<decltype(zero)>(op, a, b, to, count); });
}

void DivideBy(DType dtype, int64_t members, void* to, int64_t count) {
  ForType(dtype, [&](auto zero) {
    using T = decltype(zero);
    T* z = static_cast<T*>(to);
    if constexpr (std::is_integral_v<T>) {
      for (int64_t i = 0; i < count; ++i) z[i] = static_cast<T>(static_cast<int64_t>(z[i]) / members);
    } else {
      const T n = static_cast<T>(static_cast<float>(members));
      for (int64_t i = 0; i < count; ++i) z[i] = z[i] / n;
    }
  });
}

int64_t PartBegin(int64_t count, int64_t parts, int64_t i, int64_t align) {
  if (i >= parts) return count;
  const int64_t units = (count + align - 1) / align;
  return std::min(count, units * i / parts * align);
}

}  // namespace sluice
