#include "core/graph/graph_def.h"

#include <functional>
#include <queue>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "core/proto/graph.pb.h"
#include "core/types/tensor_proto.h"

namespace sluice {
namespace {

using NodeDefs = google::protobuf::RepeatedPtrField<proto::NodeDef>;

constexpr int kOurProducer = 1087;
constexpr int kOurConsumer = 1087;

absl::string_view NodePart(absl::string_view input) {
  absl::ConsumePrefix(&input, "^");
  return input.substr(0, input.find(':'));
}

bool ClosesLoop(absl::string_view op) { return op == "NextIteration" || op == "RefNextIteration"; }

// The order in which nodes can be made: inputs first, except those that close loops.
absl::StatusOr<std::vector<int>> ImportOrder(const NodeDefs& defs,
                                             const std::function<bool(absl::string_view)>& is_outside) {
  absl::flat_hash_map<absl::string_view, int> by_name;
  for (int i = 0; i < defs.size(); ++i) {
    if (!IsValidNodeName(defs[i].name()))
      return InvalidArgument("node ", i, " has the malformed name '", defs[i].name(), "'");
    if (!by_name.emplace(defs[i].name(), i).second)
      return InvalidArgument("node '", defs[i].name(), "' is there twice");
  }
  std::vector<int> pending(defs.size(), 0);
  std::vector<std::vector<int>> consumers(defs.size());
  for (int i = 0; i < defs.size(); ++i) {
    for (const std::string& in : defs[i].input()) {
      auto it = by_name.find(NodePart(in));
      if (it == by_name.end()) {
        if (is_outside(in)) continue;
        return InvalidArgument("node '", defs[i].name(), "': input '", in, "' is not in the graph");
      }
      if (ClosesLoop(defs[it->second].op())) continue;
      ++pending[i];
      consumers[it->second].push_back(i);
    }
  }
  std::vector<int> order;
  std::priority_queue<int, std::vector<int>, std::greater<int>> ready;  // as near to the message's order as can be
  for (int i = 0; i < defs.size(); ++i) {
    if (pending[i] == 0) ready.push(i);
  }
  while (!ready.empty()) {
    int i = ready.top();
    ready.pop();
    order.push_back(i);
    for (int c : consumers[i]) {
      if (--pending[c] == 0) ready.push(c);
    }
  }
  for (int i = 0; i < defs.size(); ++i) {
    if (pending[i] > 0) return InvalidArgument("node '", defs[i].name(), "' is part of a cycle or behind one");
  }
  return order;
}

struct LineTable {
  const proto::GraphDebugInfo* info;
  SourceLine Find(const std::string& name, Graph* graph) const {
    auto id = info->name_to_trace_id().find(name);
    if (id == info->name_to_trace_id().end()) return {};
    auto trace = info->traces_by_id().find(id->second);
    if (trace == info->traces_by_id().end() || trace->second.frame_id_size() == 0) return {};
    auto frame = info->frames_by_id().find(trace->second.frame_id(0));
    if (frame == info->frames_by_id().end()) return {};
    const auto& f = frame->second;
    if (f.file_index() < 0 || f.file_index() >= info->files_size()) return {};
    return {graph->Intern(info->files(f.file_index())), f.line(), graph->Intern(f.func())};
  }
};

absl::Status AttrsFromProto(const proto::NodeDef& def, AttrMap* attrs) {
  for (const auto& [name, value] : def.attr()) {
    if (value.value_case() == proto::AttrValue::VALUE_NOT_SET) continue;
    absl::StatusOr<AttrValue> v = AttrFromProto(value);
    if (!v.ok()) return Annotate(v.status(), absl::StrCat("attribute '", name, "': "));
    attrs->Set(name, *std::move(v));
  }
  return absl::OkStatus();
}

// Nothing, in any type: what a producer newer than us writes for an attribute that it added and the user left alone.
bool IsBlank(const AttrValue& value) {
  if (const std::string* v = value.As<std::string>()) return v->empty();
  if (const int64_t* v = value.As<int64_t>()) return *v == 0;
  if (const float* v = value.As<float>()) return *v == 0;
  if (const bool* v = value.As<bool>()) return !*v;
  if (const auto* v = value.As<std::vector<int64_t>>()) return v->empty();  // also the empty list of any other type
  return false;
}

// What newer producers write beside an op to say where it came from; no result depends on it.
bool IsHint(absl::string_view name) {
  return name == "grad_a" || name == "grad_b" || name == "grad_x" || name == "grad_y";
}

// Drops blank attributes and hints that this op does not have; others are an error. Names that begin with '_' always
// pass.
absl::Status DropUnknownBlankAttrs(const OpDef& op, AttrMap* attrs) {
  std::vector<std::string> blank;
  for (const auto& [name, value] : *attrs) {
    if (name.empty() || name[0] == '_' || op.FindAttr(name) != nullptr) continue;
    if (!IsBlank(value) && !IsHint(name)) {
      return InvalidArgument("op ", op.name, " has no attribute '", name, "' (value ", value.ToString(), ")");
    }
    blank.push_back(name);
  }
  for (const std::string& name : blank) attrs->Erase(name);
  return absl::OkStatus();
}

class Importer {
 public:
  Importer(const proto::GraphDef& def, const ImportOptions& options, Graph* graph)
      : def_(def), options_(options), graph_(graph), lines_{&def.debug_info()} {
    if (!options.prefix.empty()) prefix_ = absl::StrCat(options.prefix, "/");
    for (const auto& [key, endpoint] : options.input_map) mapped_nodes_.insert(std::string(NodePart(key)));
  }

