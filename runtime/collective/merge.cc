#include "runtime/collective/merge.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

#if defined(__x86_64__)
namespace {

constexpr size_t kVector = 32;

size_t BytesToBorder(const void* p) { return (kVector - reinterpret_cast<uintptr_t>(p) % kVector) % kVector; }

// The divisions are those of DivideBy, so the bits are the same.
template <bool kDivide>
__attribute__((target("avx"))) void StreamSum(const float* a, const float* b, float* to, int64_t count, float divisor) {
  const __m256 d = _mm256_set1_ps(divisor);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m256 x = _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
    __m256 y = _mm256_add_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8));
    if (kDivide) x = _mm256_div_ps(x, d), y = _mm256_div_ps(y, d);
    _mm256_stream_ps(to + i, x);
    _mm256_stream_ps(to + i + 8, y);
  }
  for (; i < count; ++i) to[i] = kDivide ? (a[i] + b[i]) / divisor : a[i] + b[i];
}

__attribute__((target("avx"))) void StreamBytes(char* to, const char* from, int64_t bytes) {
  int64_t i = 0;
  for (; i + 64 <= bytes; i += 64) {
    const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    const __m256i y = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + 32));
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i), x);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i + 32), y);
  }
  std::memcpy(to + i, from + i, bytes - i);
}

bool CanStream() {
  static const bool can = __builtin_cpu_supports("avx");
  return can;
}

}  // namespace
#endif

void MergeLast(DType dtype, MergeOp op, const void* a, const void* b, void* to, int64_t count, int64_t divisor,
               bool stream) {
#if defined(__x86_64__)
  if (stream && dtype == DType::kFloat && op == MergeOp::kAdd && CanStream()) {
    const float* x = static_cast<const float*>(a);
    const float* y = static_cast<const float*>(b);
    float* z = static_cast<float*>(to);
    const int64_t head = std::min<int64_t>(count, BytesToBorder(to) / sizeof(float));
    const float d = static_cast<float>(divisor);
    for (int64_t i = 0; i < head; ++i) z[i] = divisor == 1 ? x[i] + y[i] : (x[i] + y[i]) / d;
    (divisor == 1 ? StreamSum<false> : StreamSum<true>)(x + head, y + head, z + head, count - head, d);
    _mm_sfence();
    return;
  }
#endif
  Merge(dtype, op, a, b, to, count);
  if (divisor != 1) DivideBy(dtype, divisor, to, count);
}

void CopyOut(void* to, const void* from, int64_t bytes, bool stream) {
#if defined(__x86_64__)
  if (stream && CanStream()) {
    const int64_t head = std::min<int64_t>(bytes, BytesToBorder(to));
    std::memcpy(to, from, head);
    StreamBytes(static_cast<char*>(to) + head, static_cast<const char*>(from) + head, bytes - head);
    _mm_sfence();
    return;
  }
#endif
  std::memcpy(to, from, bytes);
}

int64_t PartBegin(int64_t count, int64_t parts, int64_t i, int64_t align) {
  if (i >= parts) return count;
  const int64_t units = (count + align - 1) / align;
  return std::min(count, units * i / parts * align);
}

}  // namespace sluice
