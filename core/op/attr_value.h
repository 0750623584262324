// The values of attributes: what a node carries beside its inputs.
#ifndef SLUICE_CORE_OP_ATTR_VALUE_H_
#define SLUICE_CORE_OP_ATTR_VALUE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/types/dtype.h"
#include "core/types/shape.h"
#include "core/types/tensor.h"

namespace sluice {

class AttrValue;

// Kept sorted by name: nodes have few attributes, so a vector beats a map.
class AttrMap {
 public:
  AttrMap() = default;
  AttrMap(std::initializer_list<std::pair<std::string, AttrValue>> values);
  void Set(absl::string_view name, AttrValue value);
  const AttrValue* Find(absl::string_view name) const;
  bool Erase(absl::string_view name);
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  size_t size() const { return values_.size(); }
  friend bool operator==(const AttrMap& a, const AttrMap& b);

 private:
  std::vector<std::pair<std::string, AttrValue>> values_;
};

// A function by name, with the values of its own attributes.
struct FuncRef {
  std::string name;
  AttrMap attrs;
};

class AttrValue {
 public:
  using Value = std::variant<std::monostate, std::string, int64_t, float, bool, DType, PartialShape, Tensor, FuncRef,
                             std::vector<std::string>, std::vector<int64_t>, std::vector<float>, std::vector<bool>,
                             std::vector<DType>, std::vector<PartialShape>, std::vector<Tensor>, std::vector<FuncRef>>;

  AttrValue() = default;
  AttrValue(const char* s) : value_(std::string(s)) {}              // NOLINT: implicit on purpose, all of these
  AttrValue(absl::string_view s) : value_(std::string(s)) {}        // NOLINT
  AttrValue(std::string s) : value_(std::move(s)) {}                // NOLINT
  AttrValue(int i) : value_(static_cast<int64_t>(i)) {}             // NOLINT
  AttrValue(int64_t i) : value_(i) {}                               // NOLINT
  AttrValue(float f) : value_(f) {}                                 // NOLINT
  AttrValue(double f) : value_(static_cast<float>(f)) {}            // NOLINT
  AttrValue(bool b) : value_(b) {}                                  // NOLINT
  AttrValue(DType t) : value_(t) {}                                 // NOLINT
  AttrValue(PartialShape s) : value_(std::move(s)) {}               // NOLINT
  AttrValue(Shape s) : value_(PartialShape(s)) {}                   // NOLINT
  AttrValue(Tensor t) : value_(std::move(t)) {}                     // NOLINT
  AttrValue(FuncRef f) : value_(std::move(f)) {}                    // NOLINT
  AttrValue(std::vector<std::string> v) : value_(std::move(v)) {}   // NOLINT
  AttrValue(std::vector<int64_t> v) : value_(std::move(v)) {}       // NOLINT
  AttrValue(std::vector<float> v) : value_(std::move(v)) {}         // NOLINT
  AttrValue(std::vector<bool> v) : value_(std::move(v)) {}          // NOLINT
  AttrValue(std::vector<DType> v) : value_(std::move(v)) {}         // NOLINT
  AttrValue(std::vector<PartialShape> v) : value_(std::move(v)) {}  // NOLINT
  AttrValue(std::vector<Tensor> v) : value_(std::move(v)) {}        // NOLINT
  AttrValue(std::vector<FuncRef> v) : value_(std::move(v)) {}       // NOLINT

  bool has_value() const { return value_.index() != 0; }
  // Null when the attribute is of another type.
  template <typename T>
  const T* As() const {
    return std::get_if<T>(&value_);
  }
  const Value& value() const { return value_; }
  Value& value() { return value_; }

  // The type in the grammar of op definitions: "int", "list(type)", "func" ... "" when empty.
  std::string TypeName() const;
  // One line for messages and text forms: 3, "SAME", [1,2], float, [2,?], func ...
  std::string ToString() const;
  friend bool operator==(const AttrValue& a, const AttrValue& b);

 private:
  Value value_;
};

// The attribute `name` as a T, or an error that names both types.
template <typename T>
absl::StatusOr<T> GetAttr(const AttrMap& attrs, absl::string_view name);

}  // namespace sluice

#endif  // SLUICE_CORE_OP_ATTR_VALUE_H_