  absl::StatusOr<ImportResult> Run() {
    if (def_.node_size() > options_.max_nodes) {
      return ResourceExhausted("the graph has ", def_.node_size(), " nodes, the limit is ", options_.max_nodes);
    }
    if (def_.versions().min_consumer() > kOurConsumer) {
      return InvalidArgument("the graph needs a consumer of version ", def_.versions().min_consumer(), ", this is ",
                             kOurConsumer);
    }
    RETURN_IF_ERROR(ImportFunctions());
    ASSIGN_OR_RETURN(std::vector<int> order, ImportOrder(def_.node(), [this](absl::string_view in) {
                       return mapped_nodes_.contains(NodePart(in));
                     }));
    std::vector<Node*> made;
    absl::Status status;
    for (int i : order) {
      absl::StatusOr<Node*> node = AddOne(def_.node(i));
      if (!node.ok()) {
        status = node.status();
        break;
      }
      by_name_[def_.node(i).name()] = *node;
      made.push_back(*node);
    }
    if (status.ok()) status = CloseLoops();
    ImportResult result;
    if (status.ok()) status = Collect(&result);
    if (!status.ok()) {
      for (auto it = made.rbegin(); it != made.rend(); ++it) {
        if ((*it)->out_edges().empty()) graph_->RemoveNode(*it);
      }
      return status;
    }
    for (const proto::NodeDef& d : def_.node()) result.nodes.push_back(by_name_[d.name()]);
    return result;
  }

 private:
  absl::Status ImportFunctions();

  absl::StatusOr<Endpoint> Resolve(const std::string& text, bool* loop) {
    auto key = options_.input_map.find(text);
    if (key == options_.input_map.end() && absl::EndsWith(text, ":0")) {
      key = options_.input_map.find(text.substr(0, text.size() - 2));
    }
    if (key == options_.input_map.end() && !absl::StrContains(text, ":")) key = options_.input_map.find(text + ":0");
    if (key != options_.input_map.end()) {
      used_.insert(key->first);
      return key->second;
    }
    ASSIGN_OR_RETURN(ParsedInput in, ParseInputName(text));
    auto it = by_name_.find(in.node);
    if (it == by_name_.end()) {
      *loop = true;
      return Endpoint{};
    }
    return Endpoint{it->second, in.index};
  }

  absl::StatusOr<Node*> AddOne(const proto::NodeDef& def) {
    absl::StatusOr<Node*> node = TryAdd(def);
    if (node.ok() || absl::StrContains(node.status().message(), def.name())) return node;
    return Annotate(node.status(), absl::StrCat(def.op(), " '", def.name(), "': "));
  }

