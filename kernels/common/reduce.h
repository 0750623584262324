// Reductions over axes from a few scalar functions.
//
//   template <class T> struct Total {
//     using Sum = ReduceWide<T>;                                      // what is carried: float for half and bfloat16
//     static Sum Start() { return Sum(0); }
//     static Sum Load(T x) { return Sum(x); }
//     static Sum Join(Sum a, Sum b) { return a + b; }                 // associative; order is fixed
//     static T Finish(Sum s, int64_t count) { return T(s); }
//   };
//   k.Add("Sum", kCpu, ReduceOnCpu<Total, kArithmeticTypes.bits()>());
//
// A reducer whose functions are arithmetic alone can have kJoinsVectors and LoadVector(V& x), JoinVector(V& a, const V&
// b), which do the same to vectors of float and double; kAdds says that all it does is add.
//
// The order in which elements are joined depends on the shape and the axes alone, never on the processor or the number
// of threads: a run of contiguous elements is joined in 32 lanes and pieces of 8192, rows are joined in blocks of 128.
// That also keeps the rounding error of a sum near to that of a pairwise one. Input 0 is the tensor, input 1 the axes;
// keep_dims is read from the node.
#ifndef SLUICE_KERNELS_COMMON_REDUCE_H_
#define SLUICE_KERNELS_COMMON_REDUCE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "core/kernel/kernel_registry.h"
#include "kernels/common/cpu_isa.h"
#include "kernels/common/macros.h"
#include "kernels/common/type_dispatch.h"

