// Element-wise kernels from scalar functions.
//
//   struct Softplus {
//     static constexpr DTypeSet kTypes = kFloatingTypes;    // what it is compiled for; kRealTypes when left out
//     static constexpr double kCostNs = 1;                  // of one element; 0.25 when left out
//     template <class T> SLUICE_HOST_DEVICE T operator()(T x) const { ... }
//   };
//   k.Add("Softplus", kCpu, UnaryOnCpu<Softplus>());                // or a smaller set:
//   UnaryOnCpu<Softplus>(kFloatingTypes) k.Add("AddV2", kCpu, BinaryOnCpu<Plus>());                      // NumPy
//   broadcasting
//
// The function sees float where tensors hold half or bfloat16, and its result type (after rounding back) is the output
// type. Loops over float and double are compiled for the baseline, AVX2 and AVX-512 and chosen when the kernel is made:
// compile the file with KERNEL_COPTS (copts.bzl), mark the function SLUICE_HOST_DEVICE and keep it free of branches and
// calls to have it vectorised. A function with parameters has a member `static F Make(const NodeInfo&)` that reads
// attributes, and must be trivially copyable. A function that is vectorised for |x| <= kFastLimit only has that
// constant and a member Exact(x) for blocks with other elements. `static constexpr bool kNonzeroDivisor = true` makes a
// zero in an integer second operand INVALID_ARGUMENT.
//
// Outputs take over the buffer of a dying input of the same shape.
#ifndef SLUICE_KERNELS_COMMON_ELEMENT_WISE_H_
#define SLUICE_KERNELS_COMMON_ELEMENT_WISE_H_

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "core/kernel/kernel_registry.h"
#include "core/types/numeric_types.h"
#include "kernels/common/cpu_isa.h"
#include "kernels/common/macros.h"
#include "kernels/common/type_dispatch.h"