  absl::StatusOr<Node*> TryAdd(const proto::NodeDef& def) {
    NodeSpec spec;
    spec.op = def.op();
    spec.name = prefix_ + def.name();
    spec.device = def.device().empty() ? options_.default_device : def.device();
    spec.source = lines_.Find(def.name(), graph_);
    ASSIGN_OR_RETURN(const OpDef* op, graph_->ops().Get(def.op()));
    RETURN_IF_ERROR(AttrsFromProto(def, &spec.attrs));
    RETURN_IF_ERROR(DropUnknownBlankAttrs(*op, &spec.attrs));
    if (!prefix_.empty()) RenameColocation(&spec.attrs);
    std::vector<std::pair<int, std::string>> loops;
    for (const std::string& text : def.input()) {
      if (absl::StartsWith(text, "^")) {
        RETURN_IF_ERROR(AddControl(text, &spec));
        continue;
      }
      bool loop = false;
      ASSIGN_OR_RETURN(Endpoint e, Resolve(text, &loop));
      if (loop) loops.emplace_back(static_cast<int>(spec.inputs.size()), text);
      spec.inputs.push_back(e);
    }
    // A loop's Merge is made before its NextIteration: its other input stands in for the moment.
    for (const auto& [i, text] : loops) {
      for (const Endpoint& e : spec.inputs) {
        if (e.node != nullptr) spec.inputs[i] = e;
      }
    }
    if (spec.inputs.empty() && spec.control_inputs.empty()) spec.control_inputs = options_.control_dependencies;
    AttrValue shapes;
    if (const AttrValue* s = spec.attrs.Find("_output_shapes")) shapes = *s;
    spec.attrs.Erase("_output_shapes");
    ASSIGN_OR_RETURN(Node * node, options_.uniquify_names ? graph_->AddNodeUniqueName(std::move(spec))
                                                          : graph_->AddNode(std::move(spec)));
    for (const auto& [i, text] : loops) open_.push_back({node, i, text});
    if (const auto* list = shapes.As<std::vector<PartialShape>>()) {
      for (int i = 0;
           i < node->num_outputs() && i < static_cast<int>(list->size()) && options_.validate_shapes && loops.empty();
           ++i) {
        RETURN_IF_ERROR(graph_->RefineShape({node, i}, (*list)[i]));
      }
    }
    return node;
  }

  void RenameColocation(AttrMap* attrs) {
    const AttrValue* v = attrs->Find("_class");
    const auto* list = v ? v->As<std::vector<std::string>>() : nullptr;
    if (list == nullptr) return;
    std::vector<std::string> renamed;
    for (absl::string_view s : *list) {
      bool loc = absl::ConsumePrefix(&s, "loc:@");
      renamed.push_back(loc ? absl::StrCat("loc:@", prefix_, s) : std::string(s));
    }
    attrs->Set("_class", std::move(renamed));
  }

  absl::Status AddControl(const std::string& text, NodeSpec* spec) {
    auto key = options_.input_map.find(text);
    Node* source = nullptr;
    if (key != options_.input_map.end()) {
      used_.insert(key->first);
      source = key->second.node;
    } else {
      auto it = by_name_.find(NodePart(text));
      if (it != by_name_.end()) source = it->second;
    }
    if (source == nullptr) return InvalidArgument("control input '", text, "' cannot be resolved");
    spec->control_inputs.push_back(source);
    return absl::OkStatus();
  }

  absl::Status CloseLoops() {
    for (const Open& o : open_) {
      ASSIGN_OR_RETURN(ParsedInput in, ParseInputName(o.text));
      auto it = by_name_.find(in.node);
      if (it == by_name_.end())
        return InvalidArgument(o.node->info().Describe(), ": input '", o.text, "' cannot be resolved");
      RETURN_IF_ERROR(graph_->UpdateInput(o.node, o.input, {it->second, in.index}));
    }
    return absl::OkStatus();
  }

