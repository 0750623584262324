#include "runtime/partition/partition.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/graph/function.h"

namespace sluice {
namespace {

class Partitioner {
 public:
  Partitioner(const Graph& graph, const std::function<uint64_t(const std::string&)>& incarnation)
      : graph_(graph), incarnation_(incarnation), twin_(graph.num_node_ids(), nullptr) {}

  absl::StatusOr<std::vector<Partition>> Run() {
    ASSIGN_OR_RETURN(std::vector<Node*> order, graph_.TopologicalOrder());
    for (Node* n : order) {
      if (n->assigned_device().empty()) return Internal(n->info().Describe(), " has no device");
      for (const Endpoint& e : n->inputs()) {
        if (e.node->Is(kBackEdge) && e.node->assigned_device() != n->assigned_device()) {
          return Unimplemented(n->info().Describe(), ": a loop that spans devices");
        }
      }
      RETURN_IF_ERROR(Copy(n));
    }
    return std::move(parts_);
  }

 private:
  Graph* PartOf(const std::string& device) {
    auto [it, fresh] = index_.emplace(device, parts_.size());
    if (fresh) {
      parts_.push_back({device, std::make_unique<Graph>(&graph_.ops())});
      absl::Status shared = parts_.back().graph->functions().AddAll(graph_.functions());
      SLUICE_CHECK(shared.ok());
    }
    return parts_[it->second].graph.get();
  }

  absl::Status Copy(const Node* n) {
    const std::string& device = n->assigned_device();
    NodeSpec spec{n->op().name, n->name(), {}, {}, n->attrs(), n->info().device, SourceIn(PartOf(device), n)};
    for (const Endpoint& e : n->inputs()) {
      ASSIGN_OR_RETURN(Endpoint in, Here(e, device));
      spec.inputs.push_back(in);
    }
    for (const Node* c : n->control_inputs()) {
      ASSIGN_OR_RETURN(Node * in, ControlHere(c, device));
      spec.control_inputs.push_back(in);
    }
    ASSIGN_OR_RETURN(Node * copy, PartOf(device)->AddNode(std::move(spec)));
    copy->set_assigned_device(device);
    for (int i = 0; i < n->num_outputs(); ++i) {
      RETURN_IF_ERROR(PartOf(device)->RefineShape({copy, i}, n->output_shape(i)));
    }
    twin_[n->id()] = copy;
    return absl::OkStatus();
  }

  SourceLine SourceIn(Graph* part, const Node* n) {
    SourceLine s = n->info().source;
    if (s.file) s.file = part->Intern(*s.file);
    if (s.function) s.function = part->Intern(*s.function);
    return s;
  }

  // The tensor `e` as a node of `device` sees it.
  absl::StatusOr<Endpoint> Here(const Endpoint& e, const std::string& device) {
    const std::string& from = e.node->assigned_device();
    if (from == device) return Endpoint{twin_[e.node->id()], e.index};
    auto [it, fresh] = received_.try_emplace({{e.node->id(), e.index}, device}, nullptr);
    if (fresh) {
      ASSIGN_OR_RETURN(it->second, Transfer({twin_[e.node->id()], e.index}, e.node->output_shape(e.index), e.node, from, device,
                                            absl::StrCat("edge_", e.node->id(), "_", e.node->name(), ":", e.index)));
    }
    return Endpoint{received_[{{e.node->id(), e.index}, device}], 0};
  }

  absl::StatusOr<Node*> ControlHere(const Node* n, const std::string& device) {
    const std::string& from = n->assigned_device();
    if (from == device) return twin_[n->id()];
    std::pair<std::pair<int, int>, std::string> key{{n->id(), -1}, device};
    auto it = received_.find(key);
    if (it != received_.end()) return it->second;
    NodeSpec token{"Const", absl::StrCat(n->name(), "/_done"), {}, {twin_[n->id()]}, {}, "", {}};
    token.attrs = {{"value", *Tensor::Make(DType::kFloat, Shape({0}))}, {"dtype", DType::kFloat}};
    ASSIGN_OR_RETURN(Node * c, PartOf(from)->AddNodeUniqueName(std::move(token)));
    c->set_assigned_device(from);
    ASSIGN_OR_RETURN(Node * recv,
                     Transfer({c, 0}, Shape({0}), n, from, device, absl::StrCat("control_", n->id(), "_", n->name())));
    received_[key] = recv;
    return recv;
  }

  // Makes the pair; returns the _Recv.
  absl::StatusOr<Node*> Transfer(Endpoint what, const PartialShape& shape, const Node* origin, const std::string& from,
                                 const std::string& to, const std::string& edge) {
    DType dtype = BaseType(what.node->output_type(what.index));
    AttrMap attrs = {{"tensor_name", edge},
                     {"send_device", from},
                     {"send_device_incarnation", static_cast<int64_t>(incarnation_(from))},
                     {"recv_device", to},
                     {"shape", shape}};
    NodeSpec send{"_Send", absl::StrCat(origin->name(), "/_send"), {what}, {}, attrs, "", SourceIn(PartOf(from), origin)};
    ASSIGN_OR_RETURN(Node * s, PartOf(from)->AddNodeUniqueName(std::move(send)));
    s->set_assigned_device(from);
    attrs.Set("tensor_type", dtype);
    NodeSpec recv{"_Recv", absl::StrCat(origin->name(), "/_recv"), {}, {}, attrs, "", SourceIn(PartOf(to), origin)};
    ASSIGN_OR_RETURN(Node * r, PartOf(to)->AddNodeUniqueName(std::move(recv)));
    r->set_assigned_device(to);
    return r;
  }

  const Graph& graph_;
  const std::function<uint64_t(const std::string&)>& incarnation_;
  std::vector<Partition> parts_;
  absl::flat_hash_map<std::string, size_t> index_;
  std::vector<Node*> twin_;
  absl::flat_hash_map<std::pair<std::pair<int, int>, std::string>, Node*> received_;
};

}  // namespace

absl::StatusOr<std::vector<Partition>> PartitionGraph(const Graph& graph,
                                                      const std::function<uint64_t(const std::string&)>& incarnation) {
  return Partitioner(graph, incarnation).Run();
}

}  // namespace sluice
