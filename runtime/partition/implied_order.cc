#include "runtime/partition/implied_order.h"

#include <utility>
#include <vector>

#include "core/base/status.h"

namespace sluice {
namespace {

constexpr int kMaxSteps = 256;  // edges looked at for one control edge

class Search {
 public:
  Search(const Graph& graph, const std::vector<Node*>& order) : position_(graph.num_node_ids(), 0) {
    for (size_t i = 0; i < order.size(); ++i) position_[order[i]->id()] = static_cast<int>(i);
    seen_.assign(position_.size(), -1);
  }

  // Whether `n` comes after `c` without the control edge between them.
  bool Implied(const Node* c, const Node* n) {
    ++round_;
    steps_ = 0;
    queue_.clear();
    if (Expand(n, c, n)) return true;
    for (size_t at = 0; at < queue_.size() && steps_ < kMaxSteps; ++at) {
      if (Expand(queue_[at], c, nullptr)) return true;
    }
    return false;
  }

 private:
  // Adds what `m` waits for; true when that is `c`. `direct`: the node whose control edge from c does not count.
  bool Expand(const Node* m, const Node* c, const Node* direct) {
    for (const Endpoint& in : m->inputs()) {
      if (++steps_ > kMaxSteps) return false;
      if (in.node->Is(kBackEdge)) continue;
      if (in.node == c) return true;
      Add(in.node, c);
    }
    for (const Node* before : m->control_inputs()) {
      if (++steps_ > kMaxSteps) return false;
      if (before == c) {
        if (m != direct) return true;
        continue;
      }
      Add(before, c);
    }
    return false;
  }

  void Add(const Node* m, const Node* c) {
    // A constant has its value before the step begins, so it says nothing about order.
    if (m->Is(kConstant) || position_[m->id()] < position_[c->id()] || seen_[m->id()] == round_) return;
    seen_[m->id()] = round_;
    queue_.push_back(m);
  }

  std::vector<int> position_;  // by node id, in topological order
  std::vector<int> seen_;
  std::vector<const Node*> queue_;
  int round_ = 0;
  int steps_ = 0;
};

}  // namespace

absl::Status DropImpliedOrder(Graph* graph) {
  ASSIGN_OR_RETURN(std::vector<Node*> order, graph->TopologicalOrder());
  Search search(*graph, order);
  // An edge is implied by paths of edges that stay or are implied themselves, so all may go at once.
  std::vector<std::pair<Node*, Node*>> implied;
  for (Node* n : order) {
    for (Node* c : n->control_inputs()) {
      if (c->assigned_device() == n->assigned_device()) continue;
      const bool nothing = c->Is(kConstant) && c->control_inputs().empty();
      if (nothing || search.Implied(c, n)) implied.emplace_back(c, n);
    }
  }
  for (auto it = implied.rbegin(); it != implied.rend(); ++it) graph->RemoveControlEdge(it->first, it->second);
  return absl::OkStatus();
}

}  // namespace sluice
