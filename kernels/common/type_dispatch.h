// From a DType at run time to a C++ type at compile time, and kernels that are templates of one type.
//
//   bool known = Dispatch<kFloatingTypes.bits()>(dtype, [&](auto tag) {
//     using T = typename decltype(tag)::type;
//     ...
//   });
//   k.Add("Cumsum", kCpu, KernelByType<CumsumKernel, kArithmeticTypes.bits()>("T"));
//
// Every type of the set instantiates the body once, so keep bodies small or sets narrow.
#ifndef SLUICE_KERNELS_COMMON_TYPE_DISPATCH_H_
#define SLUICE_KERNELS_COMMON_TYPE_DISPATCH_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/kernel/kernel_registry.h"
#include "core/types/numeric_types.h"
#include "core/types/resource_handle.h"
#include "core/types/variant.h"

namespace sluice {

template <typename T>
struct TypeTag {
  using type = T;
};

namespace internal {
template <uint32_t kSet, typename T, typename Fn>
bool DispatchOne(DType t, Fn& fn) {
  if constexpr (DTypeSet::FromBits(kSet).Has(kDTypeOf<T>)) {
    if (t == kDTypeOf<T>) {
      fn(TypeTag<T>());
      return true;
    }
  }
  return false;
}
template <uint32_t kSet, typename... Ts, typename Fn>
bool DispatchList(DType t, Fn& fn) {
  return (DispatchOne<kSet, Ts>(t, fn) || ...);
}
}  // namespace internal

// Calls fn(TypeTag<T>()) for the type of the set that `t` is; false when it is none of them.
template <uint32_t kSet, typename Fn>
bool Dispatch(DType t, Fn&& fn) {
  return internal::DispatchList<kSet, float, double, int32_t, int64_t, bool, half, bfloat16, int8_t, uint8_t, int16_t,
                                uint16_t, uint32_t, uint64_t, complex64, complex128, std::string, qint8, quint8, qint16,
                                quint16, qint32, ResourceHandle, Variant>(t, fn);
}

// The definition of kernels K<T>, where T is the attribute `attr` of the node, one of the set.
template <template <typename> class K, uint32_t kSet>
KernelDef KernelByType(std::string attr) {
  KernelDef def = KernelDef().Types(attr, DTypeSet::FromBits(kSet));
  def.factory = [attr = std::move(attr)](const NodeInfo& node) -> std::unique_ptr<Kernel> {
    std::unique_ptr<Kernel> kernel;
    Dispatch<kSet>(node.Attr<DType>(attr).value_or(DType::kInvalid),
                   [&](auto tag) { kernel = std::make_unique<K<typename decltype(tag)::type>>(); });
    return kernel;
  };
  return def;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_TYPE_DISPATCH_H_
