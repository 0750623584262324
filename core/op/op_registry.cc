#include "core/op/op_registry.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "core/op/attr_grammar.h"

namespace sluice {
namespace {

AttrDef* FindMutable(OpDef* op, absl::string_view name) {
  for (AttrDef& a : op->attrs) {
    if (a.name == name) return &a;
  }
  return nullptr;
}

// "T", "float", "N * T", "Ref(T)". Attributes may be declared later, so names are resolved in Finish.
ArgDef ParseArg(absl::string_view name, absl::string_view type, absl::string_view doc) {
  ArgDef arg;
  arg.name = std::string(name);
  arg.doc = std::string(doc);
  type = absl::StripAsciiWhitespace(type);
  if (absl::ConsumePrefix(&type, "Ref(")) {
    absl::ConsumeSuffix(&type, ")");
    arg.is_ref = true;
  }
  std::vector<absl::string_view> parts = absl::StrSplit(type, '*');
  if (parts.size() == 2) {
    arg.number_attr = std::string(absl::StripAsciiWhitespace(parts[0]));
    type = absl::StripAsciiWhitespace(parts[1]);
  }
  arg.type = DTypeFromName(type);
  if (arg.type == DType::kInvalid) arg.type_attr = std::string(type);
  return arg;
}

absl::Status ResolveArg(OpDef* op, ArgDef* arg) {
  if (!arg->type_attr.empty()) {
    const AttrDef* attr = op->FindAttr(arg->type_attr);
    if (attr == nullptr)
      return InvalidArgument("argument '", arg->name, "' names no type and no attribute: ", arg->type_attr);
    if (attr->type == "list(type)") {
      arg->type_list_attr = std::move(arg->type_attr);
      arg->type_attr.clear();
    } else if (attr->type != "type") {
      return InvalidArgument("argument '", arg->name, "' uses attribute '", attr->name, "' of type ", attr->type,
                             " as its type");
    }
  }
  if (!arg->number_attr.empty()) {
    AttrDef* attr = FindMutable(op, arg->number_attr);
    if (attr == nullptr) {
      attr = &op->attrs.emplace_back();
      attr->name = arg->number_attr;
      attr->type = "int";
    }
    if (attr->type != "int") return InvalidArgument("attribute '", attr->name, "' counts tensors and must be an int");
    if (!attr->has_minimum) {
      attr->has_minimum = true;
      attr->minimum = 1;
    }
  }
  if (!arg->type_list_attr.empty()) {
    AttrDef* attr = FindMutable(op, arg->type_list_attr);
    if (!attr->has_minimum) {
      attr->has_minimum = true;
      attr->minimum = 1;
    }
  }
  return absl::OkStatus();
}

int EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      int cost = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = row[j];
      row[j] = cost;
    }
  }
  return row[b.size()];
}

}  // namespace

OpBuilder& OpBuilder::Input(absl::string_view name, absl::string_view type, absl::string_view doc) {
  op_->inputs.push_back(ParseArg(name, type, doc));
  return *this;
}
OpBuilder& OpBuilder::Output(absl::string_view name, absl::string_view type, absl::string_view doc) {
  op_->outputs.push_back(ParseArg(name, type, doc));
  return *this;
}
OpBuilder& OpBuilder::Type(absl::string_view name, DTypeSet allowed, DType default_type) {
  AttrDef def;
  def.name = std::string(name);
  def.type = "type";
  if (!(allowed == kAllTypes)) def.allowed_types = allowed;
  if (default_type != DType::kInvalid) def.default_value = default_type;
  op_->attrs.push_back(std::move(def));
  return *this;
}
OpBuilder& OpBuilder::Attr(absl::string_view declaration, absl::string_view doc) {
  absl::StatusOr<AttrDef> def = ParseAttrDeclaration(declaration);
  if (!def.ok()) {
    errors_->push_back(absl::StrCat(op_->name, ": ", def.status().message()));
    return *this;
  }
  def->doc = std::string(doc);
  op_->attrs.push_back(*std::move(def));
  return *this;
}
OpBuilder& OpBuilder::Default(AttrValue value) {
  if (op_->attrs.empty() || op_->attrs.back().type != value.TypeName()) {
    errors_->push_back(
        absl::StrCat(op_->name, ": Default() of type ", value.TypeName(), " fits no attribute before it"));
    return *this;
  }
  op_->attrs.back().default_value = std::move(value);
  return *this;
}
OpBuilder& OpBuilder::Traits(uint32_t traits) {
  op_->traits |= traits;
  return *this;
}
OpBuilder& OpBuilder::Shape(ShapeRule rule) {
  op_->shape = std::move(rule);
  return *this;
}
OpBuilder& OpBuilder::Value(ValueRule rule) {
  op_->value = std::move(rule);
  return *this;
}
OpBuilder& OpBuilder::SetGradient(GradientRule rule) {
  op_->gradient = std::move(rule);
  return *this;
}
OpBuilder& OpBuilder::Deprecated(int since, absl::string_view why) {
  op_->deprecated_since = since;
  op_->deprecation = std::string(why);
  return *this;
}
OpBuilder& OpBuilder::Doc(absl::string_view description) {
  op_->description = std::string(description);
  return *this;
}