  absl::Status Collect(ImportResult* result) {
    for (const std::string& text : options_.return_outputs) {
      bool missing = false;
      ASSIGN_OR_RETURN(Endpoint e, Resolve(text, &missing));
      if (missing) return NotFound("'", text, "' to be returned is not in the imported graph");
      if (e.index >= e.node->num_outputs()) {
        return InvalidArgument("'", text, "' to be returned: the node has ", e.node->num_outputs(), " outputs");
      }
      result->return_outputs.push_back(e);
    }
    for (const std::string& name : options_.return_nodes) {
      auto it = by_name_.find(name);
      if (it == by_name_.end()) return NotFound("node '", name, "' to be returned is not in the imported graph");
      result->return_nodes.push_back(it->second);
    }
    for (const auto& [key, e] : options_.input_map) {
      if (!used_.contains(key)) result->unused_input_map_keys.push_back(key);
    }
    return absl::OkStatus();
  }

  struct Open {
    Node* node;
    int input;
    std::string text;
  };
  const proto::GraphDef& def_;
  const ImportOptions& options_;
  Graph* graph_;
  LineTable lines_;
  std::string prefix_;
  absl::flat_hash_map<std::string, Node*> by_name_;
  absl::flat_hash_set<std::string> mapped_nodes_, used_;
  std::vector<Open> open_;
};

absl::StatusOr<std::vector<FunctionArg>> FunctionArgs(
    const google::protobuf::RepeatedPtrField<proto::OpDef::ArgDef>& defs) {
  std::vector<FunctionArg> args;
  for (const auto& d : defs) {
    if (!d.type_attr().empty() || !d.number_attr().empty() || !d.type_list_attr().empty()) {
      return Unimplemented("argument '", d.name(), "' is polymorphic; functions need fixed types here");
    }
    ASSIGN_OR_RETURN(DType t, DTypeFromProto(d.type()));
    args.push_back({d.name(), t, PartialShape()});
  }
  return args;
}

// Inside functions an input reads "argument", "node:output_name:index" or "^node".
class FunctionImporter {
 public:
  FunctionImporter(const proto::FunctionDef& def, const Graph& parent) : def_(def), parent_(parent) {}

  absl::StatusOr<std::unique_ptr<Function>> Run() {
    auto f = std::make_unique<Function>();
    f->name = def_.signature().name();
    ASSIGN_OR_RETURN(f->args, FunctionArgs(def_.signature().input_arg()));
    ASSIGN_OR_RETURN(f->results, FunctionArgs(def_.signature().output_arg()));
    for (const auto& [name, value] : def_.attr()) {
      absl::StatusOr<AttrValue> v = AttrFromProto(value);
      if (v.ok()) f->attrs.Set(name, *std::move(v));
    }
    f->body = std::make_unique<Graph>(&parent_.ops());
    Graph* g = f->body.get();
    for (size_t i = 0; i < f->args.size(); ++i) {
      ArgShape(static_cast<int>(i), &f->args[i]);
      ASSIGN_OR_RETURN(
          nodes_[f->args[i].name],
          g->AddNode(
              {"_Arg", f->args[i].name, {}, {}, {{"T", f->args[i].type}, {"index", static_cast<int64_t>(i)}}, "", {}}));
      RETURN_IF_ERROR(g->RefineShape({nodes_[f->args[i].name], 0}, f->args[i].shape));
    }
    ASSIGN_OR_RETURN(std::vector<int> order, ImportOrder(def_.node_def(), [this](absl::string_view in) {
                       return nodes_.contains(NodePart(in));
                     }));
    for (int i : order) RETURN_IF_ERROR(Add(def_.node_def(i), g));
    for (size_t i = 0; i < f->results.size(); ++i) {
      auto it = def_.ret().find(f->results[i].name);
      if (it == def_.ret().end()) return InvalidArgument("result '", f->results[i].name, "' has no value");
      ASSIGN_OR_RETURN(Endpoint e, Resolve(it->second));
      ASSIGN_OR_RETURN(Node * r, g->AddNodeUniqueName({"_Retval",
                                                       absl::StrCat(f->results[i].name, "_retval"),
                                                       {e},
                                                       {},
                                                       {{"T", f->results[i].type}, {"index", static_cast<int64_t>(i)}},
                                                       "",
                                                       {}}));
      f->results[i].shape = e.node->output_shape(e.index);
      for (const auto& [name, node] : def_.control_ret()) {
        auto c = nodes_.find(node);
        if (c != nodes_.end()) RETURN_IF_ERROR(g->AddControlEdge(c->second, r));
      }
    }
    return f;
  }

