#include "compiler/simplify/common_subexpression.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "core/base/status.h"

namespace sluice {
namespace {

bool MayMerge(const Node& n) {
  return !n.Is(kStateful) && !n.Is(kSideEffect) && !n.Is(kSource) && !n.Is(kBlocking) && !n.Is(kBackEdge) &&
         !n.Is(kReadsState) && n.num_outputs() > 0;
}

std::vector<std::pair<int, int>> InputKey(const Node& n) {
  std::vector<std::pair<int, int>> key;
  for (const Endpoint& e : n.inputs()) key.emplace_back(e.node->id(), e.index);
  if (n.Is(kCommutative)) std::sort(key.begin(), key.end());
  return key;
}

std::vector<int> ControlKey(const Node& n) {
  std::vector<int> key;
  for (const Node* c : n.control_inputs()) key.push_back(c->id());
  std::sort(key.begin(), key.end());
  return key;
}

size_t Hash(const Node& n) {
  // Tensors are compared, not hashed: their text is short and tells most constants apart.
  std::string attrs;
  for (const auto& [name, value] : n.attrs()) {
    if (name[0] != '_') absl::StrAppend(&attrs, name, "=", value.ToString(), ";");
  }
  return absl::HashOf(&n.op(), InputKey(n), ControlKey(n), attrs);
}

bool SameAttrs(const Node& a, const Node& b) {
  auto plain = [](const Node& n) {
    AttrMap m;
    for (const auto& [name, value] : n.attrs()) {
      if (name[0] != '_') m.Set(name, value);
    }
    return m;
  };
  return plain(a) == plain(b);
}

bool Same(const Node& a, const Node& b) {
  return &a.op() == &b.op() && a.info().device == b.info().device && a.assigned_device() == b.assigned_device() &&
         InputKey(a) == InputKey(b) && ControlKey(a) == ControlKey(b) && SameAttrs(a, b);
}

}  // namespace

absl::StatusOr<bool> CommonSubexpression::Run(Graph* graph, const PassContext& context) const {
  ASSIGN_OR_RETURN(std::vector<Node*> order, graph->TopologicalOrder());
  absl::flat_hash_map<size_t, std::vector<Node*>> seen;
  bool changed = false;
  for (Node* n : order) {
    if (!MayMerge(*n)) continue;
    std::vector<Node*>& bucket = seen[Hash(*n)];
    auto twin = std::find_if(bucket.begin(), bucket.end(), [&](Node* other) { return Same(*other, *n); });
    if (twin == bucket.end()) {
      bucket.push_back(n);
      continue;
    }
    if (context.preserve.contains(n->name())) continue;
    for (int i = 0; i < n->num_outputs(); ++i) RETURN_IF_ERROR(graph->ReplaceEndpoint({n, i}, {*twin, i}));
    std::vector<Node*> after(n->control_outputs().begin(), n->control_outputs().end());
    for (Node* c : after) RETURN_IF_ERROR(graph->AddControlEdge(*twin, c));
    graph->RemoveNode(n);
    changed = true;
  }
  return changed;
}

}  // namespace sluice