OpRegistry::OpRegistry() = default;

OpBuilder OpRegistry::Define(absl::string_view name, absl::string_view summary) {
  absl::MutexLock lock(&mu_);
  auto op = std::make_unique<OpDef>();
  op->name = std::string(name);
  op->summary = std::string(summary);
  OpDef* raw = op.get();
  auto [it, fresh] = ops_.try_emplace(std::string(name), nullptr);
  if (!fresh) {
    errors_.push_back(absl::StrCat("op ", name, " is defined twice"));
    static std::vector<std::unique_ptr<OpDef>>* discarded = new std::vector<std::unique_ptr<OpDef>>;
    discarded->push_back(std::move(op));  // the builder still writes to it
  } else {
    it->second = std::move(op);
  }
  return OpBuilder(raw, &errors_);
}

absl::Status OpRegistry::Finish() {
  absl::MutexLock lock(&mu_);
  for (auto& [name, op] : ops_) {
    for (auto* args : {&op->inputs, &op->outputs}) {
      for (ArgDef& arg : *args) {
        absl::Status s = ResolveArg(op.get(), &arg);
        if (!s.ok()) errors_.push_back(absl::StrCat(name, ": ", s.message()));
      }
    }
    if (!op->shape) errors_.push_back(absl::StrCat(name, ": a shape rule is missing"));
  }
  std::vector<std::string> errors;
  errors.swap(errors_);
  std::sort(errors.begin(), errors.end());
  if (errors.empty()) return absl::OkStatus();
  return Internal("op definitions are wrong:\n  ", absl::StrJoin(errors, "\n  "));
}

const OpDef* OpRegistry::Find(absl::string_view name) const {
  absl::MutexLock lock(&mu_);
  auto it = ops_.find(name);
  return it == ops_.end() ? nullptr : it->second.get();
}

absl::StatusOr<const OpDef*> OpRegistry::Get(absl::string_view name) const {
  if (const OpDef* op = Find(name)) return op;
  std::vector<std::pair<int, std::string>> near;
  for (const OpDef* op : List()) {
    int d = EditDistance(name, op->name);
    if (d <= 3 && d < static_cast<int>(name.size())) near.emplace_back(d, op->name);
  }
  std::sort(near.begin(), near.end());
  if (near.size() > 3) near.resize(3);
  std::string hint =
      near.empty() ? "" : absl::StrCat("; near: ", absl::StrJoin(near, ", ", [](std::string* out, const auto& p) {
                                         out->append(p.second);
                                       }));
  return NotFound("op '", name, "' is not known", hint);
}

std::vector<const OpDef*> OpRegistry::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<const OpDef*> ops;
  for (const auto& [name, op] : ops_) ops.push_back(op.get());
  std::sort(ops.begin(), ops.end(), [](const OpDef* a, const OpDef* b) { return a->name < b->name; });
  return ops;
}

}  // namespace sluice