 private:
  void ArgShape(int i, FunctionArg* arg) {
    auto attrs = def_.arg_attr().find(static_cast<uint32_t>(i));
    if (attrs == def_.arg_attr().end()) return;
    auto shapes = attrs->second.attr().find("_output_shapes");
    if (shapes == attrs->second.attr().end() || shapes->second.list().shape_size() != 1) return;
    absl::StatusOr<PartialShape> s = ShapeFromProto(shapes->second.list().shape(0));
    if (s.ok()) arg->shape = *s;
  }

  absl::StatusOr<Endpoint> Resolve(const std::string& text) {
    std::vector<std::string> parts = absl::StrSplit(text, ':');
    auto it = nodes_.find(parts[0]);
    if (it == nodes_.end()) return InvalidArgument("input '", text, "' is not in the function");
    Endpoint e{it->second, 0};
    if (parts.size() >= 2 && !absl::SimpleAtoi(parts[1], &e.index)) {
      ASSIGN_OR_RETURN(ArgRange r, FindArgRange(e.node->op().outputs, e.node->attrs(), parts[1]));
      int k = 0;
      if (parts.size() == 3 && !absl::SimpleAtoi(parts[2], &k))
        return InvalidArgument("'", text, "' is no input of a function");
      if (k < 0 || k >= r.end - r.begin)
        return InvalidArgument("'", text, "': there are ", r.end - r.begin, " of '", parts[1], "'");
      e.index = r.begin + k;
    }
    if (e.index < 0 || e.index >= e.node->num_outputs()) return InvalidArgument("'", text, "': no such output");
    return e;
  }

  absl::Status Add(const proto::NodeDef& def, Graph* g) {
    NodeSpec spec;
    spec.op = def.op();
    spec.name = def.name();
    spec.device = def.device();
    RETURN_IF_ERROR(AttrsFromProto(def, &spec.attrs));
    if (const OpDef* op = parent_.ops().Find(def.op())) RETURN_IF_ERROR(DropUnknownBlankAttrs(*op, &spec.attrs));
    spec.attrs.Erase("_output_shapes");
    for (const std::string& text : def.input()) {
      if (absl::StartsWith(text, "^")) {
        auto it = nodes_.find(NodePart(text));
        if (it == nodes_.end()) return InvalidArgument("control input '", text, "' is not in the function");
        spec.control_inputs.push_back(it->second);
        continue;
      }
      ASSIGN_OR_RETURN(Endpoint e, Resolve(text));
      spec.inputs.push_back(e);
    }
    ASSIGN_OR_RETURN(nodes_[def.name()], g->AddNode(std::move(spec)));
    return absl::OkStatus();
  }

