#include "runtime/partition/late_receives.h"

#include <algorithm>
#include <string>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// A receive begins this many times its own duration before it must.
constexpr double kHeadStart = 2;

class Delayer {
 public:
  Delayer(Graph* graph, const std::vector<std::pair<Node*, Node*>>& transfers, const CostModel& costs,
          const Topology& topology)
      : graph_(*graph), transfers_(transfers), costs_(costs), topology_(topology) {}

  absl::Status Run(int64_t min_bytes) {
    ASSIGN_OR_RETURN(std::vector<Node*> order, Order());
    RETURN_IF_ERROR(Durations(order));
    Times(order);
    CollectAnchors(order);
    for (const auto& [send, recv] : transfers_) {
      if (CostModel::OutputBytes(*recv, 0) < min_bytes) continue;
      const double must_begin = late_[recv->id()] - duration_[recv->id()];
      Node* anchor = LastBefore(recv->assigned_device(), must_begin - kHeadStart * duration_[recv->id()]);
      // What is sent later than the anchor ends needs no delay.
      if (anchor == nullptr || early_[anchor->id()] <= early_[send->id()]) continue;
      RETURN_IF_ERROR(graph_.AddControlEdge(anchor, recv));
    }
    return absl::OkStatus();
  }

 private:
  // Topological, with each receive after its send.
  absl::StatusOr<std::vector<Node*>> Order() {
    partner_.assign(graph_.num_node_ids(), nullptr);
    for (const auto& [send, recv] : transfers_) {
      partner_[send->id()] = recv;
      partner_[recv->id()] = send;
    }
    std::vector<int> pending(graph_.num_node_ids(), 0);
    std::vector<Node*> order;
    const std::vector<Node*> nodes = graph_.nodes();
    for (Node* n : nodes) {
      int& count = pending[n->id()];
      count = static_cast<int>(n->control_inputs().size());
      for (const Endpoint& e : n->inputs()) count += !e.node->Is(kBackEdge);
      if (IsReceive(*n)) ++count;
      if (count == 0) order.push_back(n);
    }
    for (size_t at = 0; at < order.size(); ++at) {
      ForEachSuccessor(*order[at], [&](Node* to) {
        if (--pending[to->id()] == 0) order.push_back(to);
      });
    }
    if (order.size() != nodes.size()) return InvalidArgument("the graph has a cycle across devices");
    return order;
  }

  bool IsReceive(const Node& n) const { return partner_[n.id()] != nullptr && n.num_inputs() == 0; }

  template <typename F>
  void ForEachSuccessor(const Node& n, F f) const {
    if (!n.Is(kBackEdge)) {
      for (const OutEdge& e : n.out_edges()) f(e.to);
    }
    for (Node* c : n.control_outputs()) f(c);
    if (partner_[n.id()] != nullptr && !IsReceive(n)) f(partner_[n.id()]);
  }

  absl::Status Durations(const std::vector<Node*>& order) {
    absl::flat_hash_map<std::string, DeviceName> names;
    duration_.assign(graph_.num_node_ids(), 0);
    for (const Node* n : order) {
      auto [it, fresh] = names.try_emplace(n->assigned_device());
      if (fresh) {
        ASSIGN_OR_RETURN(it->second, DeviceName::Parse(n->assigned_device()));
      }
    }
    for (const Node* n : order) {
      const DeviceName& device = names.at(n->assigned_device());
      double& ns = duration_[n->id()];
      if (partner_[n->id()] == nullptr) {
        ns = costs_.ComputeNs(*n, device.type.value_or(""));
      } else if (IsReceive(*n)) {
        const DeviceName& from = names.at(partner_[n->id()]->assigned_device());
        ns = topology_.Between(from, device).NsFor(CostModel::OutputBytes(*n, 0));
      }
    }
    return absl::OkStatus();
  }

  // When each node is over: at the earliest, and at the latest.
  void Times(const std::vector<Node*>& order) {
    early_.assign(duration_.size(), 0);
    double makespan = 0;
    for (const Node* n : order) {
      early_[n->id()] += duration_[n->id()];
      makespan = std::max(makespan, early_[n->id()]);
      ForEachSuccessor(*n, [&](const Node* to) { early_[to->id()] = std::max(early_[to->id()], early_[n->id()]); });
    }
    late_.assign(duration_.size(), makespan);
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      double& late = late_[(*it)->id()];
      ForEachSuccessor(**it, [&](const Node* to) { late = std::min(late, late_[to->id()] - duration_[to->id()]); });
    }
  }

  // Nodes that a receive may wait for: they take time and do not wait themselves.
  void CollectAnchors(const std::vector<Node*>& order) {
    for (Node* n : order) {
      if (partner_[n->id()] != nullptr || n->Is(kBlocking) || n->Is(kCheap) || n->Is(kSource) || n->Is(kConstant)) {
        continue;
      }
      if (duration_[n->id()] > 0) anchors_[n->assigned_device()].push_back(n);
    }
    for (auto& [device, nodes] : anchors_) {
      std::sort(nodes.begin(), nodes.end(), [&](const Node* a, const Node* b) {
        return std::make_tuple(late_[a->id()], a->id()) < std::make_tuple(late_[b->id()], b->id());
      });
    }
  }

  // The anchor that is over last, at the latest, among those over by `time`. All edges added agree with one schedule
  // (everything at its latest), hence close no cycle and do not lengthen the critical path.
  Node* LastBefore(const std::string& device, double time) const {
    auto it = anchors_.find(device);
    if (it == anchors_.end()) return nullptr;
    auto after = std::upper_bound(it->second.begin(), it->second.end(), time,
                                  [&](double t, const Node* n) { return t < late_[n->id()]; });
    return after == it->second.begin() ? nullptr : *std::prev(after);
  }

  Graph& graph_;
  const std::vector<std::pair<Node*, Node*>>& transfers_;
  const CostModel& costs_;
  const Topology& topology_;
  std::vector<Node*> partner_;  // by node id: the other half of a transfer
  std::vector<double> duration_, early_, late_;
  absl::flat_hash_map<std::string, std::vector<Node*>> anchors_;  // by device, by latest end
};

}  // namespace

absl::Status DelayReceives(Graph* graph, const std::vector<std::pair<Node*, Node*>>& transfers, int64_t min_bytes,
                           const CostModel& costs, const Topology& topology) {
  return Delayer(graph, transfers, costs, topology).Run(min_bytes);
}

}  // namespace sluice
