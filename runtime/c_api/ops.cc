// The op registry and attribute values of the C boundary.
#include <map>

#include "core/graph/graph_def.h"
#include "core/proto/attr_value.pb.h"
#include "core/proto/op_def.pb.h"
#include "runtime/c_api/internal.h"

using sluice::AttrValue;
using sluice::DType;
using sluice::PartialShape;
using sluice::ToAttr;
using sluice::ToNode;
using sluice::ToOpDef;

namespace {

void FillArg(const sluice::ArgDef& arg, SL_ArgSpec* spec) {
  *spec = {arg.name.c_str(),        static_cast<int>(arg.type), arg.type_attr.c_str(),
           arg.number_attr.c_str(), arg.type_list_attr.c_str(), arg.is_ref,
           arg.doc.c_str()};
}

// Element i of a list, or the scalar itself; null when the attribute is neither.
template <typename T>
const T* At(const SL_Attr* attr, int i) {
  if (const T* scalar = ToAttr(attr)->As<T>()) return scalar;
  const auto* list = ToAttr(attr)->As<std::vector<T>>();
  return list != nullptr && i >= 0 && i < static_cast<int>(list->size()) ? &(*list)[i] : nullptr;
}

int KindOf(const std::string& type) {
  static const auto* kinds = new std::map<std::string, int>{
      {"string", SL_ATTR_STRING}, {"int", SL_ATTR_INT},     {"float", SL_ATTR_FLOAT},   {"bool", SL_ATTR_BOOL},
      {"type", SL_ATTR_TYPE},     {"shape", SL_ATTR_SHAPE}, {"tensor", SL_ATTR_TENSOR}, {"func", SL_ATTR_FUNC}};
  const bool list = type.compare(0, 5, "list(") == 0;
  auto found = kinds->find(list ? type.substr(5, type.size() - 6) : type);
  return found == kinds->end() ? SL_ATTR_NONE : found->second + (list ? SL_ATTR_LIST : 0);
}

std::string Lines(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& n : names) absl::StrAppend(&text, n, "\n");
  return text;
}

}  // namespace

const SL_OpDef* SL_FindOpDef(const char* op_type) {
  return sluice::FromOpDef(sluice::GetProcessEnvironment().ops.Find(op_type));
}
const SL_OpDef* SL_OperationOpDef(const SL_Operation* op) { return sluice::FromOpDef(&ToNode(op)->op()); }
const char* SL_OpDefName(const SL_OpDef* def) { return ToOpDef(def)->name.c_str(); }
const char* SL_OpDefSummary(const SL_OpDef* def) { return ToOpDef(def)->summary.c_str(); }
const char* SL_OpDefDescription(const SL_OpDef* def) { return ToOpDef(def)->description.c_str(); }
int SL_OpDefIsStateful(const SL_OpDef* def) { return ToOpDef(def)->Is(sluice::kStateful); }
int SL_OpDefNumInputs(const SL_OpDef* def) { return static_cast<int>(ToOpDef(def)->inputs.size()); }
void SL_OpDefInput(const SL_OpDef* def, int i, SL_ArgSpec* spec) { FillArg(ToOpDef(def)->inputs[i], spec); }
int SL_OpDefNumOutputs(const SL_OpDef* def) { return static_cast<int>(ToOpDef(def)->outputs.size()); }
void SL_OpDefOutput(const SL_OpDef* def, int i, SL_ArgSpec* spec) { FillArg(ToOpDef(def)->outputs[i], spec); }
int SL_OpDefNumAttrs(const SL_OpDef* def) { return static_cast<int>(ToOpDef(def)->attrs.size()); }
void SL_OpDefAttr(const SL_OpDef* def, int i, SL_AttrSpec* spec) {
  const sluice::AttrDef& attr = ToOpDef(def)->attrs[i];
  *spec = {attr.name.c_str(), attr.type.c_str(),
           attr.default_value.has_value() ? sluice::FromAttr(&attr.default_value) : nullptr, attr.allowed_types.bits(),
           attr.doc.c_str()};
}
int SL_OpDefAttrKind(const SL_OpDef* def, const char* name) {
  const sluice::AttrDef* attr = ToOpDef(def)->FindAttr(name);
  return attr == nullptr ? SL_ATTR_NONE : KindOf(attr->type);
}