namespace sluice {

template <class T>
using ReduceWide = std::conditional_t<std::is_same_v<T, half> || std::is_same_v<T, bfloat16>, float, T>;

// What the kernel needs of a reducer for one type. Carried values are at most 16 bytes.
struct ReduceLoops {
  size_t in_bytes = 0, sum_bytes = 0, out_bytes = 0;
  // sums[i] joins row i of `rows` contiguous rows of n elements.
  void (*rows)(const void* x, int64_t rows, int64_t n, void* sums) = nullptr;
  // sums[j] joins column j of `rows` rows, `stride` elements apart, of n elements.
  void (*columns)(const void* x, int64_t rows, int64_t stride, int64_t n, void* sums) = nullptr;
  void (*start)(void* sums, int64_t n) = nullptr;
  void (*join)(void* sums, const void* others, int64_t n) = nullptr;
  void (*finish)(const void* sums, void* out, int64_t n, int64_t count) = nullptr;
  // `rows` adds floats, in lanes, and starts with 0.
  bool adds_floats = false;
};

std::unique_ptr<Kernel> MakeReduceKernel(const ReduceLoops& loops);
// What a kernel made by that runs, for kernels that reduce rows between other work; else null.
const ReduceLoops* LoopsOf(const Kernel& kernel);
// y[i] is row i of x, of 1 to kLongestRow elements, reduced as those kernels do.
inline constexpr int64_t kLongestRow = 8192;
void ReduceRows(const ReduceLoops& f, const void* x, int64_t rows, int64_t n, void* y);

namespace internal {

inline constexpr int kReduceLanes = 32;

template <class R, class = void>
struct JoinsVectors : std::false_type {};
template <class R>
struct JoinsVectors<R, std::void_t<decltype(R::kJoinsVectors)>> : std::true_type {};

// The lanes of a row of n >= 2 * kReduceLanes elements, joined; `i` is where the rest of the row begins.
template <class R, class T, int kVecBytes>
SLUICE_HOST_DEVICE typename R::Sum JoinLanes(const T* x, int64_t n, int64_t* i) {
  using S = typename R::Sum;
  S lane[kReduceLanes];
  int width = kReduceLanes;
  if constexpr (std::is_same_v<S, T> && std::is_floating_point_v<T> && JoinsVectors<R>::value) {
    // The same sums in the same order, in registers: compilers keep an array of them in memory.
    typedef T V __attribute__((vector_size(kVecBytes)));
    typedef T Memory __attribute__((vector_size(kVecBytes), may_alias, aligned(sizeof(T))));
    constexpr int kWidth = kVecBytes / static_cast<int>(sizeof(T)), kVectors = kReduceLanes / kWidth;
    V v[kVectors];
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; ++k) {
      v[k] = *reinterpret_cast<const Memory*>(x + k * kWidth);
      R::LoadVector(v[k]);
    }
    for (*i = kReduceLanes; *i + kReduceLanes <= n; *i += kReduceLanes) {
#pragma GCC unroll 16
      for (int k = 0; k < kVectors; ++k) {
        V next = *reinterpret_cast<const Memory*>(x + *i + k * kWidth);
        R::LoadVector(next);
        R::JoinVector(v[k], next);
      }
    }
#pragma GCC unroll 16
    for (int w = kVectors / 2; w > 0; w /= 2) {
#pragma GCC unroll 16
      for (int k = 0; k < w; ++k) R::JoinVector(v[k], v[k + w]);
    }
    __builtin_memcpy(lane, &v[0], sizeof(V));
    width = kWidth;
  } else {
    for (int l = 0; l < kReduceLanes; ++l) lane[l] = R::Load(x[l]);
    for (*i = kReduceLanes; *i + kReduceLanes <= n; *i += kReduceLanes) {
      for (int l = 0; l < kReduceLanes; ++l) lane[l] = R::Join(lane[l], R::Load(x[*i + l]));
    }
  }
  for (int w = width / 2; w > 0; w /= 2) {
    for (int l = 0; l < w; ++l) lane[l] = R::Join(lane[l], lane[l + w]);
  }
  return lane[0];
}

template <class R, class T, int kVecBytes>
SLUICE_HOST_DEVICE void ReduceRowsBody(const void* xp, int64_t rows, int64_t n, void* sp) {
  using S = typename R::Sum;
  const T* x = static_cast<const T*>(xp);
  S* sums = static_cast<S*>(sp);
  for (int64_t r = 0; r < rows; ++r, x += n) {
    S sum = R::Start();
    int64_t i = 0;
    if (n >= 2 * kReduceLanes) sum = JoinLanes<R, T, kVecBytes>(x, n, &i);
    for (; i < n; ++i) sum = R::Join(sum, R::Load(x[i]));
    sums[r] = R::Join(sums[r], sum);
  }
}

template <class R, class T>
SLUICE_HOST_DEVICE void ReduceColumnsBody(const void* xp, int64_t rows, int64_t stride, int64_t n, void* sp) {
  using S = typename R::Sum;
  const T* x = static_cast<const T*>(xp);
  S* sums = static_cast<S*>(sp);
  for (int64_t r = 0; r < rows; ++r, x += stride) {
#pragma GCC ivdep
    for (int64_t j = 0; j < n; ++j) sums[j] = R::Join(sums[j], R::Load(x[j]));
  }
}

template <class R, class T>
void ReduceRowsBaseline(const void* x, int64_t rows, int64_t n, void* sums) {
  ReduceRowsBody<R, T, 16>(x, rows, n, sums);
}
template <class R, class T>
void ReduceColumnsBaseline(const void* x, int64_t rows, int64_t stride, int64_t n, void* sums) {
  ReduceColumnsBody<R, T>(x, rows, stride, n, sums);
}
#ifdef SLUICE_HAS_X86_LOOPS
// 512-bit vectors gain nothing here: reductions wait for memory.
template <class R, class T>
SLUICE_TARGET_AVX2 void ReduceRowsAvx2(const void* x, int64_t rows, int64_t n, void* sums) {
  ReduceRowsBody<R, T, 32>(x, rows, n, sums);
}
template <class R, class T>
SLUICE_TARGET_AVX2 void ReduceColumnsAvx2(const void* x, int64_t rows, int64_t stride, int64_t n, void* sums) {
  ReduceColumnsBody<R, T>(x, rows, stride, n, sums);
}
#endif

template <class R, class T>
ReduceLoops MakeReduceLoops() {
  using S = typename R::Sum;
  using Out = decltype(R::Finish(R::Start(), 1));
  ReduceLoops loops;
  loops.in_bytes = sizeof(T);
  loops.sum_bytes = sizeof(S);
  loops.out_bytes = sizeof(Out);
  loops.rows = &ReduceRowsBaseline<R, T>;
  loops.columns = &ReduceColumnsBaseline<R, T>;
#ifdef SLUICE_HAS_X86_LOOPS
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (BestCpuIsa() != CpuIsa::kBaseline) {
      loops.rows = &ReduceRowsAvx2<R, T>;
      loops.columns = &ReduceColumnsAvx2<R, T>;
    }
  }
#endif
  if constexpr (std::is_same_v<T, float> && JoinsVectors<R>::value) loops.adds_floats = R::kAdds;
  loops.start = [](void* sums, int64_t n) { std::fill_n(static_cast<S*>(sums), n, R::Start()); };
  loops.join = [](void* sums, const void* others, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      static_cast<S*>(sums)[i] = R::Join(static_cast<S*>(sums)[i], static_cast<const S*>(others)[i]);
  };
  loops.finish = [](const void* sums, void* out, int64_t n, int64_t count) {
    for (int64_t i = 0; i < n; ++i) static_cast<Out*>(out)[i] = R::Finish(static_cast<const S*>(sums)[i], count);
  };
  return loops;
}

}  // namespace internal

template <template <class> class R, uint32_t kSet>
KernelDef ReduceOnCpu(std::string attr = "T") {
  KernelDef def;
  if (!attr.empty()) def.types.emplace_back(std::move(attr), DTypeSet::FromBits(kSet));
  def.factory = [](const NodeInfo& node) {
    ReduceLoops loops;
    Dispatch<kSet>(BaseType(node.input_types[0]), [&](auto tag) {
      using T = typename decltype(tag)::type;
      loops = internal::MakeReduceLoops<R<T>, T>();
    });
    return MakeReduceKernel(loops);
  };
  return def;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_REDUCE_H_
