#include "compiler/simplify/dependency.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// Its inputs need not all be there when it runs, or it runs once for many of their values.
bool IsBarrier(const Node& n) {
  if (n.Is(kBackEdge)) return true;
  const absl::string_view op = n.op().name;
  for (absl::string_view barrier : {"Merge", "RefMerge", "Enter", "RefEnter", "Exit", "RefExit", "NextIteration"}) {
    if (op == barrier) return true;
  }
  return false;
}

class Reducer {
 public:
  explicit Reducer(Graph* graph) : graph_(graph), seen_(graph->num_node_ids(), 0), place_(graph->num_node_ids(), 0) {}

  absl::StatusOr<bool> Run() {
    ASSIGN_OR_RETURN(const std::vector<Node*> order, graph_->TopologicalOrder());
    int64_t edges = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      place_[order[i]->id()] = static_cast<int>(i);
      edges += order[i]->num_inputs() + static_cast<int64_t>(order[i]->control_inputs().size());
    }
    // Edges that are left beyond this cost little; looking for all of them in a large graph can cost its square.
    budget_ = 100'000 + 20 * edges;
    bool changed = false;
    for (Node* n : order) {
      if (!n->control_inputs().empty()) changed |= Reduce(n);
    }
    return changed;
  }

 private:
  bool Reduce(Node* n) {
    const std::vector<Node*> before(n->control_inputs().begin(), n->control_inputs().end());
    // A Merge that waits for one more node does wait for it.
    if (!IsBarrier(*n)) MarkAncestors(*n);
    bool changed = false;
    for (Node* c : before) {
      const bool idle = c->Is(kConstant) && c->control_inputs().empty();
      if (!idle && seen_[c->id()] != round_) continue;
      graph_->RemoveControlEdge(c, n);
      changed = true;
    }
    ++round_;
    return changed;
  }

  // Marks what n reads, and what anything that n waits for waits for in turn; not what is above all control inputs.
  void MarkAncestors(const Node& n) {
    int top = std::numeric_limits<int>::max();
    for (const Node* c : n.control_inputs()) top = std::min(top, place_[c->id()]);
    std::vector<const Node*> stack;
    auto mark = [&](const Node* m) {
      if (seen_[m->id()] == round_ || place_[m->id()] < top) return;
      seen_[m->id()] = round_;
      stack.push_back(m);
    };
    auto mark_inputs = [&](const Node& m) {
      for (const Endpoint& e : m.inputs()) mark(e.node);
      for (const Node* c : m.control_inputs()) mark(c);
    };
    for (const Endpoint& e : n.inputs()) mark(e.node);
    for (const Node* c : n.control_inputs()) {
      if (place_[c->id()] > top && !IsBarrier(*c)) mark_inputs(*c);
    }
    while (!stack.empty() && --budget_ > 0) {
      const Node* m = stack.back();
      stack.pop_back();
      if (!IsBarrier(*m)) mark_inputs(*m);
    }
  }

  Graph* graph_;
  std::vector<int> seen_;   // the round in which a node was marked, by id
  std::vector<int> place_;  // in topological order, by id
  int round_ = 1;
  int64_t budget_ = 0;
};

}  // namespace

absl::StatusOr<bool> DependencyReduction::Run(Graph* graph, const PassContext& context) const {
  return Reducer(graph).Run();
}

}  // namespace sluice