namespace sluice {

// y[i] = f(x[i]).
using UnaryLoop = void (*)(const void* f, const void* x, void* y, int64_t n);
// z[i] = f(x[i * sx], y[i * sy]); each step is 0 or 1.
using BinaryLoop = void (*)(const void* f, const void* x, int64_t sx, const void* y, int64_t sy, void* z, int64_t n);

inline constexpr size_t kMaxFunctionBytes = 32;

// What a kernel needs of a function for one type.
struct ElementWiseFunction {
  UnaryLoop unary = nullptr;
  BinaryLoop binary = nullptr;
  DType output = DType::kInvalid;
  double cost_ns = 0.25;
  bool nonzero_divisor = false;
  alignas(16) unsigned char bytes[kMaxFunctionBytes] = {};
};

std::unique_ptr<Kernel> MakeUnaryKernel(const ElementWiseFunction& f);
std::unique_ptr<Kernel> MakeBinaryKernel(const ElementWiseFunction& f);
// What a prepared kernel made by those two runs, for kernels that run several of them over one block; else null.
const ElementWiseFunction* FunctionOf(const Kernel& kernel);

namespace internal {

template <class T>
inline constexpr bool kIsNarrowFloat = std::is_same_v<T, half> || std::is_same_v<T, bfloat16>;
// What the function computes with.
template <class T>
using Wide = std::conditional_t<kIsNarrowFloat<T>, float, T>;
template <class T, class R>
using Narrow = std::conditional_t<kIsNarrowFloat<T> && std::is_same_v<R, float>, T, R>;

template <class F, class T>
using UnaryResult = Narrow<T, decltype(std::declval<const F&>()(std::declval<Wide<T>>()))>;
template <class F, class T>
using BinaryResult = Narrow<T, decltype(std::declval<const F&>()(std::declval<Wide<T>>(), std::declval<Wide<T>>()))>;

template <class F, class = void>
struct HasFastLimit : std::false_type {};
template <class F>
struct HasFastLimit<F, std::void_t<decltype(F::kFastLimit)>> : std::true_type {};

template <class F, class T>
SLUICE_HOST_DEVICE void UnaryBody(const void* fp, const void* xp, void* yp, int64_t n) {
  using R = UnaryResult<F, T>;
  const F f = *static_cast<const F*>(fp);
  const T* x = static_cast<const T*>(xp);
  R* y = static_cast<R*>(yp);
  if constexpr (HasFastLimit<F>::value && std::is_same_v<T, float>) {
    constexpr int64_t kBlock = 512;
    for (int64_t at = 0; at < n; at += kBlock) {
      const int64_t end = at + kBlock < n ? at + kBlock : n;
      int beyond = 0;
      for (int64_t i = at; i < end; ++i) beyond |= !(x[i] <= F::kFastLimit && x[i] >= -F::kFastLimit);
      if (beyond) {
        for (int64_t i = at; i < end; ++i) y[i] = f.Exact(x[i]);
      } else {
#pragma GCC ivdep
        for (int64_t i = at; i < end; ++i) y[i] = f(x[i]);
      }
    }
    return;
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(f(static_cast<Wide<T>>(x[i])));
}

template <class F, class T>
SLUICE_HOST_DEVICE void BinaryBody(const void* fp, const void* xp, int64_t sx, const void* yp, int64_t sy, void* zp,
                                   int64_t n) {
  using R = BinaryResult<F, T>;
  using W = Wide<T>;
  const F f = *static_cast<const F*>(fp);
  const T* x = static_cast<const T*>(xp);
  const T* y = static_cast<const T*>(yp);
  R* z = static_cast<R*>(zp);
  // The types that matter get loops of their own for tensor-tensor, tensor-scalar and scalar-tensor.
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, int32_t> ||
                std::is_same_v<T, int64_t>) {
    if (sx == 1 && sy == 1) {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) z[i] = static_cast<R>(f(x[i], y[i]));
      return;
    }
    if (sx == 1) {
      const T c = *y;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) z[i] = static_cast<R>(f(x[i], c));
      return;
    }
    if (sy == 1) {
      const T c = *x;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) z[i] = static_cast<R>(f(c, y[i]));
      return;
    }
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) z[i] = static_cast<R>(f(static_cast<W>(x[i * sx]), static_cast<W>(y[i * sy])));
}

template <class F, class T>
void UnaryBaseline(const void* f, const void* x, void* y, int64_t n) {
  UnaryBody<F, T>(f, x, y, n);
}
template <class F, class T>
void BinaryBaseline(const void* f, const void* x, int64_t sx, const void* y, int64_t sy, void* z, int64_t n) {
  BinaryBody<F, T>(f, x, sx, y, sy, z, n);
}
#ifdef SLUICE_HAS_X86_LOOPS
template <class F, class T>
SLUICE_TARGET_AVX2 void UnaryAvx2(const void* f, const void* x, void* y, int64_t n) {
  UnaryBody<F, T>(f, x, y, n);
}
template <class F, class T>
SLUICE_TARGET_AVX512 void UnaryAvx512(const void* f, const void* x, void* y, int64_t n) {
  UnaryBody<F, T>(f, x, y, n);
}
template <class F, class T>
SLUICE_TARGET_AVX2 void BinaryAvx2(const void* f, const void* x, int64_t sx, const void* y, int64_t sy, void* z,
                                   int64_t n) {
  BinaryBody<F, T>(f, x, sx, y, sy, z, n);
}
template <class F, class T>
SLUICE_TARGET_AVX512 void BinaryAvx512(const void* f, const void* x, int64_t sx, const void* y, int64_t sy, void* z,
                                       int64_t n) {
  BinaryBody<F, T>(f, x, sx, y, sy, z, n);
}
#endif

template <class T>
inline constexpr bool kHasIsaLoops = std::is_same_v<T, float> || std::is_same_v<T, double>;

