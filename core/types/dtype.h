// The element types of tensors. Numbers and names are TensorFlow's DataType.
#ifndef SLUICE_CORE_TYPES_DTYPE_H_
#define SLUICE_CORE_TYPES_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

enum class DType : uint8_t {
  kInvalid = 0,
  kFloat = 1,
  kDouble = 2,
  kInt32 = 3,
  kUint8 = 4,
  kInt16 = 5,
  kInt8 = 6,
  kString = 7,
  kComplex64 = 8,
  kInt64 = 9,
  kBool = 10,
  kQint8 = 11,
  kQuint8 = 12,
  kQint32 = 13,
  kBfloat16 = 14,
  kQint16 = 15,
  kQuint16 = 16,
  kUint16 = 17,
  kComplex128 = 18,
  kHalf = 19,
  kResource = 20,
  kVariant = 21,
  kUint32 = 22,
  kUint64 = 23,
};
inline constexpr int kNumDTypes = 24;
// A reference type (the output of VariableV2) is its base type plus 100.
inline constexpr int kRefOffset = 100;

constexpr bool IsRefType(DType t) { return static_cast<int>(t) > kRefOffset; }
constexpr DType BaseType(DType t) { return IsRefType(t) ? static_cast<DType>(static_cast<int>(t) - kRefOffset) : t; }
constexpr DType RefType(DType t) { return IsRefType(t) ? t : static_cast<DType>(static_cast<int>(t) + kRefOffset); }

// Bytes of one element, as stored in memory (sizeof the C++ type; std::string for kString ...). 0 for kInvalid.
size_t ElementSize(DType t);
// "float32"-free spelling used in attributes and op definitions: "float", "int32", "half", "float_ref" ...
absl::string_view DTypeName(DType t);
// "DT_FLOAT" ...
std::string DTypeEnumName(DType t);
// Accepts both spellings, also "float32", "float64", "float16". kInvalid when unknown.
DType DTypeFromName(absl::string_view name);
bool IsValidDType(int number);  // also true for reference types

constexpr bool IsInteger(DType t) {
  return t == DType::kInt32 || t == DType::kUint8 || t == DType::kInt16 || t == DType::kInt8 || t == DType::kInt64 ||
         t == DType::kUint16 || t == DType::kUint32 || t == DType::kUint64;
}
constexpr bool IsUnsigned(DType t) {
  return t == DType::kUint8 || t == DType::kUint16 || t == DType::kUint32 || t == DType::kUint64;
}
constexpr bool IsFloating(DType t) {
  return t == DType::kFloat || t == DType::kDouble || t == DType::kHalf || t == DType::kBfloat16;
}
constexpr bool IsComplex(DType t) { return t == DType::kComplex64 || t == DType::kComplex128; }
// Elements are plain bytes: may be copied with memcpy, borrowed from NumPy, saved raw.
constexpr bool IsPlain(DType t) {
  return t != DType::kString && t != DType::kResource && t != DType::kVariant && t != DType::kInvalid && !IsRefType(t);
}

// A set of types, for the constraints of attributes and kernels.
class DTypeSet {
 public:
  constexpr DTypeSet() = default;
  constexpr DTypeSet(std::initializer_list<DType> types) {
    for (DType t : types) bits_ |= Bit(t);
  }
  constexpr bool Has(DType t) const { return (bits_ & Bit(t)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr DTypeSet operator|(DTypeSet o) const { return FromBits(bits_ | o.bits_); }
  constexpr DTypeSet operator&(DTypeSet o) const { return FromBits(bits_ & o.bits_); }
  constexpr DTypeSet operator-(DTypeSet o) const { return FromBits(bits_ & ~o.bits_); }
  constexpr bool operator==(DTypeSet o) const { return bits_ == o.bits_; }
  constexpr uint32_t bits() const { return bits_; }
  static constexpr DTypeSet FromBits(uint32_t bits) {
    DTypeSet s;
    s.bits_ = bits;
    return s;
  }

 private:
  static constexpr uint32_t Bit(DType t) { return 1u << static_cast<int>(BaseType(t)); }
  uint32_t bits_ = 0;
};

inline constexpr DTypeSet kFloatingTypes = {DType::kHalf, DType::kBfloat16, DType::kFloat, DType::kDouble};
inline constexpr DTypeSet kComplexTypes = {DType::kComplex64, DType::kComplex128};
inline constexpr DTypeSet kSignedTypes = {DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64};
inline constexpr DTypeSet kUnsignedTypes = {DType::kUint8, DType::kUint16, DType::kUint32, DType::kUint64};
inline constexpr DTypeSet kIntegerTypes = kSignedTypes | kUnsignedTypes;
inline constexpr DTypeSet kRealTypes = kFloatingTypes | kIntegerTypes;
inline constexpr DTypeSet kQuantizedTypes = {DType::kQint8, DType::kQuint8, DType::kQint16, DType::kQuint16,
                                             DType::kQint32};
inline constexpr DTypeSet kNumberTypes = kRealTypes | kComplexTypes | kQuantizedTypes;
inline constexpr DTypeSet kArithmeticTypes = kRealTypes | kComplexTypes;  // numbers without the quantized ones
inline constexpr DTypeSet kIndexTypes = {DType::kInt32, DType::kInt64};
inline constexpr DTypeSet kPlainTypes = kNumberTypes | DTypeSet{DType::kBool};
inline constexpr DTypeSet kAllTypes = kPlainTypes | DTypeSet{DType::kString, DType::kResource, DType::kVariant};

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_DTYPE_H_