  const proto::FunctionDef& def_;
  const Graph& parent_;
  absl::flat_hash_map<std::string, Node*> nodes_;
};

absl::Status Importer::ImportFunctions() {
  for (const proto::FunctionDef& d : def_.library().function()) {
    if (graph_->functions().Find(d.signature().name()) != nullptr)
      continue;  // importing a graph twice brings the same library
    absl::StatusOr<std::unique_ptr<Function>> f = FunctionImporter(d, *graph_).Run();
    if (!f.ok()) return Annotate(f.status(), absl::StrCat("function '", d.signature().name(), "': "));
    for (const proto::GradientDef& g : def_.library().gradient()) {
      if (g.function_name() == (*f)->name) (*f)->gradient = g.gradient_func();
    }
    RETURN_IF_ERROR(graph_->functions().Add(*std::move(f)));
  }
  return absl::OkStatus();
}

void NodeToDef(const Node& node, const ExportOptions& options, proto::NodeDef* def) {
  def->set_name(node.name());
  def->set_op(node.op().name);
  def->set_device(node.info().device);
  for (const auto& [name, value] : node.attrs()) {
    const AttrDef* a = node.op().FindAttr(name);
    if (options.strip_defaults && a != nullptr && a->default_value == value) continue;
    AttrToProto(value, &(*def->mutable_attr())[name]);
  }
  if (options.add_shapes && node.num_outputs() > 0) {
    auto* shapes = (*def->mutable_attr())["_output_shapes"].mutable_list();
    for (int i = 0; i < node.num_outputs(); ++i) ShapeToProto(node.output_shape(i), shapes->add_shape());
  }
}

void FunctionToDef(const Function& f, proto::FunctionDef* def) {
  auto arg = [](const FunctionArg& a, proto::OpDef::ArgDef* p) {
    p->set_name(a.name);
    p->set_type(static_cast<proto::DataType>(a.type));
  };
  def->mutable_signature()->set_name(f.name);
  for (const FunctionArg& a : f.args) arg(a, def->mutable_signature()->add_input_arg());
  for (const FunctionArg& r : f.results) arg(r, def->mutable_signature()->add_output_arg());
  for (const auto& [name, value] : f.attrs) AttrToProto(value, &(*def->mutable_attr())[name]);
  auto input_name = [&f](const Endpoint& e) -> std::string {
    if (e.node->op().name == "_Arg") return f.args[e.node->info().Attr<int64_t>("index").value_or(0)].name;
    int begin = 0;
    for (const ArgDef& out : e.node->op().outputs) {
      int n = ArgLength(out, e.node->attrs()).value_or(1);
      if (e.index < begin + n) return absl::StrCat(e.node->name(), ":", out.name, ":", e.index - begin);
      begin += n;
    }
    return absl::StrCat(e.node->name(), ":", e.index);
  };
  for (const Node* n : f.body->nodes()) {
    if (n->op().name == "_Arg") continue;
    if (n->op().name == "_Retval") {
      int64_t i = n->info().Attr<int64_t>("index").value_or(0);
      (*def->mutable_ret())[f.results[i].name] = input_name(n->input(0));
      continue;
    }
    proto::NodeDef* d = def->add_node_def();
    NodeToDef(*n, {}, d);
    for (const Endpoint& e : n->inputs()) d->add_input(input_name(e));
    for (const Node* c : n->control_inputs()) {
      if (c->op().name != "_Arg") d->add_input(absl::StrCat("^", c->name()));
    }
  }
}

}  // namespace

absl::StatusOr<ImportResult> ImportGraphDef(const proto::GraphDef& def, const ImportOptions& options, Graph* graph) {
  return Importer(def, options, graph).Run();
}

void ExportGraphDef(const Graph& graph, const ExportOptions& options, proto::GraphDef* def) {
  def->mutable_versions()->set_producer(kOurProducer);
  absl::flat_hash_map<const std::string*, int> files;
  uint64_t trace = 0;
  for (const Node* n : graph.nodes()) {
    if (n->id() < options.from_id) continue;
    proto::NodeDef* d = def->add_node();
    NodeToDef(*n, options, d);
    for (const Endpoint& e : n->inputs()) {
      d->add_input(e.index == 0 ? e.node->name() : absl::StrCat(e.node->name(), ":", e.index));
    }
    for (const Node* c : n->control_inputs()) d->add_input(absl::StrCat("^", c->name()));
    const SourceLine& line = n->info().source;
    if (!options.debug_info || line.file == nullptr) continue;
    auto [file, fresh] = files.emplace(line.file, static_cast<int>(files.size()));
    auto* info = def->mutable_debug_info();
    if (fresh) info->add_files(*line.file);
    ++trace;
    auto& frame = (*info->mutable_frames_by_id())[trace];
    frame.set_file_index(file->second);
    frame.set_line(line.line);
    if (line.function) frame.set_func(*line.function);
    (*info->mutable_traces_by_id())[trace].add_frame_id(trace);
    (*info->mutable_name_to_trace_id())[n->name()] = trace;
  }
  for (const Function* f : graph.functions().List()) {
    FunctionToDef(*f, def->mutable_library()->add_function());
    if (!f->gradient.empty()) {
      auto* g = def->mutable_library()->add_gradient();
      g->set_function_name(f->name);
      g->set_gradient_func(f->gradient);
    }
  }
}

}  // namespace sluice
