#include "compiler/fusion/element_wise.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "compiler/fusion/group.h"
#include "core/base/status.h"

namespace sluice {
namespace {

class Fuser {
 public:
  Fuser(Graph* graph, const PassContext& context, const ElementWiseFusion::CanRunFused& can_run_fused)
      : graph_(graph), context_(context), can_run_fused_(can_run_fused) {}

  absl::StatusOr<bool> Run() {
    ASSIGN_OR_RETURN(order_, graph_->TopologicalOrder());
    for (size_t i = 0; i < order_.size(); ++i) position_[order_[i]] = static_cast<int>(i);
    bool changed = false;
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      if (taken_.contains(*it) || !IsCandidate(**it)) continue;
      std::vector<Node*> members = Grow(*it);
      if (members.size() < 2) continue;
      RETURN_IF_ERROR(Replace(members));
      changed = true;
    }
    return changed;
  }

 private:
  bool IsCandidate(const Node& n) const {
    if (!IsFreeToFuse(n, context_)) return false;
    if (IsRowBias(n)) return true;
    if (!n.Is(kElementwise) || n.Is(kStateful) || n.Is(kSideEffect) || n.op().name == "_Fused") return false;
    return can_run_fused_(n.info());
  }

  // Of the same shape as far as is known; of what is unknown, the same must be unknown.
  static bool SameShape(const Node& a, const Node& b) { return a.output_shape(0) == b.output_shape(0); }

  std::vector<Node*> Grow(Node* root) {
    std::vector<Node*> members = {root};
    absl::flat_hash_set<const Node*> in = {root};
    // Members are looked at in the order in which they joined; their producers are tried, latest first.
    for (bool grown = true; grown && static_cast<int>(members.size()) < kMaxFusedMembers;) {
      grown = false;
      Node* best = nullptr;
      for (Node* m : members) {
        for (const Endpoint& e : m->inputs()) {
          Node* p = e.node;
          if (in.contains(p) || taken_.contains(p) || refused_.contains({p, root})) continue;
          if (best != nullptr && position_[p] <= position_[best]) continue;
          if (MayJoin(*p, in, *root)) best = p;
        }
      }
      if (best == nullptr) break;
      members.push_back(best);
      in.insert(best);
      if (FitsFusedKernel(InOrder(members))) {
        grown = true;
      } else {
        members.pop_back();
        in.erase(best);
        refused_.insert({best, root});
        grown = true;
      }
    }
    return members;
  }

  bool MayJoin(const Node& p, const absl::flat_hash_set<const Node*>& in, const Node& root) const {
    if (!SameShape(p, root) || !IsCandidate(p)) return false;
    return std::all_of(p.out_edges().begin(), p.out_edges().end(), [&](const OutEdge& e) { return in.contains(e.to); });
  }

  std::vector<Node*> InOrder(std::vector<Node*> members) {
    std::sort(members.begin(), members.end(), [&](Node* a, Node* b) { return position_[a] < position_[b]; });
    return members;
  }

  absl::Status Replace(const std::vector<Node*>& members) {
    const std::vector<Node*> order = InOrder(members);
    for (Node* n : order) {
      taken_.insert(n);
      position_.erase(n);
    }
    return ReplaceByFused(graph_, order, "_Fused", {}).status();
  }

  Graph* graph_;
  const PassContext& context_;
  const ElementWiseFusion::CanRunFused& can_run_fused_;
  std::vector<Node*> order_;
  absl::flat_hash_map<const Node*, int> position_;
  absl::flat_hash_set<const Node*> taken_;  // gone into a group
  absl::flat_hash_set<std::pair<const Node*, const Node*>> refused_;
};

}  // namespace

absl::StatusOr<bool> ElementWiseFusion::Run(Graph* graph, const PassContext& context) const {
  return Fuser(graph, context, can_run_fused_).Run();
}

}  // namespace sluice
