#include <algorithm>

#include "core/base/status.h"
#include "core/graph/graph_def.h"
#include "core/proto/attr_value.pb.h"
#include "core/proto/op_def.pb.h"
#include "core/types/tensor_proto.h"

namespace sluice {
namespace {

constexpr int kMaxNesting = 32;  // of functions inside attributes

absl::StatusOr<AttrValue> FromProto(const proto::AttrValue& p, int depth);

absl::StatusOr<FuncRef> FuncFromProto(const proto::NameAttrList& p, int depth) {
  if (depth > kMaxNesting) return InvalidArgument("functions are nested deeper than ", kMaxNesting);
  FuncRef f;
  f.name = p.name();
  for (const auto& [name, value] : p.attr()) {
    ASSIGN_OR_RETURN(AttrValue v, FromProto(value, depth + 1));
    f.attrs.Set(name, std::move(v));
  }
  return f;
}

template <typename T, typename List, typename Convert>
absl::StatusOr<AttrValue> ListOf(const List& list, Convert convert) {
  std::vector<T> values;
  values.reserve(list.size());
  for (const auto& item : list) {
    ASSIGN_OR_RETURN(T v, convert(item));
    values.push_back(std::move(v));
  }
  return AttrValue(std::move(values));
}

template <typename T, typename List>
AttrValue PlainList(const List& list) {
  return AttrValue(std::vector<T>(list.begin(), list.end()));
}

absl::StatusOr<AttrValue> FromProto(const proto::AttrValue& p, int depth) {
  switch (p.value_case()) {
    case proto::AttrValue::kS:
      return AttrValue(p.s());
    case proto::AttrValue::kI:
      return AttrValue(static_cast<int64_t>(p.i()));
    case proto::AttrValue::kF:
      return AttrValue(p.f());
    case proto::AttrValue::kB:
      return AttrValue(p.b());
    case proto::AttrValue::kType: {
      ASSIGN_OR_RETURN(DType t, DTypeFromProto(p.type()));
      return AttrValue(t);
    }
    case proto::AttrValue::kShape: {
      ASSIGN_OR_RETURN(PartialShape s, ShapeFromProto(p.shape()));
      return AttrValue(std::move(s));
    }
    case proto::AttrValue::kTensor: {
      ASSIGN_OR_RETURN(Tensor t, TensorFromProto(p.tensor()));
      return AttrValue(std::move(t));
    }
    case proto::AttrValue::kFunc: {
      ASSIGN_OR_RETURN(FuncRef f, FuncFromProto(p.func(), depth));
      return AttrValue(std::move(f));
    }
    case proto::AttrValue::kPlaceholder:
      return InvalidArgument("the placeholder '", p.placeholder(), "' of a polymorphic function has no value here");
    case proto::AttrValue::VALUE_NOT_SET:
      return InvalidArgument("an attribute without value");
    case proto::AttrValue::kList:
      break;
  }
  const auto& l = p.list();
  if (l.s_size() > 0) return PlainList<std::string>(l.s());
  if (l.i_size() > 0) return PlainList<int64_t>(l.i());
  if (l.f_size() > 0) return PlainList<float>(l.f());
  if (l.b_size() > 0) return PlainList<bool>(l.b());
  if (l.type_size() > 0) return ListOf<DType>(l.type(), [](int t) { return DTypeFromProto(t); });
  if (l.shape_size() > 0) {
    return ListOf<PartialShape>(l.shape(), [](const proto::TensorShapeProto& s) { return ShapeFromProto(s); });
  }
  if (l.tensor_size() > 0)
    return ListOf<Tensor>(l.tensor(), [](const proto::TensorProto& t) { return TensorFromProto(t); });
  if (l.func_size() > 0) {
    return ListOf<FuncRef>(l.func(), [depth](const proto::NameAttrList& f) { return FuncFromProto(f, depth + 1); });
  }
  return AttrValue(std::vector<int64_t>());  // an empty list of any type
}

void FuncToProto(const FuncRef& f, proto::NameAttrList* p) {
  p->set_name(f.name);
  for (const auto& [name, value] : f.attrs) AttrToProto(value, &(*p->mutable_attr())[name]);
}

struct ToProto {
  proto::AttrValue* p;
  void operator()(std::monostate) const {}
  void operator()(const std::string& v) const { p->set_s(v); }
  void operator()(int64_t v) const { p->set_i(v); }
  void operator()(float v) const { p->set_f(v); }
  void operator()(bool v) const { p->set_b(v); }
  void operator()(DType v) const { p->set_type(static_cast<proto::DataType>(v)); }
  void operator()(const PartialShape& v) const { ShapeToProto(v, p->mutable_shape()); }
  void operator()(const Tensor& v) const { (void)TensorToProto(v, p->mutable_tensor()); }
  void operator()(const FuncRef& v) const { FuncToProto(v, p->mutable_func()); }
  template <typename T>
  void operator()(const std::vector<T>& values) const {
    proto::AttrValue::ListValue* l = p->mutable_list();
    for (const auto& item : values) {
      const T v = item;
      if constexpr (std::is_same_v<T, std::string>) l->add_s(v);
      if constexpr (std::is_same_v<T, int64_t>) l->add_i(v);
      if constexpr (std::is_same_v<T, float>) l->add_f(v);
      if constexpr (std::is_same_v<T, bool>) l->add_b(v);
      if constexpr (std::is_same_v<T, DType>) l->add_type(static_cast<proto::DataType>(v));
      if constexpr (std::is_same_v<T, PartialShape>) ShapeToProto(v, l->add_shape());
      if constexpr (std::is_same_v<T, Tensor>) (void)TensorToProto(v, l->add_tensor());
      if constexpr (std::is_same_v<T, FuncRef>) FuncToProto(v, l->add_func());
    }
  }
};

void ArgToProto(const ArgDef& arg, proto::OpDef::ArgDef* p) {
  p->set_name(arg.name);
  p->set_description(arg.doc);
  p->set_type(static_cast<proto::DataType>(arg.type));
  p->set_type_attr(arg.type_attr);
  p->set_number_attr(arg.number_attr);
  p->set_type_list_attr(arg.type_list_attr);
  p->set_is_ref(arg.is_ref);
}

}  // namespace

absl::StatusOr<AttrValue> AttrFromProto(const proto::AttrValue& p) { return FromProto(p, 0); }

void AttrToProto(const AttrValue& value, proto::AttrValue* p) { std::visit(ToProto{p}, value.value()); }

void OpDefToProto(const OpDef& op, proto::OpDef* p) {
  p->set_name(op.name);
  p->set_summary(op.summary);
  p->set_description(op.description);
  for (const ArgDef& arg : op.inputs) ArgToProto(arg, p->add_input_arg());
  for (const ArgDef& arg : op.outputs) ArgToProto(arg, p->add_output_arg());
  for (const AttrDef& attr : op.attrs) {
    proto::OpDef::AttrDef* a = p->add_attr();
    a->set_name(attr.name);
    a->set_type(attr.type);
    a->set_description(attr.doc);
    if (attr.default_value.has_value()) {
      AttrToProto(attr.default_value, a->mutable_default_value());
    }
    a->set_has_minimum(attr.has_minimum);
    a->set_minimum(attr.minimum);
    for (int i = 1; i < kNumDTypes && !attr.allowed_types.empty(); ++i) {
      if (attr.allowed_types.Has(static_cast<DType>(i))) {
        a->mutable_allowed_values()->mutable_list()->add_type(static_cast<proto::DataType>(i));
      }
    }
    for (const std::string& s : attr.allowed_strings) a->mutable_allowed_values()->mutable_list()->add_s(s);
  }
  p->set_is_commutative(op.Is(kCommutative));
  p->set_is_aggregate(op.Is(kAggregate));
  p->set_is_stateful(op.Is(kStateful));
  p->set_allows_uninitialized_input(op.Is(kAllowsUninitialized));
  if (op.deprecated_since > 0) {
    p->mutable_deprecation()->set_version(op.deprecated_since);
    p->mutable_deprecation()->set_explanation(op.deprecation);
  }
}

}  // namespace sluice
