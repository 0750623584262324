#include "runtime/executor/rewrites.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/status.h"

namespace sluice {

absl::Status InsertReadRefs(Graph* graph) {
  std::map<std::pair<std::pair<int, int>, std::vector<int>>, Node*> readers;
  for (Node* n : graph->nodes()) {
    for (int i = 0; i < n->num_inputs(); ++i) {
      const Endpoint from = n->input(i);
      if (!IsRefType(from.node->output_type(from.index)) || IsRefType(n->input_type(i))) continue;
      if (n->op().name == "_ReadRef") continue;
      std::vector<int> order;
      for (const Node* c : n->control_inputs()) order.push_back(c->id());
      Node*& reader = readers[{{from.node->id(), from.index}, order}];
      if (reader == nullptr) {
        NodeSpec spec;
        spec.op = "_ReadRef";
        spec.name = graph->UniqueName(absl::StrCat(from.node->name(), "/_read"));
        spec.inputs = {from};
        spec.control_inputs.assign(n->control_inputs().begin(), n->control_inputs().end());
        spec.attrs.Set("T", BaseType(from.node->output_type(from.index)));
        spec.attrs.Set("_class", std::vector<std::string>{absl::StrCat("loc:@", from.node->name())});
        spec.device = from.node->info().device;
        spec.source = n->info().source;
        ASSIGN_OR_RETURN(reader, graph->AddNode(std::move(spec)));
        reader->set_assigned_device(from.node->assigned_device());
      }
      RETURN_IF_ERROR(graph->UpdateInput(n, i, {reader, 0}));
    }
  }
  return absl::OkStatus();
}

void PruneTo(Graph* graph, absl::FunctionRef<bool(const Node&)> is_root) {
  std::vector<bool> needed(graph->num_node_ids(), false);
  std::vector<Node*> stack;
  auto need = [&](Node* n) {
    if (needed[n->id()]) return;
    needed[n->id()] = true;
    stack.push_back(n);
  };
  std::vector<Node*> nodes = graph->nodes();
  for (Node* n : nodes) {
    if (is_root(*n)) need(n);
  }
  while (!stack.empty()) {
    Node* n = stack.back();
    stack.pop_back();
    for (const Endpoint& in : n->inputs()) need(in.node);
    for (Node* c : n->control_inputs()) need(c);
  }
  absl::StatusOr<std::vector<Node*>> order = graph->TopologicalOrder();
  if (order.ok()) nodes = *std::move(order);
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
    if (!needed[(*it)->id()] && (*it)->out_edges().empty()) graph->RemoveNode(*it);
  }
}

}  // namespace sluice
