#include "runtime/partition/replicate.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_set.h"
#include "core/base/status.h"
#include "core/device/device_name.h"
#include "runtime/placer/cost_model.h"

namespace sluice {
namespace {

constexpr int kMaxCopiedNodes = 8;  // of one small graph

class Replicator {
 public:
  Replicator(Graph* graph, int64_t max_bytes) : graph_(*graph), max_bytes_(max_bytes) {}

  absl::Status Run() {
    ASSIGN_OR_RETURN(std::vector<Node*> order, graph_.TopologicalOrder());
    closed_.assign(graph_.num_node_ids(), Closed());
    for (const Node* n : order) Close(*n);
    // What crosses in any case.
    std::vector<std::pair<Node*, OutEdge>> candidates;
    for (Node* n : order) {
      const bool may_copy = closed_[n->id()].nodes > 0 || IsCheap(*n);
      for (const OutEdge& e : n->out_edges()) {
        if (e.to->assigned_device() == n->assigned_device()) continue;
        if (may_copy) {
          candidates.emplace_back(n, e);
        } else {
          crosses_.insert({{n, e.output}, &DeviceOf(*e.to)});
        }
      }
    }
    struct Change {
      Node* to;
      int input;
      Endpoint from;
    };
    std::vector<Change> changes;
    for (const auto& [n, e] : candidates) {
      const std::string& device = DeviceOf(*e.to);
      if (CanCopy(*n, device)) {
        ASSIGN_OR_RETURN(Node * copy, Copy(n, device));
        changes.push_back({e.to, e.input, {copy, e.output}});
      } else {
        crosses_.insert({{n, e.output}, &device});
      }
    }
    // From the last edge to the first, as Graph::UpdateInput is quick at the end of a list.
    for (auto it = changes.rbegin(); it != changes.rend(); ++it) {
      RETURN_IF_ERROR(graph_.UpdateInput(it->to, it->input, it->from));
    }
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      if (copied_.contains(*it) && (*it)->out_edges().empty() && (*it)->control_outputs().empty()) {
        graph_.RemoveNode(*it);
      }
    }
    return absl::OkStatus();
  }

 private:
  // Of a node that depends on constants only.
  struct Closed {
    int nodes = 0;  // 0: it does not
    int64_t bytes = 0;
  };

  // One string for each device, so that sets compare pointers.
  const std::string& DeviceOf(const Node& n) { return *devices_.insert(n.assigned_device()).first; }

  static bool IsPlain(const Node& n) {
    if (!n.control_inputs().empty() || n.num_outputs() == 0) return false;
    for (uint32_t trait :
         {kStateful, kSideEffect, kBlocking, kSource, kBackEdge, kReadsState, kWritesState, kHostOnly}) {
      if (n.Is(trait)) return false;
    }
    for (int i = 0; i < n.num_outputs(); ++i) {
      if (IsRefType(n.output_type(i)) || n.output_type(i) == DType::kResource) return false;
    }
    for (int i = 0; i < n.num_inputs(); ++i) {
      if (IsRefType(n.input_type(i))) return false;
    }
    return true;
  }
  static bool IsCheap(const Node& n) { return n.Is(kCheap) && n.num_inputs() > 0 && IsPlain(n); }

  void Close(const Node& n) {
    Closed c;
    if (n.Is(kConstant)) {
      if (!IsPlain(n)) return;
    } else if (!IsCheap(n)) {
      return;
    }
    c.nodes = 1;
    for (int i = 0; i < n.num_outputs(); ++i) c.bytes += CostModel::OutputBytes(n, i);
    for (const Endpoint& in : n.inputs()) {
      const Closed& input = closed_[in.node->id()];
      if (input.nodes == 0) return;
      c.nodes += input.nodes;
      c.bytes += input.bytes;
    }
    if (c.nodes <= kMaxCopiedNodes && c.bytes <= max_bytes_) closed_[n.id()] = c;
  }

  static bool SameType(const std::string& a, const std::string& b) {
    absl::StatusOr<DeviceName> x = DeviceName::Parse(a), y = DeviceName::Parse(b);
    return x.ok() && y.ok() && x->type == y->type;
  }

  bool CanCopy(const Node& n, const std::string& device) {
    if (n.Is(kConstant)) return true;
    // A kernel is certain only where the node has one now.
    if (!SameType(n.assigned_device(), device)) return false;
    if (closed_[n.id()].nodes > 0) return true;
    for (const Endpoint& in : n.inputs()) {
      if (closed_[in.node->id()].nodes > 0 || in.node->assigned_device() == device) continue;
      if (!crosses_.contains({in, &device})) return false;
    }
    return true;
  }

  absl::StatusOr<Node*> Copy(Node* n, const std::string& device) {
    auto known = copies_.find({n, &device});
    if (known != copies_.end()) return known->second;
    NodeSpec spec;
    spec.op = n->op().name;
    spec.name = absl::StrCat(n->name(), "/_copy");
    spec.source = n->info().source;
    spec.device = device;
    for (const auto& [name, value] : n->attrs()) {
      if (name != "_class") spec.attrs.Set(name, value);
    }
    for (const Endpoint& in : n->inputs()) {
      Endpoint from = in;
      if (in.node->assigned_device() != device && closed_[in.node->id()].nodes > 0) {
        ASSIGN_OR_RETURN(from.node, Copy(in.node, device));
      }
      spec.inputs.push_back(from);
    }
    ASSIGN_OR_RETURN(Node * copy, graph_.AddNodeUniqueName(std::move(spec)));
    copy->set_assigned_device(device);
    for (int i = 0; i < n->num_outputs(); ++i) RETURN_IF_ERROR(graph_.RefineShape({copy, i}, n->output_shape(i)));
    copied_.insert(n);
    copies_[{n, &device}] = copy;
    return copy;
  }

  Graph& graph_;
  const int64_t max_bytes_;
  std::vector<Closed> closed_;  // by node id, of the nodes there were
  absl::node_hash_set<std::string> devices_;
  absl::flat_hash_set<std::pair<Endpoint, const std::string*>> crosses_;
  absl::flat_hash_map<std::pair<Node*, const std::string*>, Node*> copies_;
  absl::flat_hash_set<const Node*> copied_;
};

}  // namespace

absl::Status ReplicateCheapNodes(Graph* graph, int64_t max_bytes) { return Replicator(graph, max_bytes).Run(); }

}  // namespace sluice
