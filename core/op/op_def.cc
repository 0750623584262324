#include "core/op/op_def.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {
namespace {

template <typename T>
int IndexOf(const std::vector<T>& args, absl::string_view name) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

std::string TypeNames(DTypeSet set) {
  std::vector<absl::string_view> names;
  for (int i = 1; i < kNumDTypes; ++i) {
    if (set.Has(static_cast<DType>(i))) names.push_back(DTypeName(static_cast<DType>(i)));
  }
  return absl::StrJoin(names, ", ");
}

absl::Status CheckType(const AttrDef& def, DType t) {
  if (BaseType(t) == DType::kInvalid || !IsValidDType(static_cast<int>(t))) {
    return InvalidArgument("attribute '", def.name, "' is no valid type (", static_cast<int>(t), ")");
  }
  if (def.allowed_types.empty() || def.allowed_types.Has(t)) return absl::OkStatus();
  return InvalidArgument("type ", DTypeName(t), " of attribute '", def.name,
                         "' is not allowed; allowed: ", TypeNames(def.allowed_types));
}

absl::Status CheckString(const AttrDef& def, const std::string& s) {
  if (def.allowed_strings.empty()) return absl::OkStatus();
  if (std::find(def.allowed_strings.begin(), def.allowed_strings.end(), s) != def.allowed_strings.end()) {
    return absl::OkStatus();
  }
  return InvalidArgument("'", s, "' of attribute '", def.name,
                         "' is not allowed; allowed: ", absl::StrJoin(def.allowed_strings, ", "));
}

// The length of a list attribute, or -1.
int64_t ListLength(const AttrValue& value) {
  return std::visit(
      [](const auto& v) -> int64_t {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, std::monostate> || std::is_same_v<T, std::string>) {
          return -1;
        } else if constexpr (std::is_class_v<T> && !std::is_same_v<T, PartialShape> && !std::is_same_v<T, Tensor> &&
                             !std::is_same_v<T, FuncRef>) {
          return static_cast<int64_t>(v.size());
        }
        return -1;
      },
      value.value());
}

absl::Status CheckAttr(const AttrDef& def, const AttrValue& value) {
  bool empty_list = absl::StartsWith(def.type, "list(") && ListLength(value) == 0;
  if (value.TypeName() != def.type && !empty_list) {
    return InvalidArgument("attribute '", def.name, "' is ", value.TypeName(), " ", value.ToString(), ", wanted ",
                           def.type);
  }
  if (const DType* t = value.As<DType>()) RETURN_IF_ERROR(CheckType(def, *t));
  if (const auto* list = value.As<std::vector<DType>>()) {
    for (DType t : *list) RETURN_IF_ERROR(CheckType(def, t));
  }
  if (const std::string* s = value.As<std::string>()) RETURN_IF_ERROR(CheckString(def, *s));
  if (const auto* list = value.As<std::vector<std::string>>()) {
    for (const std::string& s : *list) RETURN_IF_ERROR(CheckString(def, s));
  }
  if (def.has_minimum) {
    const int64_t* i = value.As<int64_t>();
    int64_t n = i ? *i : ListLength(value);
    if (n < def.minimum) {
      return InvalidArgument("attribute '", def.name, "' ", i ? "is " : "has length ", n, ", the least is ",
                             def.minimum);
    }
  }
  return absl::OkStatus();
}

}  // namespace

const AttrDef* OpDef::FindAttr(absl::string_view attr_name) const {
  int i = IndexOf(attrs, attr_name);
  return i < 0 ? nullptr : &attrs[i];
}
int OpDef::FindInput(absl::string_view arg_name) const { return IndexOf(inputs, arg_name); }
int OpDef::FindOutput(absl::string_view arg_name) const { return IndexOf(outputs, arg_name); }

absl::StatusOr<int> ArgLength(const ArgDef& arg, const AttrMap& attrs) {
  constexpr int64_t kMost = 1 << 20;
  int64_t n = 1;
  if (!arg.number_attr.empty()) {
    ASSIGN_OR_RETURN(n, GetAttr<int64_t>(attrs, arg.number_attr));
  } else if (!arg.type_list_attr.empty()) {
    ASSIGN_OR_RETURN(std::vector<DType> types, GetAttr<std::vector<DType>>(attrs, arg.type_list_attr));
    n = static_cast<int64_t>(types.size());
  }
  if (n < 0 || n > kMost)
    return InvalidArgument("argument '", arg.name, "' stands for ", n, " tensors, the limit is ", kMost);
  return static_cast<int>(n);
}

absl::StatusOr<std::vector<DType>> ArgTypes(const std::vector<ArgDef>& args, const AttrMap& attrs) {
  std::vector<DType> types;
  for (const ArgDef& arg : args) {
    if (!arg.type_list_attr.empty()) {
      ASSIGN_OR_RETURN(std::vector<DType> list, GetAttr<std::vector<DType>>(attrs, arg.type_list_attr));
      types.insert(types.end(), list.begin(), list.end());
      continue;
    }
    DType t = arg.type;
    if (!arg.type_attr.empty()) {
      ASSIGN_OR_RETURN(t, GetAttr<DType>(attrs, arg.type_attr));
    }
    ASSIGN_OR_RETURN(int n, ArgLength(arg, attrs));
    types.insert(types.end(), n, arg.is_ref ? RefType(t) : t);
  }
  return types;
}

absl::StatusOr<ArgRange> FindArgRange(const std::vector<ArgDef>& args, const AttrMap& attrs, absl::string_view name) {
  int begin = 0;
  for (const ArgDef& arg : args) {
    ASSIGN_OR_RETURN(int n, ArgLength(arg, attrs));
    if (arg.name == name) return ArgRange{begin, begin + n};
    begin += n;
  }
  return InvalidArgument("there is no argument '", name, "'");
}

absl::Status CheckAttrs(const OpDef& op, AttrMap* attrs) {
  for (const auto& [name, value] : *attrs) {
    if (!name.empty() && name[0] == '_') continue;
    const AttrDef* def = op.FindAttr(name);
    if (def == nullptr) {
      return InvalidArgument("op ", op.name, " has no attribute '", name,
                             "'; it has: ", absl::StrJoin(op.attrs, ", ", [](std::string* out, const AttrDef& a) {
                               out->append(a.name);
                             }));
    }
    RETURN_IF_ERROR(CheckAttr(*def, value));
  }
  for (const AttrDef& def : op.attrs) {
    if (attrs->Find(def.name) != nullptr) continue;
    if (!def.default_value.has_value()) {
      return InvalidArgument("attribute '", def.name, "' (", def.type, ") is missing and has no default");
    }
    attrs->Set(def.name, def.default_value);
  }
  return absl::OkStatus();
}

}  // namespace sluice