SL_Buffer* SL_ListOpNames(void) {
  std::vector<std::string> names;
  for (const sluice::OpDef* op : sluice::GetProcessEnvironment().ops.List()) names.push_back(op->name);
  return sluice::NewBuffer(Lines(names));
}

SL_Buffer* SL_ListPasses(void) {
  const sluice::ProcessEnvironment& all = sluice::GetProcessEnvironment();
  std::vector<std::string> names;
  for (const auto* passes : {&all.passes, &all.device_passes}) {
    for (const auto& pass : *passes) names.push_back(pass->name());
  }
  return sluice::NewBuffer(Lines(names));
}

SL_Buffer* SL_ListOps(void) {
  sluice::proto::OpList list;
  for (const sluice::OpDef* op : sluice::GetProcessEnvironment().ops.List()) sluice::OpDefToProto(*op, list.add_op());
  return sluice::NewBuffer(list.SerializeAsString());
}

SL_Buffer* SL_OpDefProto(const SL_OpDef* def) {
  sluice::proto::OpDef proto;
  sluice::OpDefToProto(*ToOpDef(def), &proto);
  return sluice::NewBuffer(proto.SerializeAsString());
}

SL_Buffer* SL_KernelDevices(const char* op_type) {
  std::vector<std::string> devices;
  for (const auto& kernel : sluice::GetProcessEnvironment().kernels.List()) {
    if (kernel.first == op_type) devices.push_back(kernel.second);
  }
  return sluice::NewBuffer(Lines(devices));
}

int SL_AttrKind(const SL_Attr* attr) { return KindOf(ToAttr(attr)->TypeName()); }

int SL_AttrLength(const SL_Attr* attr) {
  const AttrValue& a = *ToAttr(attr);
  auto size = [&a](auto* tag) -> int {
    using List = std::remove_pointer_t<decltype(tag)>;
    const List* list = a.As<List>();
    return list == nullptr ? -1 : static_cast<int>(list->size());
  };
  int n = 1;
  for (int k :
       {size(static_cast<std::vector<std::string>*>(nullptr)), size(static_cast<std::vector<int64_t>*>(nullptr)),
        size(static_cast<std::vector<float>*>(nullptr)), size(static_cast<std::vector<bool>*>(nullptr)),
        size(static_cast<std::vector<DType>*>(nullptr)), size(static_cast<std::vector<PartialShape>*>(nullptr)),
        size(static_cast<std::vector<sluice::Tensor>*>(nullptr)),
        size(static_cast<std::vector<sluice::FuncRef>*>(nullptr))}) {
    if (k >= 0) n = k;
  }
  return n;
}

const char* SL_AttrString(const SL_Attr* attr, int i, size_t* size) {
  const std::string* s = At<std::string>(attr, i);
  *size = s == nullptr ? 0 : s->size();
  return s == nullptr ? "" : s->c_str();
}

int64_t SL_AttrInt(const SL_Attr* attr, int i) {
  if (const int64_t* v = At<int64_t>(attr, i)) return *v;
  if (const DType* t = At<DType>(attr, i)) return static_cast<int64_t>(*t);
  if (const bool* b = ToAttr(attr)->As<bool>()) return *b;
  if (const auto* list = ToAttr(attr)->As<std::vector<bool>>()) return i < static_cast<int>(list->size()) && (*list)[i];
  return 0;
}

double SL_AttrFloat(const SL_Attr* attr, int i) {
  const float* f = At<float>(attr, i);
  return f == nullptr ? 0 : *f;
}

int SL_AttrShape(const SL_Attr* attr, int i, int64_t* dims) {
  const PartialShape* s = At<PartialShape>(attr, i);
  if (s == nullptr || !s->known_rank()) return -1;
  if (dims != nullptr) std::copy(s->dims().begin(), s->dims().end(), dims);
  return s->rank();
}

SL_Tensor* SL_AttrTensor(const SL_Attr* attr, int i) {
  const sluice::Tensor* t = At<sluice::Tensor>(attr, i);
  return t == nullptr ? nullptr : new SL_Tensor{*t};
}

const char* SL_AttrFunc(const SL_Attr* attr, int i) {
  const sluice::FuncRef* f = At<sluice::FuncRef>(attr, i);
  return f == nullptr ? "" : f->name.c_str();
}

SL_Buffer* SL_AttrProto(const SL_Attr* attr) {
  sluice::proto::AttrValue proto;
  sluice::AttrToProto(*ToAttr(attr), &proto);
  return sluice::NewBuffer(proto.SerializeAsString());
}
