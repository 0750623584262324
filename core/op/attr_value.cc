#include "core/op/attr_value.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {
namespace {

template <typename T>
constexpr const char* kTypeName = "";
template <>
constexpr const char* kTypeName<std::string> = "string";
template <>
constexpr const char* kTypeName<int64_t> = "int";
template <>
constexpr const char* kTypeName<float> = "float";
template <>
constexpr const char* kTypeName<bool> = "bool";
template <>
constexpr const char* kTypeName<DType> = "type";
template <>
constexpr const char* kTypeName<PartialShape> = "shape";
template <>
constexpr const char* kTypeName<Tensor> = "tensor";
template <>
constexpr const char* kTypeName<FuncRef> = "func";
template <typename T>
constexpr const char* kTypeName<std::vector<T>> = "list";

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

template <typename T>
std::string Name() {
  if constexpr (IsVector<T>::value) {
    return absl::StrCat("list(", kTypeName<typename T::value_type>, ")");
  } else {
    return kTypeName<T>;
  }
}

std::string Show(const std::string& s) {
  std::string text = absl::StrCat("'", absl::CEscape(s.substr(0, 80)), s.size() > 80 ? "..." : "", "'");
  return text;
}
std::string Show(int64_t i) { return absl::StrCat(i); }
std::string Show(float f) { return absl::StrCat(f); }
std::string Show(bool b) { return b ? "true" : "false"; }
std::string Show(DType t) { return std::string(DTypeName(t)); }
std::string Show(const PartialShape& s) { return s.ToString(); }
std::string Show(const Tensor& t) { return t.ToString(); }
std::string Show(const FuncRef& f) { return f.name; }

bool Same(const Tensor& a, const Tensor& b) { return IdenticalTensors(a, b); }
bool Same(const FuncRef& a, const FuncRef& b) { return a.name == b.name && a.attrs == b.attrs; }
template <typename T>
bool Same(const T& a, const T& b) {
  return a == b;
}
template <typename T>
bool SameList(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Same(static_cast<T>(a[i]), static_cast<T>(b[i]))) return false;
  }
  return true;
}

auto Position(const std::vector<std::pair<std::string, AttrValue>>& values, absl::string_view name) {
  return std::lower_bound(values.begin(), values.end(), name,
                          [](const auto& entry, absl::string_view n) { return entry.first < n; });
}

}  // namespace

AttrMap::AttrMap(std::initializer_list<std::pair<std::string, AttrValue>> values) {
  for (const auto& [name, value] : values) Set(name, value);
}

void AttrMap::Set(absl::string_view name, AttrValue value) {
  auto it = Position(values_, name);
  if (it != values_.end() && it->first == name) {
    values_[it - values_.begin()].second = std::move(value);
  } else {
    values_.emplace(it, std::string(name), std::move(value));
  }
}

const AttrValue* AttrMap::Find(absl::string_view name) const {
  auto it = Position(values_, name);
  return it != values_.end() && it->first == name ? &it->second : nullptr;
}

bool AttrMap::Erase(absl::string_view name) {
  auto it = Position(values_, name);
  if (it == values_.end() || it->first != name) return false;
  values_.erase(it);
  return true;
}

bool operator==(const AttrMap& a, const AttrMap& b) { return a.values_ == b.values_; }

std::string AttrValue::TypeName() const {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return "";
        } else {
          return Name<T>();
        }
      },
      value_);
}

std::string AttrValue::ToString() const {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return "nothing";
        } else if constexpr (IsVector<T>::value) {
          std::string out = "[";
          for (size_t i = 0; i < v.size(); ++i) {
            absl::StrAppend(&out, i ? "," : "", Show(static_cast<typename T::value_type>(v[i])));
          }
          return out + "]";
        } else {
          return Show(v);
        }
      },
      value_);
}

bool operator==(const AttrValue& a, const AttrValue& b) {
  if (a.value_.index() != b.value_.index()) return false;
  return std::visit(
      [&b](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          return true;
        } else if constexpr (IsVector<T>::value) {
          return SameList(v, *b.As<T>());
        } else {
          return Same(v, *b.As<T>());
        }
      },
      a.value_);
}

template <typename T>
absl::StatusOr<T> GetAttr(const AttrMap& attrs, absl::string_view name) {
  const AttrValue* value = attrs.Find(name);
  if (value == nullptr) return InvalidArgument("attribute '", name, "' is missing");
  if (const T* t = value->As<T>()) return *t;
  if constexpr (IsVector<T>::value) {
    // An empty list carries no element type of its own.
    bool empty = std::visit(
        [](const auto& v) {
          if constexpr (IsVector<std::decay_t<decltype(v)>>::value) return v.empty();
          return false;
        },
        value->value());
    if (empty) return T();
  }
  return InvalidArgument("attribute '", name, "' is ", value->TypeName(), " ", value->ToString(), ", wanted ",
                         Name<T>());
}

template absl::StatusOr<std::string> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<int64_t> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<float> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<bool> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<DType> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<PartialShape> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<Tensor> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<FuncRef> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<std::string>> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<int64_t>> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<float>> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<bool>> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<DType>> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<PartialShape>> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<Tensor>> GetAttr(const AttrMap&, absl::string_view);
template absl::StatusOr<std::vector<FuncRef>> GetAttr(const AttrMap&, absl::string_view);

}  // namespace sluice
