#include "core/graph/graph.h"

#include <algorithm>
#include <queue>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "core/graph/function.h"

namespace sluice {
namespace {

// From the end, so that undoing edges from the last to the first takes no time in long lists.
template <typename List, typename T>
void EraseOne(List& list, const T& value) {
  for (size_t i = list.size(); i-- > 0;) {
    if (list[i] != value) continue;
    list.erase(list.begin() + i);
    return;
  }
}

// How many tensors each input argument stands for, worked out from attributes and the number of inputs.
absl::StatusOr<std::vector<int>> InputLengths(const OpDef& op, const AttrMap& attrs, int num_inputs) {
  std::vector<int> lengths;
  absl::string_view open_attr;  // the one attribute whose length follows from the number of inputs
  int open_count = 0, known = 0;
  for (const ArgDef& arg : op.inputs) {
    absl::string_view counter = arg.number_attr.empty() ? arg.type_list_attr : arg.number_attr;
    if (arg.is_list() && attrs.Find(counter) == nullptr) {
      if (open_count > 0 && counter != open_attr) {
        return InvalidArgument("attributes '", open_attr, "' and '", counter,
                               "' must be given: the inputs do not tell their lengths");
      }
      open_attr = counter;
      ++open_count;
      lengths.push_back(-1);
    } else {
      ASSIGN_OR_RETURN(int n, ArgLength(arg, attrs));
      lengths.push_back(n);
      known += n;
    }
  }
  int rest = num_inputs - known;
  if (rest < 0 || (open_count == 0 && rest != 0) || (open_count > 0 && rest % open_count != 0)) {
    return InvalidArgument(
        "found ", num_inputs, " inputs, wanted ", known, open_count > 0 ? " or more" : "", " (",
        absl::StrJoin(op.inputs, ", ", [](std::string* out, const ArgDef& a) { out->append(a.name); }), ")");
  }
  for (int& n : lengths) {
    if (n < 0) n = rest / open_count;
  }
  return lengths;
}

// Sets the attributes that follow from the inputs, and checks that the inputs agree with them.
absl::Status InferTypes(const OpDef& op, absl::Span<const Endpoint> inputs, AttrMap* attrs) {
  ASSIGN_OR_RETURN(std::vector<int> lengths, InputLengths(op, *attrs, static_cast<int>(inputs.size())));
  size_t at = 0;
  for (size_t a = 0; a < op.inputs.size(); ++a) {
    const ArgDef& arg = op.inputs[a];
    int n = lengths[a];
    if (!arg.number_attr.empty() && attrs->Find(arg.number_attr) == nullptr) attrs->Set(arg.number_attr, int64_t{n});
    std::vector<DType> listed;
    if (!arg.type_list_attr.empty()) {
      if (attrs->Find(arg.type_list_attr) == nullptr) {
        for (int i = 0; i < n; ++i) listed.push_back(BaseType(inputs[at + i].node->output_type(inputs[at + i].index)));
        attrs->Set(arg.type_list_attr, listed);
      } else {
        ASSIGN_OR_RETURN(listed, GetAttr<std::vector<DType>>(*attrs, arg.type_list_attr));
      }
    }
    for (int i = 0; i < n; ++i, ++at) {
      const Endpoint& in = inputs[at];
      DType found = in.node->output_type(in.index);
      DType wanted = arg.type;
      if (!listed.empty()) {
        wanted = listed[i];
      } else if (!arg.type_attr.empty()) {
        const AttrValue* known = attrs->Find(arg.type_attr);
        if (known == nullptr) {
          wanted = BaseType(found);
          attrs->Set(arg.type_attr, wanted);
        } else if (const DType* t = known->As<DType>()) {
          wanted = *t;
        } else {
          return InvalidArgument("attribute '", arg.type_attr, "' must be a type, found ", known->ToString());
        }
      }
      if (arg.is_ref && !IsRefType(found)) {
        return InvalidArgument("input '", arg.name, "' (", in.node->name(), ":", in.index,
                               ") must be a reference to a variable, found a ", DTypeName(found), " tensor");
      }
      if (BaseType(found) != BaseType(wanted)) {
        return InvalidArgument(
            "input '", arg.name, "' (", in.node->name(), ":", in.index, ") is ", DTypeName(BaseType(found)),
            ", wanted ", DTypeName(BaseType(wanted)),
            arg.type_attr.empty() ? "" : absl::StrCat(" as the other uses of '", arg.type_attr, "'"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

const PartialValue* Node::output_value(int i) const {
  return facts_ && (*facts_)[i].value ? &*(*facts_)[i].value : nullptr;
}
const HandleData* Node::output_handle(int i) const {
  return facts_ && (*facts_)[i].handle ? &*(*facts_)[i].handle : nullptr;
}

Graph::Graph(const OpRegistry* ops) : ops_(ops), functions_(std::make_unique<FunctionLibrary>()) {}
Graph::~Graph() = default;

absl::Status Graph::Resolve(NodeSpec* spec, Node* node) const {
  for (const Endpoint& in : spec->inputs) {
    if (in.node == nullptr) return InvalidArgument("an input is missing");
    if (FindById(in.node->id()) != in.node)
      return InvalidArgument("input '", in.node->name(), "' belongs to another graph");
    if (in.index < 0 || in.index >= in.node->num_outputs()) {
      return InvalidArgument("there is no output ", in.index, " of ", in.node->info().Describe(), ", which has ",
                             in.node->num_outputs());
    }
  }
  for (Node* c : spec->control_inputs) {
    if (c == nullptr || FindById(c->id()) != c) return InvalidArgument("a control input is not of this graph");
  }
  const OpDef& op = *node->info_.op;
  RETURN_IF_ERROR(InferTypes(op, spec->inputs, &spec->attrs));
  RETURN_IF_ERROR(CheckAttrs(op, &spec->attrs));
  ASSIGN_OR_RETURN(node->info_.input_types, ArgTypes(op.inputs, spec->attrs));
  ASSIGN_OR_RETURN(node->info_.output_types, ArgTypes(op.outputs, spec->attrs));
  if (node->info_.input_types.size() != spec->inputs.size()) {
    return InvalidArgument("found ", spec->inputs.size(), " inputs, the attributes say ",
                           node->info_.input_types.size());
  }
  return absl::OkStatus();
}

absl::Status Graph::InferShapes(Node* node) {
  std::vector<ShapeContext::Input> inputs(node->inputs_.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Endpoint& e = node->inputs_[i];
    inputs[i].shape = e.node->output_shapes_[e.index];
    inputs[i].dtype = node->info_.input_types[i];
    if (e.node->Is(kConstant)) {
      const AttrValue* v = e.node->attrs().Find("value");
      inputs[i].constant = v ? v->As<Tensor>() : nullptr;
    }
    inputs[i].value = e.node->output_value(e.index);
    inputs[i].handle = e.node->output_handle(e.index);
  }
  int outputs = node->num_outputs();
  ShapeContext c(node->op(), node->attrs(), std::move(inputs), outputs);
  RETURN_IF_ERROR(node->op().shape(c));
  if (node->op().value) node->op().value(c);
  bool facts = false;
  std::vector<PartialShape> shapes(outputs);
  for (int i = 0; i < outputs; ++i) {
    shapes[i] = c.output(i);
    if (i < static_cast<int>(node->output_shapes_.size())) {
      ASSIGN_OR_RETURN(shapes[i], shapes[i].MergeWith(node->output_shapes_[i]));
    }
    facts |= c.output_value(i).has_value() || c.output_handle(i).has_value();
  }
  node->output_shapes_ = std::move(shapes);
  if (facts) {
    node->facts_ = std::make_unique<std::vector<Node::Facts>>(outputs);
    for (int i = 0; i < outputs; ++i) (*node->facts_)[i] = {c.output_value(i), c.output_handle(i)};
  }
  return absl::OkStatus();
}

absl::StatusOr<Node*> Graph::AddNode(NodeSpec spec) {
  auto node = std::make_unique<Node>();
  node->info_.name = std::move(spec.name);
  node->info_.source = spec.source;
  auto fail = [&](const absl::Status& s) {
    std::string who = node->info_.op ? node->info_.Describe() : absl::StrCat(spec.op, " '", node->info_.name, "'");
    return absl::Status(s.code(), absl::StrCat(who, ": ", s.message()));
  };
  absl::StatusOr<const OpDef*> op = ops_->Get(spec.op);
  if (!op.ok()) return fail(op.status());
  node->info_.op = *op;
  if (!IsValidNodeName(node->name())) return fail(InvalidArgument("this is no valid node name"));
  if (by_name_.contains(node->name())) return fail(AlreadyExists("the name is taken"));
  absl::Status resolved = Resolve(&spec, node.get());
  if (!resolved.ok()) return fail(resolved);
  node->info_.attrs = std::move(spec.attrs);
  node->info_.device = std::move(spec.device);
  node->inputs_.assign(spec.inputs.begin(), spec.inputs.end());
  absl::Status shaped = InferShapes(node.get());
  if (!shaped.ok()) return fail(shaped);

  // Nothing can fail from here on.
  Node* n = node.get();
  n->id_ = static_cast<int>(nodes_.size());
  nodes_.push_back(std::move(node));
  by_name_.emplace(n->name(), n);
  for (int i = 0; i < n->num_inputs(); ++i) {
    n->inputs_[i].node->out_edges_.push_back({n, i, n->inputs_[i].index});
  }
  for (Node* c : spec.control_inputs) {
    // The new node is the last that a node it has been added to knows of.
    if (!c->control_outputs_.empty() && c->control_outputs_.back() == n) continue;
    n->control_inputs_.push_back(c);
    c->control_outputs_.push_back(n);
  }
  ++version_;
  return n;
}

absl::StatusOr<Node*> Graph::AddNodeUniqueName(NodeSpec spec) {
  spec.name = UniqueName(spec.name);
  return AddNode(std::move(spec));
}

std::string Graph::UniqueName(absl::string_view prefix) const {
  if (!by_name_.contains(prefix)) return std::string(prefix);
  int& next = next_suffix_[std::string(prefix)];
  while (true) {
    std::string name = absl::StrCat(prefix, "_", ++next);
    if (!by_name_.contains(name)) return name;
  }
}

Node* Graph::Find(absl::string_view name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

Node* Graph::FindById(int id) const {
  return id >= 0 && id < static_cast<int>(nodes_.size()) ? nodes_[id].get() : nullptr;
}

std::vector<Node*> Graph::nodes() const {
  std::vector<Node*> live;
  live.reserve(by_name_.size());
  for (const auto& n : nodes_) {
    if (n) live.push_back(n.get());
  }
  return live;
}

absl::Status Graph::AddControlEdge(Node* from, Node* to) {
  if (from == to) return InvalidArgument(to->info().Describe(), ": a node cannot wait for itself");
  // In the shorter list: some nodes wait for thousands, some are waited for by thousands.
  const bool known =
      to->control_inputs_.size() <= from->control_outputs_.size()
          ? std::find(to->control_inputs_.begin(), to->control_inputs_.end(), from) != to->control_inputs_.end()
          : std::find(from->control_outputs_.begin(), from->control_outputs_.end(), to) != from->control_outputs_.end();
  if (known) return absl::OkStatus();
  to->control_inputs_.push_back(from);
  from->control_outputs_.push_back(to);
  ++mutations_;
  return absl::OkStatus();
}

void Graph::RemoveControlEdge(Node* from, Node* to) {
  EraseOne(to->control_inputs_, from);
  EraseOne(from->control_outputs_, to);
  ++mutations_;
}

absl::Status Graph::CheckInput(const Node& node, int input, Endpoint source) {
  if (source.index < 0 || source.index >= source.node->num_outputs()) {
    return InvalidArgument(node.info().Describe(), ": there is no output ", source.index, " of ",
                           source.node->info().Describe());
  }
  DType found = source.node->output_type(source.index), wanted = node.info_.input_types[input];
  if (BaseType(found) != BaseType(wanted) || (IsRefType(wanted) && !IsRefType(found))) {
    return InvalidArgument(node.info().Describe(), ": new input ", input, " is ", DTypeName(found), ", wanted ",
                           DTypeName(wanted));
  }
  return absl::OkStatus();
}

absl::Status Graph::UpdateInput(Node* node, int input, Endpoint source) {
  RETURN_IF_ERROR(CheckInput(*node, input, source));
  Endpoint old = node->inputs_[input];
  for (size_t i = old.node->out_edges_.size(); i-- > 0;) {
    OutEdge& e = old.node->out_edges_[i];
    if (e.to == node && e.input == input) {
      old.node->out_edges_.erase(old.node->out_edges_.begin() + i);
      break;
    }
  }
  node->inputs_[input] = source;
  source.node->out_edges_.push_back({node, input, source.index});
  ++mutations_;
  return absl::OkStatus();
}

absl::Status Graph::UpdateInputs(absl::Span<const InputChange> changes) {
  for (const InputChange& c : changes) RETURN_IF_ERROR(CheckInput(*c.node, c.input, c.source));
  absl::flat_hash_set<Node*> left;
  for (const InputChange& c : changes) {
    left.insert(c.node->inputs_[c.input].node);
    c.node->inputs_[c.input] = {nullptr, 0};
  }
  for (Node* from : left) {
    std::vector<OutEdge>& edges = from->out_edges_;
    edges.erase(std::remove_if(edges.begin(), edges.end(),
                               [](const OutEdge& e) { return e.to->inputs_[e.input].node == nullptr; }),
                edges.end());
  }
  for (const InputChange& c : changes) {
    c.node->inputs_[c.input] = c.source;
    c.source.node->out_edges_.push_back({c.node, c.input, c.source.index});
  }
  if (!changes.empty()) ++mutations_;
  return absl::OkStatus();
}

absl::Status Graph::ReplaceEndpoint(Endpoint from, Endpoint to, const Node* keep) {
  std::vector<InputChange> changes;
  for (const OutEdge& e : from.node->out_edges_) {
    if (e.output == from.index && e.to != keep) changes.push_back({e.to, e.input, to});
  }
  return UpdateInputs(changes);
}

void Graph::RemoveNode(Node* node) {
  SLUICE_CHECK(node->out_edges_.empty());
  for (Node* after : node->control_outputs_) {
    EraseOne(after->control_inputs_, node);
    for (Node* before : node->control_inputs_) {
      if (before != after) (void)AddControlEdge(before, after);
    }
    for (const Endpoint& in : node->inputs_) {
      if (in.node != after) (void)AddControlEdge(in.node, after);
    }
  }
  for (Node* before : node->control_inputs_) EraseOne(before->control_outputs_, node);
  for (int i = 0; i < node->num_inputs(); ++i) {
    auto& edges = node->inputs_[i].node->out_edges_;
    edges.erase(
        std::remove_if(edges.begin(), edges.end(), [&](const OutEdge& e) { return e.to == node && e.input == i; }),
        edges.end());
  }
  by_name_.erase(node->name());
  nodes_[node->id()] = nullptr;
  ++mutations_;
}

void Graph::SetAttr(Node* node, absl::string_view name, AttrValue value) {
  node->info_.attrs.Set(name, std::move(value));
  ++mutations_;
}

void Graph::SetDevice(Node* node, std::string device) {
  node->info_.device = std::move(device);
  ++mutations_;
}

absl::Status Graph::RefineShape(Endpoint e, const PartialShape& shape) {
  absl::StatusOr<PartialShape> merged = e.node->output_shapes_[e.index].MergeWith(shape);
  if (!merged.ok()) return Annotate(merged.status(), absl::StrCat(e.node->info().Describe(), ": "));
  if (*merged == e.node->output_shapes_[e.index]) return absl::OkStatus();
  e.node->output_shapes_[e.index] = *std::move(merged);
  ++mutations_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Node*>> Graph::TopologicalOrder() const {
  std::vector<int> pending(nodes_.size(), 0);
  auto later = [](const Node* a, const Node* b) { return a->id() > b->id(); };
  std::priority_queue<Node*, std::vector<Node*>, decltype(later)> ready(later);
  for (const auto& n : nodes_) {
    if (!n) continue;
    int count = static_cast<int>(n->control_inputs_.size());
    for (const Endpoint& e : n->inputs_) count += !e.node->Is(kBackEdge);
    pending[n->id()] = count;
    if (count == 0) ready.push(n.get());
  }
  std::vector<Node*> order;
  order.reserve(by_name_.size());
  while (!ready.empty()) {
    Node* n = ready.top();
    ready.pop();
    order.push_back(n);
    if (!n->Is(kBackEdge)) {
      for (const OutEdge& e : n->out_edges_) {
        if (--pending[e.to->id()] == 0) ready.push(e.to);
      }
    }
    for (Node* c : n->control_outputs_) {
      if (--pending[c->id()] == 0) ready.push(c);
    }
  }
  if (order.size() != by_name_.size()) {
    std::vector<absl::string_view> stuck;
    for (const auto& n : nodes_) {
      if (n && pending[n->id()] > 0 && stuck.size() < 8) stuck.push_back(n->name());
    }
    return InvalidArgument("the graph has a cycle through or before: ", absl::StrJoin(stuck, ", "));
  }
  return order;
}

absl::StatusOr<std::unique_ptr<Graph>> Graph::Clone(absl::FunctionRef<bool(const Node&)> keep) const {
  auto copy = std::make_unique<Graph>(ops_);
  copy->producer = producer;
  RETURN_IF_ERROR(copy->functions_->AddAll(*functions_));
  std::vector<Node*> twin(nodes_.size(), nullptr);
  for (const auto& n : nodes_) {
    if (!n || !keep(*n)) continue;
    auto node = std::make_unique<Node>();
    node->id_ = static_cast<int>(copy->nodes_.size());
    node->info_ = n->info_;
    if (n->info_.source.file) node->info_.source.file = copy->Intern(*n->info_.source.file);
    if (n->info_.source.function) node->info_.source.function = copy->Intern(*n->info_.source.function);
    node->output_shapes_ = n->output_shapes_;
    if (n->facts_) node->facts_ = std::make_unique<std::vector<Node::Facts>>(*n->facts_);
    node->assigned_device_ = n->assigned_device_;
    twin[n->id()] = node.get();
    copy->by_name_.emplace(node->name(), node.get());
    copy->nodes_.push_back(std::move(node));
  }
  for (const auto& n : nodes_) {
    if (!n || !twin[n->id()]) continue;
    Node* node = twin[n->id()];
    for (const Endpoint& e : n->inputs_) {
      Node* source = twin[e.node->id()];
      if (source == nullptr) return Internal("clone keeps '", n->name(), "' but not its input '", e.node->name(), "'");
      source->out_edges_.push_back({node, static_cast<int>(node->inputs_.size()), e.index});
      node->inputs_.push_back({source, e.index});
    }
    for (Node* c : n->control_inputs_) {
      Node* source = twin[c->id()];
      if (source == nullptr) continue;
      node->control_inputs_.push_back(source);
      source->control_outputs_.push_back(node);
    }
  }
  return copy;
}

const std::string* Graph::Intern(absl::string_view s) { return &*strings_.emplace(s).first; }

bool IsValidNodeName(absl::string_view name) {
  if (name.empty()) return false;
  auto first = [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_'; };
  if (!first(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [&](char c) { return first(c) || c == '-' || c == '/' || c == '>' || c == '\\'; });
}

absl::StatusOr<ParsedInput> ParseInputName(absl::string_view text) {
  ParsedInput in;
  absl::string_view s = text;
  in.control = absl::ConsumePrefix(&s, "^");
  size_t colon = s.rfind(':');
  if (colon != absl::string_view::npos) {
    if (in.control || !absl::SimpleAtoi(s.substr(colon + 1), &in.index) || in.index < 0) {
      return InvalidArgument("'", text, "' is no input: 'node', 'node:1' or '^node' is");
    }
    s = s.substr(0, colon);
  }
  if (!IsValidNodeName(s)) return InvalidArgument("'", text, "' does not name a node");
  in.node = std::string(s);
  return in;
}

}  // namespace sluice
