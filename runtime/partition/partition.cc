#include "runtime/partition/partition.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/base/status.h"
#include "core/types/tensor.h"
#include "runtime/partition/implied_order.h"
#include "runtime/partition/late_receives.h"
#include "runtime/partition/replicate.h"

namespace sluice {
namespace {

// A tensor that crosses anyway tells at no cost that its maker has run, unless it takes long itself.
constexpr int64_t kQuickBytes = 64 << 10;

class Splitter {
 public:
  Splitter(Graph* graph, const std::function<uint64_t(const std::string&)>& incarnation,
           const PartitionOptions& options)
      : graph_(*graph), incarnation_(incarnation), options_(options) {}

  absl::Status Run() {
    const std::vector<Node*> nodes = graph_.nodes();
    for (Node* n : nodes) device_[n] = &*devices_.insert(n->assigned_device()).first;
    RETURN_IF_ERROR(MoveData(nodes));
    RETURN_IF_ERROR(MoveOrder(nodes));
    if (options_.late_receive_bytes < 0) return absl::OkStatus();
    const CostModel estimates;
    const Topology nearness;
    return DelayReceives(&graph_, transfers_, options_.late_receive_bytes,
                         options_.costs != nullptr ? *options_.costs : estimates,
                         options_.topology != nullptr ? *options_.topology : nearness);
  }

 private:
  using Device = const std::string*;  // one string for each device

  absl::Status MoveData(const std::vector<Node*>& nodes) {
    std::vector<Graph::InputChange> changes;
    for (Node* n : nodes) {
      for (int i = 0; i < n->num_inputs(); ++i) {
        const Endpoint from = n->input(i);
        if (device_[from.node] == device_[n]) continue;
        if (IsRefType(n->input_type(i))) {
          return InvalidArgument(n->info().Describe(), " on ", n->assigned_device(), " needs the reference of '",
                                 from.node->name(), "' on ", from.node->assigned_device(),
                                 ": a reference cannot leave its device");
        }
        ASSIGN_OR_RETURN(Node * received, Receive(from, device_[n]));
        changes.push_back({n, i, {received, 0}});
      }
    }
    return graph_.UpdateInputs(changes);
  }

  // What one node waits for on one other device, besides what tells of itself.
  struct Wait {
    Node* node;
    std::vector<Node*> befores;  // by id
  };

  absl::Status MoveOrder(const std::vector<Node*>& nodes) {
    std::map<std::pair<Device, Device>, std::vector<Wait>> waits;  // (from, to)
    std::vector<std::pair<Node*, Node*>> removed, added;
    for (Node* n : nodes) {
      const Device to = device_[n];
      std::map<Device, std::vector<Node*>> befores;
      for (Node* c : n->control_inputs()) {
        auto home = device_.find(c);
        if (home == device_.end() || home->second == to) continue;
        removed.emplace_back(c, n);
        if (Node* received = ReceivedAnyway(c, to)) {
          added.emplace_back(received, n);
        } else {
          befores[home->second].push_back(c);
        }
      }
      for (auto& [from, list] : befores) {
        std::sort(list.begin(), list.end(), [](const Node* a, const Node* b) { return a->id() < b->id(); });
        waits[{from, to}].push_back({n, std::move(list)});
      }
    }
    for (auto it = removed.rbegin(); it != removed.rend(); ++it) graph_.RemoveControlEdge(it->first, it->second);
    // In order of names, not of addresses.
    std::map<std::pair<std::string, std::string>, const std::vector<Wait>*> sorted;
    for (const auto& [pair, list] : waits) sorted[{*pair.first, *pair.second}] = &list;
    for (const auto& [pair, list] : sorted) RETURN_IF_ERROR(MoveWaits(*list, &added));
    for (const auto& [from, to] : added) RETURN_IF_ERROR(graph_.AddControlEdge(from, to));
    return absl::OkStatus();
  }

  Node* ReceivedAnyway(const Node* c, Device to) const {
    for (int i = 0; i < c->num_outputs(); ++i) {
      auto it = receivers_.find({{const_cast<Node*>(c), i}, to});
      if (it != receivers_.end() && CostModel::OutputBytes(*c, i) <= kQuickBytes) return it->second;
    }
    return nullptr;
  }

