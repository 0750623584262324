#include "compiler/simplify/prune.h"

#include "core/base/status.h"

namespace sluice {

absl::StatusOr<bool> Prune::Run(Graph* graph, const PassContext& context) const {
  std::vector<bool> needed(graph->num_node_ids(), false);
  std::vector<Node*> stack;
  auto need = [&](Node* n) {
    if (!needed[n->id()]) {
      needed[n->id()] = true;
      stack.push_back(n);
    }
  };
  for (const std::string& name : context.preserve) {
    if (Node* n = graph->Find(name)) need(n);
  }
  while (!stack.empty()) {
    Node* n = stack.back();
    stack.pop_back();
    for (const Endpoint& e : n->inputs()) need(e.node);
    for (Node* c : n->control_inputs()) need(c);
  }
  // Consumers first, so that a node has no reader left when its turn comes.
  ASSIGN_OR_RETURN(std::vector<Node*> order, graph->TopologicalOrder());
  bool changed = false;
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    Node* n = *it;
    if (needed[n->id()] || !n->out_edges().empty()) continue;
    graph->RemoveNode(n);
    changed = true;
  }
  return changed;
}

}  // namespace sluice
