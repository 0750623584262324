// Graphs and operations of the C boundary.
#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "core/graph/graph_def.h"
#include "core/proto/attr_value.pb.h"
#include "core/proto/graph.pb.h"
#include "core/proto/node_def.pb.h"
#include "runtime/c_api/internal.h"

using sluice::AttrValue;
using sluice::DType;
using sluice::FromNode;
using sluice::Node;
using sluice::PartialShape;
using sluice::ToEndpoint;
using sluice::ToNode;

namespace sluice {

std::string EndpointName(const SL_Output& output) { return absl::StrCat(ToNode(output.op)->name(), ":", output.index); }

namespace {

PartialShape MakePartial(const int64_t* dims, int rank) {
  return rank < 0 ? PartialShape() : PartialShape(absl::MakeConstSpan(dims, rank));
}

absl::StatusOr<AttrValue> ParseAttr(const void* data, size_t size) {
  proto::AttrValue proto;
  if (!proto.ParseFromArray(data, static_cast<int>(size)))
    return InvalidArgument("an attribute is not a serialised AttrValue");
  return AttrFromProto(proto);
}

template <typename T, typename U>
void SetList(SL_OpBuilder* b, const char* name, const U* values, int count) {
  std::vector<T> list;
  list.reserve(count);
  for (int i = 0; i < count; ++i) list.push_back(static_cast<T>(values[i]));
  b->spec.attrs.Set(name, AttrValue(std::move(list)));
}

absl::Status CheckOutput(SL_Output o) {
  if (o.op == nullptr) return InvalidArgument("an input is missing");
  const Node* node = ToNode(o.op);
  if (o.index < 0 || o.index >= node->num_outputs()) {
    return OutOfRange(node->info().Describe(), " has ", node->num_outputs(), " outputs, asked for number ", o.index);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace sluice

SL_Graph* SL_NewGraph(void) { return new SL_Graph; }
void SL_DeleteGraph(SL_Graph* graph) { delete graph; }
int SL_GraphNumIds(const SL_Graph* graph) {
  absl::MutexLock lock(&graph->graph->mu());
  return graph->graph->num_node_ids();
}
SL_Operation* SL_GraphFind(const SL_Graph* graph, const char* name) {
  absl::MutexLock lock(&graph->graph->mu());
  return FromNode(graph->graph->Find(name));
}
SL_Operation* SL_GraphFindById(const SL_Graph* graph, int id) {
  absl::MutexLock lock(&graph->graph->mu());
  return id < 0 || id >= graph->graph->num_node_ids() ? nullptr : FromNode(graph->graph->FindById(id));
}
int SL_GraphProducer(const SL_Graph* graph) { return graph->graph->producer; }

SL_OpBuilder* SL_NewOp(SL_Graph* graph, const char* op_type, const char* name) {
  auto* b = new SL_OpBuilder;
  b->graph = graph->graph;
  b->spec.op = op_type;
  b->spec.name = name;
  return b;
}
void SL_AddInput(SL_OpBuilder* b, SL_Output input) {
  absl::Status s = sluice::CheckOutput(input);
  if (!s.ok() && b->status.ok()) b->status = std::move(s);
  b->spec.inputs.push_back(ToEndpoint(input));
}
void SL_AddControlInput(SL_OpBuilder* b, SL_Operation* op) { b->spec.control_inputs.push_back(ToNode(op)); }
void SL_SetDevice(SL_OpBuilder* b, const char* device) { b->spec.device = device; }
void SL_SetSource(SL_OpBuilder* b, const char* file, int line) {
  b->file = file;
  b->spec.source.line = line;
}
void SL_SetAttrString(SL_OpBuilder* b, const char* name, const char* value, size_t size) {
  b->spec.attrs.Set(name, AttrValue(std::string(value, size)));
}
void SL_SetAttrInt(SL_OpBuilder* b, const char* name, int64_t value) { b->spec.attrs.Set(name, AttrValue(value)); }
void SL_SetAttrFloat(SL_OpBuilder* b, const char* name, double value) { b->spec.attrs.Set(name, AttrValue(value)); }
void SL_SetAttrBool(SL_OpBuilder* b, const char* name, int value) { b->spec.attrs.Set(name, AttrValue(value != 0)); }
void SL_SetAttrType(SL_OpBuilder* b, const char* name, int value) {
  b->spec.attrs.Set(name, AttrValue(static_cast<DType>(value)));
}
void SL_SetAttrShape(SL_OpBuilder* b, const char* name, const int64_t* dims, int rank) {
  b->spec.attrs.Set(name, AttrValue(sluice::MakePartial(dims, rank)));
}
void SL_SetAttrTensor(SL_OpBuilder* b, const char* name, const SL_Tensor* value) {
  b->spec.attrs.Set(name, AttrValue(value->tensor));
}
void SL_SetAttrFunc(SL_OpBuilder* b, const char* name, const char* function) {
  b->spec.attrs.Set(name, AttrValue(sluice::FuncRef{function, {}}));
}
void SL_SetAttrStringList(SL_OpBuilder* b, const char* name, const char* const* values, const size_t* sizes,
                          int count) {
  std::vector<std::string> list;
  for (int i = 0; i < count; ++i) list.emplace_back(values[i], sizes[i]);
  b->spec.attrs.Set(name, AttrValue(std::move(list)));
}
void SL_SetAttrIntList(SL_OpBuilder* b, const char* name, const int64_t* values, int count) {
  sluice::SetList<int64_t>(b, name, values, count);
}
void SL_SetAttrFloatList(SL_OpBuilder* b, const char* name, const double* values, int count) {
  sluice::SetList<float>(b, name, values, count);
}
void SL_SetAttrBoolList(SL_OpBuilder* b, const char* name, const int* values, int count) {
  sluice::SetList<bool>(b, name, values, count);
}
void SL_SetAttrTypeList(SL_OpBuilder* b, const char* name, const int* values, int count) {
  sluice::SetList<DType>(b, name, values, count);
}
void SL_SetAttrShapeList(SL_OpBuilder* b, const char* name, const int64_t* const* dims, const int* ranks, int count) {
  std::vector<PartialShape> list;
  for (int i = 0; i < count; ++i) list.push_back(sluice::MakePartial(dims[i], ranks[i]));
  b->spec.attrs.Set(name, AttrValue(std::move(list)));
}
void SL_SetAttrTensorList(SL_OpBuilder* b, const char* name, SL_Tensor* const* values, int count) {
  std::vector<sluice::Tensor> list;
  for (int i = 0; i < count; ++i) list.push_back(values[i]->tensor);
  b->spec.attrs.Set(name, AttrValue(std::move(list)));
}
void SL_SetAttrFuncList(SL_OpBuilder* b, const char* name, const char* const* functions, int count) {
  std::vector<sluice::FuncRef> list;
  for (int i = 0; i < count; ++i) list.push_back({functions[i], {}});
  b->spec.attrs.Set(name, AttrValue(std::move(list)));
}
void SL_SetAttrProto(SL_OpBuilder* b, const char* name, const void* data, size_t size) {
  auto value = sluice::ParseAttr(data, size);
  if (value.ok()) {
    b->spec.attrs.Set(name, *std::move(value));
  } else if (b->status.ok()) {
    b->status = sluice::Annotate(value.status(), absl::StrCat("attribute '", name, "': "));
  }
}

SL_Operation* SL_FinishOp(SL_OpBuilder* b, SL_Status* status) {
  std::unique_ptr<SL_OpBuilder> owned(b);
  if (!b->status.ok()) {
    status->Set(b->status);
    return nullptr;
  }
  absl::MutexLock lock(&b->graph->mu());
  if (!b->file.empty()) b->spec.source.file = b->graph->Intern(b->file);
  auto node = b->graph->AddNode(std::move(b->spec));
  if (!node.ok()) {
    status->Set(node.status());
    return nullptr;
  }
  status->code = 0;
  return FromNode(*node);
}

void SL_DropOp(SL_OpBuilder* b) { delete b; }

int SL_OperationId(const SL_Operation* op) { return ToNode(op)->id(); }
const char* SL_OperationName(const SL_Operation* op) { return ToNode(op)->name().c_str(); }
const char* SL_OperationType(const SL_Operation* op) { return ToNode(op)->op().name.c_str(); }
const char* SL_OperationDevice(const SL_Operation* op) { return ToNode(op)->info().device.c_str(); }
const char* SL_OperationSource(const SL_Operation* op, int* line) {
  const sluice::SourceLine& source = ToNode(op)->info().source;
  *line = source.line;
  return source.file == nullptr ? "" : source.file->c_str();
}
int SL_OperationNumInputs(const SL_Operation* op) { return ToNode(op)->num_inputs(); }
SL_Output SL_OperationInput(const SL_Operation* op, int i) { return sluice::FromEndpoint(ToNode(op)->input(i)); }
int SL_OperationNumControlInputs(const SL_Operation* op) {
  return static_cast<int>(ToNode(op)->control_inputs().size());
}
SL_Operation* SL_OperationControlInput(const SL_Operation* op, int i) {
  return FromNode(ToNode(op)->control_inputs()[i]);
}
int SL_OperationNumControlOutputs(const SL_Operation* op) {
  return static_cast<int>(ToNode(op)->control_outputs().size());
}
SL_Operation* SL_OperationControlOutput(const SL_Operation* op, int i) {
  return FromNode(ToNode(op)->control_outputs()[i]);
}
int SL_OperationNumOutputs(const SL_Operation* op) { return ToNode(op)->num_outputs(); }
int SL_OperationOutputType(const SL_Operation* op, int i) { return static_cast<int>(ToNode(op)->output_type(i)); }

int SL_OperationConsumers(const SL_Graph* graph, SL_Output output, SL_Operation** consumers, int* inputs, int max) {
  absl::MutexLock lock(&graph->graph->mu());
  int n = 0;
  for (const sluice::OutEdge& edge : ToNode(output.op)->out_edges()) {
    if (edge.output != output.index) continue;
    if (n < max) {
      consumers[n] = FromNode(edge.to);
      inputs[n] = edge.input;
    }
    ++n;
  }
  return n;
}

const SL_Attr* SL_OperationAttr(const SL_Operation* op, const char* name) {
  return sluice::FromAttr(ToNode(op)->attrs().Find(name));
}

int SL_OutputShape(const SL_Graph* graph, SL_Output output, int64_t* dims, int max) {
  absl::MutexLock lock(&graph->graph->mu());
  const PartialShape& shape = ToNode(output.op)->output_shape(output.index);
  if (!shape.known_rank()) return -1;
  for (int i = 0; i < std::min(shape.rank(), max); ++i) dims[i] = shape.dim(i);
  return shape.rank();
}

void SL_RefineShape(SL_Graph* graph, SL_Output output, const int64_t* dims, int rank, SL_Status* status) {
  absl::MutexLock lock(&graph->graph->mu());
  status->Set(graph->graph->RefineShape(ToEndpoint(output), sluice::MakePartial(dims, rank)));
}

int SL_OutputValue(const SL_Graph* graph, SL_Output output, int64_t* values, int max) {
  absl::MutexLock lock(&graph->graph->mu());
  const sluice::PartialValue* value = ToNode(output.op)->output_value(output.index);
  if (value == nullptr) return -1;
  for (int i = 0; i < std::min<int>(value->elements.size(), max); ++i) values[i] = value->elements[i];
  return static_cast<int>(value->elements.size());
}

void SL_GraphSetDevice(SL_Graph* graph, SL_Operation* op, const char* device) {
  absl::MutexLock lock(&graph->graph->mu());
  graph->graph->SetDevice(ToNode(op), device);
}

void SL_GraphSetAttrProto(SL_Graph* graph, SL_Operation* op, const char* name, const void* data, size_t size,
                          SL_Status* status) {
  auto value = sluice::ParseAttr(data, size);
  status->Set(value.status());
  if (!value.ok()) return;
  absl::MutexLock lock(&graph->graph->mu());
  graph->graph->SetAttr(ToNode(op), name, *std::move(value));
}

void SL_GraphAddControlInput(SL_Graph* graph, SL_Operation* op, SL_Operation* input, SL_Status* status) {
  absl::MutexLock lock(&graph->graph->mu());
  status->Set(graph->graph->AddControlEdge(ToNode(input), ToNode(op)));
}

void SL_GraphUpdateInput(SL_Graph* graph, SL_Operation* op, int i, SL_Output input, SL_Status* status) {
  absl::Status s = sluice::CheckOutput(input);
  if (s.ok() && (i < 0 || i >= ToNode(op)->num_inputs()))
    s = sluice::OutOfRange(ToNode(op)->info().Describe(), " has no input ", i);
  if (s.ok()) {
    absl::MutexLock lock(&graph->graph->mu());
    s = graph->graph->UpdateInput(ToNode(op), i, ToEndpoint(input));
  }
  status->Set(s);
}

SL_Buffer* SL_GraphToDef(const SL_Graph* graph, int add_shapes, int debug_info, SL_Status* status) {
  sluice::proto::GraphDef def;
  {
    absl::MutexLock lock(&graph->graph->mu());
    sluice::ExportOptions options;
    options.add_shapes = add_shapes != 0;
    options.debug_info = debug_info != 0;
    sluice::ExportGraphDef(*graph->graph, options, &def);
  }
  std::string bytes;
  if (!def.SerializeToString(&bytes)) {
    status->Set(sluice::InvalidArgument("the graph needs more than the 2 GiB that a GraphDef may have"));
    return nullptr;
  }
  status->code = 0;
  return sluice::NewBuffer(std::move(bytes));
}

SL_Buffer* SL_OperationToDef(const SL_Graph* graph, const SL_Operation* op, SL_Status* status) {
  absl::MutexLock lock(&graph->graph->mu());
  const Node* node = ToNode(op);
  sluice::proto::NodeDef def;
  def.set_name(node->name());
  def.set_op(node->op().name);
  def.set_device(node->info().device);
  for (const sluice::Endpoint& e : node->inputs()) {
    def.add_input(e.index == 0 ? e.node->name() : absl::StrCat(e.node->name(), ":", e.index));
  }
  for (const Node* c : node->control_inputs()) def.add_input(absl::StrCat("^", c->name()));
  for (const auto& attr : node->attrs()) sluice::AttrToProto(attr.second, &(*def.mutable_attr())[attr.first]);
  status->code = 0;
  return sluice::NewBuffer(def.SerializeAsString());
}

void SL_ImportGraphDef(SL_Graph* graph, const void* data, size_t size, const SL_ImportOptions* options,
                       SL_Output* outputs, SL_Operation** operations, SL_Buffer** unused, SL_Status* status) {
  sluice::proto::GraphDef def;
  if (size > INT32_MAX || !def.ParseFromArray(data, static_cast<int>(size))) {
    status->Set(sluice::InvalidArgument("these ", size, " bytes are not a serialised GraphDef"));
    return;
  }
  sluice::ImportOptions import;
  if (options->prefix != nullptr) import.prefix = options->prefix;
  for (int i = 0; i < options->num_inputs_mapped; ++i) {
    import.input_map[options->inputs_mapped[i]] = ToEndpoint(options->input_replacements[i]);
  }
  for (int i = 0; i < options->num_return_outputs; ++i) import.return_outputs.push_back(options->return_outputs[i]);
  for (int i = 0; i < options->num_return_operations; ++i) import.return_nodes.push_back(options->return_operations[i]);
  for (int i = 0; i < options->num_control_inputs; ++i)
    import.control_dependencies.push_back(ToNode(options->control_inputs[i]));
  if (options->default_device != nullptr) import.default_device = options->default_device;
  import.uniquify_names = options->uniquify_names != 0;
  absl::MutexLock lock(&graph->graph->mu());
  auto result = sluice::ImportGraphDef(def, import, graph->graph.get());
  status->Set(result.status());
  if (!result.ok()) return;
  for (size_t i = 0; i < result->return_outputs.size(); ++i)
    outputs[i] = sluice::FromEndpoint(result->return_outputs[i]);
  for (size_t i = 0; i < result->return_nodes.size(); ++i) operations[i] = FromNode(result->return_nodes[i]);
  if (unused != nullptr) {
    std::string keys;
    for (const std::string& key : result->unused_input_map_keys) absl::StrAppend(&keys, key, "\n");
    *unused = sluice::NewBuffer(std::move(keys));
  }
}

void SL_GraphAddFunction(SL_Graph* graph, const SL_Graph* body, const char* name, SL_Status* status) {
  auto add = [&]() -> absl::Status {
    auto function = std::make_unique<sluice::Function>();
    function->name = name;
    {
      absl::MutexLock lock(&body->graph->mu());
      ASSIGN_OR_RETURN(function->body, body->graph->Clone([](const Node&) { return true; }));
      RETURN_IF_ERROR(function->body->functions().AddAll(body->graph->functions()));
    }
    auto put = [](std::vector<sluice::FunctionArg>* args, const Node& node, DType type,
                  PartialShape shape) -> absl::Status {
      ASSIGN_OR_RETURN(int64_t index, node.info().Attr<int64_t>("index"));
      if (index < 0 || index > 1'000'000)
        return sluice::InvalidArgument(node.info().Describe(), ": index ", index, " is out of range");
      if (args->size() <= static_cast<size_t>(index)) args->resize(index + 1);
      (*args)[index] = {node.name(), type, std::move(shape)};
      return absl::OkStatus();
    };
    for (const Node* node : function->body->nodes()) {
      if (node->op().name == "_Arg") {
        RETURN_IF_ERROR(put(&function->args, *node, node->output_type(0), node->output_shape(0)));
      } else if (node->op().name == "_Retval") {
        const sluice::Endpoint& source = node->input(0);
        RETURN_IF_ERROR(put(&function->results, *node, sluice::BaseType(node->input_type(0)),
                            source.node->output_shape(source.index)));
      }
    }
    absl::MutexLock lock(&graph->graph->mu());
    return graph->graph->functions().Add(std::move(function));
  };
  status->Set(add());
}

int SL_InlineFunction(SL_Graph* graph, const SL_Graph* library, const char* name, const char* prefix,
                      const SL_Output* args, int num_args, SL_Output* results, int max_results, SL_Status* status) {
  const sluice::Function* function = nullptr;
  {
    absl::MutexLock lock(&library->graph->mu());
    function = library->graph->functions().Find(name);  // Immutable and kept once added.
  }
  auto copy = [&]() -> absl::Status {
    if (function == nullptr) return sluice::NotFound("no function is called '", name, "'");
    if (static_cast<int>(function->args.size()) != num_args) {
      return sluice::InvalidArgument("function '", name, "' takes ", function->args.size(), " arguments, found ",
                                     num_args);
    }
    ASSIGN_OR_RETURN(std::vector<Node*> nodes, function->body->TopologicalOrder());
    absl::MutexLock lock(&graph->graph->mu());
    absl::flat_hash_map<const Node*, Node*> copies;
    auto mapped = [&](const sluice::Endpoint& e) -> sluice::Endpoint {
      if (e.node->op().name == "_Arg") return ToEndpoint(args[*e.node->info().Attr<int64_t>("index")]);
      return {copies.at(e.node), e.index};
    };
    for (Node* node : nodes) {
      if (node->op().name == "_Arg") continue;
      if (node->op().name == "_Retval") {
        const int64_t index = *node->info().Attr<int64_t>("index");
        if (index < max_results) results[index] = sluice::FromEndpoint(mapped(node->input(0)));
        continue;
      }
      sluice::NodeSpec spec;
      spec.op = node->op().name;
      spec.name = *prefix ? absl::StrCat(prefix, "/", node->name()) : node->name();
      for (const sluice::Endpoint& e : node->inputs()) spec.inputs.push_back(mapped(e));
      for (Node* c : node->control_inputs()) {
        if (copies.count(c) > 0) spec.control_inputs.push_back(copies.at(c));
      }
      spec.attrs = node->attrs();
      spec.device = node->info().device;
      spec.source = node->info().source;
      if (spec.source.file != nullptr) spec.source.file = graph->graph->Intern(*spec.source.file);
      if (spec.source.function != nullptr) spec.source.function = graph->graph->Intern(*spec.source.function);
      ASSIGN_OR_RETURN(copies[node], graph->graph->AddNodeUniqueName(std::move(spec)));
    }
    return absl::OkStatus();
  };
  absl::Status s = copy();
  status->Set(s);
  return s.ok() ? static_cast<int>(function->results.size()) : -1;
}
