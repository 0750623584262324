// The C++ type of each DType, and the reverse, by name: half and bfloat16, which are Eigen's, are declared only.
// Interfaces include this; code that touches elements of those two includes numeric_types.h.
#ifndef SLUICE_CORE_TYPES_CPP_TYPES_H_
#define SLUICE_CORE_TYPES_CPP_TYPES_H_

#include <complex>
#include <cstdint>
#include <string>

#include "core/types/dtype.h"

namespace Eigen {
struct half;
struct bfloat16;
}  // namespace Eigen

namespace sluice {

using half = Eigen::half;
using bfloat16 = Eigen::bfloat16;
using complex64 = std::complex<float>;
using complex128 = std::complex<double>;

template <typename Int>
struct QuantizedInt {
  Int value;
  friend bool operator==(QuantizedInt a, QuantizedInt b) { return a.value == b.value; }
};
struct qint8 : QuantizedInt<int8_t> {};
struct quint8 : QuantizedInt<uint8_t> {};
struct qint16 : QuantizedInt<int16_t> {};
struct quint16 : QuantizedInt<uint16_t> {};
struct qint32 : QuantizedInt<int32_t> {};

struct ResourceHandle;
class Variant;

template <typename T>
struct DTypeOfImpl;
template <DType kT>
struct CppTypeImpl;

#define SLUICE_DTYPE_PAIR_(cpp, enumerator)           \
  template <>                                         \
  struct DTypeOfImpl<cpp> {                           \
    static constexpr DType value = DType::enumerator; \
  };                                                  \
  template <>                                         \
  struct CppTypeImpl<DType::enumerator> {             \
    using type = cpp;                                 \
  };
SLUICE_DTYPE_PAIR_(float, kFloat)
SLUICE_DTYPE_PAIR_(double, kDouble)
SLUICE_DTYPE_PAIR_(int32_t, kInt32)
SLUICE_DTYPE_PAIR_(uint8_t, kUint8)
SLUICE_DTYPE_PAIR_(int16_t, kInt16)
SLUICE_DTYPE_PAIR_(int8_t, kInt8)
SLUICE_DTYPE_PAIR_(std::string, kString)
SLUICE_DTYPE_PAIR_(complex64, kComplex64)
SLUICE_DTYPE_PAIR_(int64_t, kInt64)
SLUICE_DTYPE_PAIR_(bool, kBool)
SLUICE_DTYPE_PAIR_(qint8, kQint8)
SLUICE_DTYPE_PAIR_(quint8, kQuint8)
SLUICE_DTYPE_PAIR_(qint32, kQint32)
SLUICE_DTYPE_PAIR_(bfloat16, kBfloat16)
SLUICE_DTYPE_PAIR_(qint16, kQint16)
SLUICE_DTYPE_PAIR_(quint16, kQuint16)
SLUICE_DTYPE_PAIR_(uint16_t, kUint16)
SLUICE_DTYPE_PAIR_(complex128, kComplex128)
SLUICE_DTYPE_PAIR_(half, kHalf)
SLUICE_DTYPE_PAIR_(ResourceHandle, kResource)
SLUICE_DTYPE_PAIR_(Variant, kVariant)
SLUICE_DTYPE_PAIR_(uint32_t, kUint32)
SLUICE_DTYPE_PAIR_(uint64_t, kUint64)
#undef SLUICE_DTYPE_PAIR_

template <typename T>
inline constexpr DType kDTypeOf = DTypeOfImpl<T>::value;
template <DType kT>
using CppType = typename CppTypeImpl<kT>::type;

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_CPP_TYPES_H_
