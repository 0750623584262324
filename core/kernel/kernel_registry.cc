#include "core/kernel/kernel_registry.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {
namespace {

bool Allows(const AttrValue* value, DTypeSet set) {
  if (value == nullptr) return false;
  if (const DType* t = value->As<DType>()) return set.Has(*t);
  if (const auto* list = value->As<std::vector<DType>>()) {
    return std::all_of(list->begin(), list->end(), [&](DType t) { return set.Has(t); });
  }
  return false;
}

absl::string_view LabelOf(const NodeInfo& node) {
  const AttrValue* v = node.attrs.Find("_kernel");
  const std::string* s = v == nullptr ? nullptr : v->As<std::string>();
  return s == nullptr ? absl::string_view() : absl::string_view(*s);
}

bool Fits(const KernelDef& def, const NodeInfo& node) {
  if (def.label != LabelOf(node)) return false;
  for (const auto& [attr, set] : def.types) {
    if (!Allows(node.attrs.Find(attr), set)) return false;
  }
  return true;
}

// Some node could fit both.
bool Overlap(const KernelDef& a, const KernelDef& b) {
  if (a.label != b.label) return false;
  for (const auto& [attr, set] : a.types) {
    for (const auto& [other_attr, other] : b.types) {
      if (attr == other_attr && (set & other).empty()) return false;
    }
  }
  return true;
}

std::string TypesToString(DTypeSet set) {
  std::vector<absl::string_view> names;
  for (int i = 1; i < kNumDTypes; ++i) {
    if (set.Has(static_cast<DType>(i))) names.push_back(DTypeName(static_cast<DType>(i)));
  }
  return absl::StrJoin(names, ", ");
}

std::string DefToString(const KernelDef& def) {
  std::vector<std::string> parts;
  for (const auto& [attr, set] : def.types) parts.push_back(absl::StrCat(attr, " in {", TypesToString(set), "}"));
  if (!def.label.empty()) parts.push_back(absl::StrCat("_kernel='", def.label, "'"));
  return parts.empty() ? "any types" : absl::StrJoin(parts, "; ");
}

}  // namespace

void KernelRegistry::Add(absl::string_view op, absl::string_view device_type, KernelDef def) {
  auto& defs = kernels_[{std::string(op), std::string(device_type)}];
  if (!def.factory) errors_.push_back(absl::StrCat("the kernel of ", op, " on ", device_type, " has no factory"));
  for (const KernelDef& other : defs) {
    if (other.priority == def.priority && Overlap(other, def)) {
      errors_.push_back(absl::StrCat("two kernels of ", op, " on ", device_type, " with priority ", def.priority, ": ",
                                     DefToString(other), " and ", DefToString(def)));
    }
  }
  defs.push_back(std::move(def));
}

absl::Status KernelRegistry::Finish() const {
  if (errors_.empty()) return absl::OkStatus();
  size_t shown = std::min<size_t>(errors_.size(), 10);
  return Internal(errors_.size(), " mistakes in kernels:\n",
                  absl::StrJoin(errors_.begin(), errors_.begin() + shown, "\n"));
}

const KernelDef* KernelRegistry::Find(const NodeInfo& node, absl::string_view device_type) const {
  auto it = kernels_.find(std::make_pair(node.op->name, std::string(device_type)));
  if (it == kernels_.end()) return nullptr;
  const KernelDef* best = nullptr;
  for (const KernelDef& def : it->second) {
    if ((best == nullptr || def.priority > best->priority) && Fits(def, node)) best = &def;
  }
  return best;
}

absl::StatusOr<const KernelDef*> KernelRegistry::Get(const NodeInfo& node, absl::string_view device_type) const {
  if (const KernelDef* def = Find(node, device_type)) return def;
  std::vector<std::string> found, have;
  for (const AttrDef& attr : node.op->attrs) {
    const AttrValue* v = node.attrs.Find(attr.name);
    if (v != nullptr && (attr.type == "type" || attr.type == "list(type)")) {
      found.push_back(absl::StrCat(attr.name, "=", v->ToString()));
    }
  }
  for (const auto& [key, defs] : kernels_) {
    if (key.first != node.op->name) continue;
    for (const KernelDef& def : defs) have.push_back(absl::StrCat(key.second, ": ", DefToString(def)));
  }
  std::sort(have.begin(), have.end());
  return NotFound(node.Describe(), ": no kernel on ", device_type,
                  found.empty() ? "" : absl::StrCat(" for ", absl::StrJoin(found, ", ")), "; ",
                  have.empty() ? absl::StrCat("none is registered for ", node.op->name, " on any device")
                               : absl::StrCat("registered are ", absl::StrJoin(have, " | ")));
}

absl::StatusOr<std::unique_ptr<Kernel>> KernelRegistry::MakeKernel(const NodeInfo& node,
                                                                   absl::string_view device_type) const {
  ASSIGN_OR_RETURN(const KernelDef* def, Get(node, device_type));
  return def->factory(node);
}

std::vector<std::pair<std::string, std::string>> KernelRegistry::List() const {
  std::vector<std::pair<std::string, std::string>> keys;
  for (const auto& entry : kernels_) keys.push_back(entry.first);
  std::sort(keys.begin(), keys.end());
  return keys;
}

DTypeSet KernelRegistry::TypesOf(absl::string_view op, absl::string_view device_type, absl::string_view attr) const {
  DTypeSet all;
  auto it = kernels_.find(std::make_pair(std::string(op), std::string(device_type)));
  if (it == kernels_.end()) return all;
  for (const KernelDef& def : it->second) {
    bool constrained = false;
    for (const auto& [name, set] : def.types) {
      if (name != attr) continue;
      constrained = true;
      all = all | set;
    }
    if (!constrained) return kAllTypes;
  }
  return all;
}

}  // namespace sluice
