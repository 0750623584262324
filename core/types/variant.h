// What a DT_VARIANT element holds: any immutable value with a type name, shared between copies.
#ifndef SLUICE_CORE_TYPES_VARIANT_H_
#define SLUICE_CORE_TYPES_VARIANT_H_

#include <string>
#include <utility>

#include "core/base/ref_counted.h"

namespace sluice {

class VariantValue : public RefCounted {
 public:
  virtual std::string TypeName() const = 0;
};

class Variant {
 public:
  Variant() = default;
  explicit Variant(RefPtr<VariantValue> value) : value_(std::move(value)) {}
  const VariantValue* get() const { return value_.get(); }
  template <typename T>
  const T* As() const {
    return dynamic_cast<const T*>(value_.get());
  }

 private:
  RefPtr<VariantValue> value_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_VARIANT_H_