template <class F, class T>
UnaryLoop PickUnary() {
#ifdef SLUICE_HAS_X86_LOOPS
  if constexpr (kHasIsaLoops<T>) {
    if (BestCpuIsa() == CpuIsa::kAvx512) return &UnaryAvx512<F, T>;
    if (BestCpuIsa() == CpuIsa::kAvx2) return &UnaryAvx2<F, T>;
  }
#endif
  return &UnaryBaseline<F, T>;
}
template <class F, class T>
BinaryLoop PickBinary() {
#ifdef SLUICE_HAS_X86_LOOPS
  if constexpr (kHasIsaLoops<T>) {
    if (BestCpuIsa() == CpuIsa::kAvx512) return &BinaryAvx512<F, T>;
    if (BestCpuIsa() == CpuIsa::kAvx2) return &BinaryAvx2<F, T>;
  }
#endif
  return &BinaryBaseline<F, T>;
}

// Members that a function may leave out.
template <class F, class = void>
struct TypesOf {
  static constexpr DTypeSet value = kRealTypes;
};
template <class F>
struct TypesOf<F, std::void_t<decltype(F::kTypes)>> {
  static constexpr DTypeSet value = F::kTypes;
};
template <class F, class = void>
struct CostOf {
  static constexpr double value = 0.25;
};
template <class F>
struct CostOf<F, std::void_t<decltype(F::kCostNs)>> {
  static constexpr double value = F::kCostNs;
};
template <class F, class = void>
struct NonzeroDivisorOf : std::false_type {};
template <class F>
struct NonzeroDivisorOf<F, std::void_t<decltype(F::kNonzeroDivisor)>> : std::bool_constant<F::kNonzeroDivisor> {};
template <class F, class = void>
struct HasMake : std::false_type {};
template <class F>
struct HasMake<F, std::void_t<decltype(F::Make(std::declval<const NodeInfo&>()))>> : std::true_type {};

template <class F>
void StoreFunction(const NodeInfo& node, ElementWiseFunction* out) {
  static_assert(sizeof(F) <= kMaxFunctionBytes && std::is_trivially_copyable_v<F>);
  if constexpr (HasMake<F>::value) {
    const F f = F::Make(node);
    std::memcpy(out->bytes, &f, sizeof(f));
  }
  out->cost_ns = CostOf<F>::value;
  out->nonzero_divisor = NonzeroDivisorOf<F>::value;
}

}  // namespace internal

// A kernel for the nodes of which the attribute `attr` is one of `types`.
template <class F>
KernelDef UnaryOnCpu(DTypeSet types = kAllTypes, std::string attr = "T") {
  constexpr DTypeSet compiled = internal::TypesOf<F>::value;
  KernelDef def;
  if (!attr.empty()) def.types.emplace_back(std::move(attr), types & compiled);
  def.factory = [](const NodeInfo& node) {
    ElementWiseFunction f;
    internal::StoreFunction<F>(node, &f);
    Dispatch<internal::TypesOf<F>::value.bits()>(BaseType(node.input_types[0]), [&](auto tag) {
      using T = typename decltype(tag)::type;
      f.unary = internal::PickUnary<F, T>();
      f.output = kDTypeOf<internal::UnaryResult<F, T>>;
    });
    return MakeUnaryKernel(f);
  };
  return def;
}

template <class F>
KernelDef BinaryOnCpu(DTypeSet types = kAllTypes, std::string attr = "T") {
  constexpr DTypeSet compiled = internal::TypesOf<F>::value;
  KernelDef def;
  if (!attr.empty()) def.types.emplace_back(std::move(attr), types & compiled);
  def.factory = [](const NodeInfo& node) {
    ElementWiseFunction f;
    internal::StoreFunction<F>(node, &f);
    Dispatch<internal::TypesOf<F>::value.bits()>(BaseType(node.input_types[0]), [&](auto tag) {
      using T = typename decltype(tag)::type;
      f.binary = internal::PickBinary<F, T>();
      f.output = kDTypeOf<internal::BinaryResult<F, T>>;
    });
    return MakeBinaryKernel(f);
  };
  return def;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_ELEMENT_WISE_H_