  // One token for each set of nodes that somebody waits for; one for each node where that makes fewer.
  absl::Status MoveWaits(const std::vector<Wait>& waits, std::vector<std::pair<Node*, Node*>>* added) {
    absl::flat_hash_set<Node*> alone, all;
    std::set<std::vector<Node*>> together;
    for (const Wait& w : waits) {
      all.insert(w.befores.begin(), w.befores.end());
      if (w.befores.size() == 1) alone.insert(w.befores[0]);
    }
    auto has_alone = [&](const std::vector<Node*>& set) {
      return std::all_of(set.begin(), set.end(), [&](Node* n) { return alone.contains(n); });
    };
    for (const Wait& w : waits) {
      if (!has_alone(w.befores)) together.insert(w.befores);
    }
    const bool each = alone.size() + together.size() > all.size();
    std::map<std::vector<Node*>, Node*> tokens;
    auto token = [&](const std::vector<Node*>& befores, Device to) -> absl::StatusOr<Node*> {
      Node*& recv = tokens[befores];
      if (recv == nullptr) {
        ASSIGN_OR_RETURN(recv, Token(befores, to));
      }
      return recv;
    };
    for (const Wait& w : waits) {
      if (each || has_alone(w.befores)) {
        for (Node* c : w.befores) {
          ASSIGN_OR_RETURN(Node * recv, token({c}, device_[w.node]));
          added->emplace_back(recv, w.node);
        }
      } else {
        ASSIGN_OR_RETURN(Node * recv, token(w.befores, device_[w.node]));
        added->emplace_back(recv, w.node);
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Node*> Add(NodeSpec spec, const std::string& device) {
    spec.device = device;
    ASSIGN_OR_RETURN(Node * n, graph_.AddNodeUniqueName(std::move(spec)));
    n->set_assigned_device(device);
    return n;
  }

  struct Transfer {
    Endpoint from;
    std::vector<Node*> after;
    std::string edge;  // its name, unique among tensors between the two devices
    std::string send_name, recv_name;
    SourceLine source;
  };
  absl::StatusOr<Node*> AddTransfer(Transfer t, Device to) {
    const std::string& home = t.from.node->assigned_device();
    auto common = [&](NodeSpec* spec) {
      spec->source = t.source;
      spec->attrs.Set("tensor_name", t.edge);
      spec->attrs.Set("send_device", home);
      spec->attrs.Set("send_device_incarnation", static_cast<int64_t>(incarnation_(home)));
      spec->attrs.Set("recv_device", *to);
      spec->attrs.Set("shape", t.from.node->output_shape(t.from.index));
    };
    NodeSpec send;
    send.op = "_Send";
    send.name = std::move(t.send_name);
    send.inputs = {t.from};
    send.control_inputs = std::move(t.after);
    common(&send);
    ASSIGN_OR_RETURN(Node * sender, Add(std::move(send), home));
    NodeSpec receive;
    receive.op = "_Recv";
    receive.name = std::move(t.recv_name);
    receive.attrs.Set("tensor_type", BaseType(t.from.node->output_type(t.from.index)));
    common(&receive);
    ASSIGN_OR_RETURN(Node * receiver, Add(std::move(receive), *to));
    transfers_.emplace_back(sender, receiver);
    return receiver;
  }

  // The node of `to` that stands for the tensor there.
  absl::StatusOr<Node*> Receive(const Endpoint& from, Device to) {
    Node*& known = receivers_[{from, to}];
    if (known != nullptr) return known;
    const std::string& name = from.node->name();
    Transfer t;
    t.from = from;
    t.edge = absl::StrCat(name, ":", from.index);
    t.send_name = absl::StrCat(name, "/_send_", from.index);
    t.recv_name = absl::StrCat(name, "/_recv_", from.index);
    t.source = from.node->info().source;
    const bool narrow = options_.bfloat16_transfers && from.node->output_type(from.index) == DType::kFloat;
    if (narrow) {
      Node*& cast = narrow_[from];
      if (cast == nullptr) {
        ASSIGN_OR_RETURN(cast, Cast(from, DType::kBfloat16, absl::StrCat(name, "/_to_bfloat16_", from.index),
                                    from.node->assigned_device()));
      }
      t.from = {cast, 0};
    }
    ASSIGN_OR_RETURN(Node * received, AddTransfer(std::move(t), to));
    if (narrow) {
      ASSIGN_OR_RETURN(received,
                       Cast({received, 0}, DType::kFloat, absl::StrCat(name, "/_from_bfloat16_", from.index), *to));
    }
    return receivers_[{from, to}] = received;
  }

  absl::StatusOr<Node*> Cast(const Endpoint& from, DType to, std::string name, const std::string& device) {
    NodeSpec cast;
    cast.op = "Cast";
    cast.name = std::move(name);
    cast.inputs = {from};
    cast.attrs.Set("DstT", to);
    cast.attrs.Set("Truncate", true);
    cast.source = from.node->info().source;
    return Add(std::move(cast), device);
  }

  // Says on `to` that all of `befores`, of one device, have run.
  absl::StatusOr<Node*> Token(const std::vector<Node*>& befores, Device to) {
    const Node* first = befores[0];
    Node*& nothing = nothing_[device_[first]];
    if (nothing == nullptr) {
      NodeSpec spec;
      spec.op = "Const";
      spec.name = "_done";
      spec.attrs.Set("value", Tensor::Vector<uint8_t>({}));
      spec.attrs.Set("dtype", DType::kUint8);
      ASSIGN_OR_RETURN(nothing, Add(std::move(spec), first->assigned_device()));
    }
    Transfer t;
    t.from = {nothing, 0};
    t.after = befores;
    t.edge = absl::StrCat("^", first->name());
    for (size_t i = 1; i < befores.size(); ++i) absl::StrAppend(&t.edge, ",^", befores[i]->name());
    // A long list is told apart by a number.
    if (t.edge.size() > 200) t.edge = absl::StrCat("^", first->name(), ",...", ++long_edges_);
    t.send_name = absl::StrCat(first->name(), "/_done_send");
    t.recv_name = absl::StrCat(first->name(), "/_done_recv");
    t.source = first->info().source;
    return AddTransfer(std::move(t), to);
  }

  Graph& graph_;
  const std::function<uint64_t(const std::string&)>& incarnation_;
  const PartitionOptions& options_;
  std::set<std::string> devices_;
  absl::flat_hash_map<const Node*, Device> device_;  // of the nodes there were
  absl::flat_hash_map<std::pair<Endpoint, Device>, Node*> receivers_;
  absl::flat_hash_map<Endpoint, Node*> narrow_;
  absl::flat_hash_map<Device, Node*> nothing_;
  std::vector<std::pair<Node*, Node*>> transfers_;  // _Send, _Recv
  int long_edges_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<Partition>> PartitionGraph(
    std::unique_ptr<Graph> graph, const std::function<uint64_t(const std::string& device)>& incarnation,
    const PartitionOptions& options) {
  std::set<std::string> devices;
  for (Node* n : graph->nodes()) {
    if (n->assigned_device().empty()) return Internal(n->info().Describe(), " has no device");
    devices.insert(n->assigned_device());
  }
  std::vector<Partition> partitions;
  if (devices.size() <= 1) {
    partitions.push_back({devices.empty() ? "" : *devices.begin(), std::move(graph)});
    return partitions;
  }
  if (options.replicate_bytes > 0) RETURN_IF_ERROR(ReplicateCheapNodes(graph.get(), options.replicate_bytes));
  if (options.drop_implied_order) RETURN_IF_ERROR(DropImpliedOrder(graph.get()));
  RETURN_IF_ERROR(Splitter(graph.get(), incarnation, options).Run());
  std::vector<const std::string*> home(graph->num_node_ids(), nullptr);
  for (const Node* n : graph->nodes()) home[n->id()] = &*devices.find(n->assigned_device());
  for (const std::string& device : devices) {
    ASSIGN_OR_RETURN(std::unique_ptr<Graph> part, graph->Clone([&](const Node& n) { return home[n.id()] == &device; }));
    if (part->num_nodes() > 0) partitions.push_back({device, std::move(part)});
  }
  return partitions;
}

}  // namespace sluice
