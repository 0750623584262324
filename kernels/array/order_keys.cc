#include "kernels/array/order_keys.h"

#include <cstring>
#include <type_traits>

#include "kernels/common/type_dispatch.h"

namespace sluice {
namespace {

constexpr int64_t kNanKey = INT64_MAX;

template <typename T>
int64_t Key(T x) {
  if constexpr (std::is_same_v<T, double>) {
    if (x != x) return kNanKey;
    int64_t bits;
    const double y = x == 0 ? 0.0 : x;
    std::memcpy(&bits, &y, sizeof(bits));
    return bits < 0 ? static_cast<int64_t>(uint64_t{1} << 63) - bits : bits;
  } else if constexpr (std::is_same_v<T, float>) {
    if (x != x) return kNanKey;
    int32_t bits;
    const float y = x == 0 ? 0.0f : x;
    std::memcpy(&bits, &y, sizeof(bits));
    return bits < 0 ? int64_t{INT32_MIN} - bits : bits;
  } else if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bfloat16>) {
    return Key(static_cast<float>(x));
  } else if constexpr (std::is_same_v<T, uint64_t>) {
    return static_cast<int64_t>(x ^ (uint64_t{1} << 63));
  } else {
    return static_cast<int64_t>(x);
  }
}

}  // namespace

void OrderKeys(DType t, const void* data, int64_t n, int64_t* keys) {
  Dispatch<kRealTypes.bits()>(t, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* x = static_cast<const T*>(data);
    for (int64_t i = 0; i < n; ++i) keys[i] = Key(x[i]);
  });
}

}  // namespace sluice
