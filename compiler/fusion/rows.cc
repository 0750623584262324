#include "compiler/fusion/rows.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// Rows that are longer leave the caches near the core; the kernel refuses them too.
constexpr int64_t kMaxRow = 8192;

const PartialShape& ShapeOf(const Endpoint& e) { return e.node->output_shape(e.index); }

// Rows of n elements, as many as the shape `lead` says; n is 0 until a member has told.
struct Rows {
  std::vector<int64_t> lead;
  int64_t n = 0;

  // Whether `s` is [lead, last].
  bool Has(const PartialShape& s, int64_t last) const {
    return s.known_rank() && s.rank() == static_cast<int>(lead.size()) + 1 && s.dim(s.rank() - 1) == last &&
           std::equal(lead.begin(), lead.end(), s.dims().begin());
  }
};

int64_t LastOf(const PartialShape& s) { return s.rank() == 0 ? 1 : s.dim(s.rank() - 1); }

class Fuser {
 public:
  Fuser(Graph* graph, const PassContext& context, const NodePredicate& element_wise, const NodePredicate& reduction)
      : graph_(graph), context_(context), element_wise_(element_wise), reduction_(reduction) {}

  absl::StatusOr<bool> Run() {
    ASSIGN_OR_RETURN(std::vector<Node*> order, graph_->TopologicalOrder());
    for (size_t i = 0; i < order.size(); ++i) position_[order[i]] = static_cast<int>(i);
    // Only what element-wise ops make of a reduction can be the end of a group.
    absl::flat_hash_set<const Node*> after_reduction;
    for (const Node* n : order) {
      const bool follows =
          n->Is(kElementwise) && std::any_of(n->inputs().begin(), n->inputs().end(),
                                             [&](const Endpoint& e) { return after_reduction.contains(e.node); });
      if (follows || IsReduction(*n)) after_reduction.insert(n);
    }
    bool changed = false;
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      if (gone_.contains(*it) || !after_reduction.contains(*it)) continue;
      std::vector<Node*> members = Grow(*it);
      if (members.size() < 2) continue;
      RETURN_IF_ERROR(Replace(members));
      changed = true;
    }
    return changed;
  }

 private:
  bool IsElementWise(const Node& n) const {
    if (IsRowBias(n)) return true;
    return n.Is(kElementwise) && !n.Is(kStateful) && !n.Is(kSideEffect) && n.op().name != "_Fused" &&
           element_wise_(n.info());
  }
  // Over the last axis alone.
  bool IsReduction(const Node& n) const {
    if (n.num_inputs() != 2 || n.num_outputs() != 1 || n.Is(kElementwise) || !n.input(1).node->Is(kConstant))
      return false;
    if (n.attrs().Find("keep_dims") == nullptr || !reduction_(n.info())) return false;
    const AttrValue* value = n.input(1).node->attrs().Find("value");
    const Tensor* axes = value == nullptr ? nullptr : value->As<Tensor>();
    const PartialShape& s = ShapeOf(n.input(0));
    if (axes == nullptr || axes->num_elements() != 1 || axes->rank() > 1 || !s.known_rank() || s.rank() < 1)
      return false;
    return axes->IntAt(0) == -1 || axes->IntAt(0) == s.rank() - 1;
  }
  static bool IsRowLength(int64_t n) { return n >= 2 && n <= kMaxRow; }

  // Whether n's result belongs to rows; may tell how long they are.
  bool Belongs(const Node& n, Rows* rows) const {
    if (!IsFreeToFuse(n, context_)) return false;
    if (IsReduction(n)) {
      const int64_t length = LastOf(ShapeOf(n.input(0)));
      if (!IsRowLength(length) || (rows->n != 0 && rows->n != length)) return false;
      if (!rows->Has(ShapeOf(n.input(0)), length) || !rows->Has(n.output_shape(0), 1)) return false;
      rows->n = length;
      return true;
    }
    const PartialShape& s = n.output_shape(0);
    if (!s.known_rank() || s.rank() == 0 || !rows->Has(s, LastOf(s))) return false;
    if (LastOf(s) != 1 && LastOf(s) != rows->n) return false;
    for (const Endpoint& e : n.inputs()) {
      if (!ShapeOf(e).known_rank() || (LastOf(ShapeOf(e)) != 1 && LastOf(ShapeOf(e)) != LastOf(s))) return false;
    }
    return IsElementWise(n);  // last: it may make a kernel to ask
  }

  bool StartAt(const Node& root, Rows* rows) const {
    const bool reduction = IsReduction(root);
    const PartialShape& s = reduction ? ShapeOf(root.input(0)) : root.output_shape(0);
    if (!s.known_rank() || s.rank() == 0) return false;
    rows->lead.assign(s.dims().begin(), s.dims().end() - 1);
    const int64_t last = LastOf(s);
    if (IsRowLength(last)) {
      rows->n = last;
    } else if (reduction || last != 1) {
      return false;
    }
    // The axis may be gone from the result of the last reduction.
    if (reduction && IsFreeToFuse(root, context_)) return true;
    return Belongs(root, rows);
  }

  // The nodes of a group with this output in topological order; fewer than two when there is none.
  std::vector<Node*> Grow(Node* root) {
    Rows rows;
    if (!StartAt(*root, &rows)) return {};
    std::vector<Node*> members = {root};
    absl::flat_hash_set<const Node*> in = {root}, refused;
    while (static_cast<int>(members.size()) < kMaxFusedMembers) {
      Node* best = nullptr;
      Rows with_best;
      for (Node* m : members) {
        for (int k = 0; k < NumFusedOperands(*m); ++k) {
          Node* p = m->input(k).node;
          if (in.contains(p) || refused.contains(p) || gone_.contains(p)) continue;
          if (best != nullptr && position_[p] <= position_[best]) continue;
          Rows with_p = rows;
          const bool joins = Belongs(*p, &with_p) && std::all_of(p->out_edges().begin(), p->out_edges().end(),
                                                                 [&](const OutEdge& e) { return in.contains(e.to); });
          if (!joins) continue;
          best = p;
          with_best = with_p;
        }
      }
      if (best == nullptr) break;
      members.push_back(best);
      if (FitsFusedKernel(InOrder(members))) {
        in.insert(best);
        rows = with_best;
      } else {
        members.pop_back();
        refused.insert(best);
      }
    }
    if (std::none_of(members.begin(), members.end(), [&](const Node* n) { return IsReduction(*n); })) return {};
    return InOrder(members);
  }

  std::vector<Node*> InOrder(std::vector<Node*> members) {
    std::sort(members.begin(), members.end(), [&](Node* a, Node* b) { return position_[a] < position_[b]; });
    return members;
  }

  absl::Status Replace(const std::vector<Node*>& order) {
    const Node* root = order.back();
    std::vector<Node*> axes;
    int64_t n = 0;
    bool keep_dims = true;
    for (Node* m : order) {
      gone_.insert(m);
      position_.erase(m);
      if (!IsReduction(*m)) continue;
      n = LastOf(ShapeOf(m->input(0)));
      if (m == root) keep_dims = m->output_shape(0).rank() == ShapeOf(m->input(0)).rank();
      Node* a = m->input(1).node;
      if (std::find(axes.begin(), axes.end(), a) == axes.end()) axes.push_back(a);
    }
    RETURN_IF_ERROR(ReplaceByFused(graph_, order, "_FusedRows", {{"row", n}, {"keep_dims", keep_dims}}).status());
    for (Node* a : axes) {
      if (!a->out_edges().empty() || !a->control_outputs().empty() || context_.preserve.contains(a->name())) continue;
      gone_.insert(a);
      graph_->RemoveNode(a);
    }
    return absl::OkStatus();
  }

  Graph* graph_;
  const PassContext& context_;
  const NodePredicate& element_wise_;
  const NodePredicate& reduction_;
  absl::flat_hash_map<const Node*, int> position_;
  absl::flat_hash_set<const Node*> gone_;  // into a group
};

}  // namespace

absl::StatusOr<bool> RowFusion::Run(Graph* graph, const PassContext& context) const {
  return Fuser(graph, context, element_wise_, reduction_).Run();
}

}  // namespace sluice
