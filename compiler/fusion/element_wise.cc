#include "compiler/fusion/element_wise.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// Blocks on the stack of the kernel, and what its inputs are worth.
constexpr int kMaxInputs = 8;
constexpr int kMaxMembers = 64;
constexpr int kMaxLive = 8;

// A node as a member: the op that computes the same on broadcast operands.
FuncRef Instruction(const Node& n) {
  FuncRef f;
  if (n.op().name == "BiasAdd") {
    f.name = "AddV2";
    f.attrs.Set("T", n.output_type(0));
  } else {
    f.name = n.op().name;
    f.attrs = n.attrs();
  }
  f.attrs.Set("_source", n.info().Describe());
  return f;
}

// A bias along the last axis, of the length that the kernel would ask for.
bool IsRowBias(const Node& n) {
  if (n.op().name != "BiasAdd") return false;
  const AttrValue* format = n.attrs().Find("data_format");
  if (format != nullptr && format->As<std::string>() != nullptr && *format->As<std::string>() != "NHWC") return false;
  const PartialShape& value = n.input(0).node->output_shape(n.input(0).index);
  const PartialShape& bias = n.input(1).node->output_shape(n.input(1).index);
  return value.known_rank() && value.rank() >= 2 && bias.rank() == 1 && bias.dim(0) >= 0 &&
         value.dim(value.rank() - 1) == bias.dim(0);
}

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
    if (n.num_outputs() != 1 || n.num_inputs() == 0 || context_.preserve.contains(n.name())) return false;
    if (!n.control_inputs().empty() || !n.control_outputs().empty()) return false;
    if (IsRefType(n.output_type(0)) || n.out_edges().empty()) return false;
    for (int i = 0; i < n.num_inputs(); ++i) {
      if (IsRefType(n.input_type(i))) return false;
    }
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
    for (bool grown = true; grown && static_cast<int>(members.size()) < kMaxMembers;) {
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
      if (Fits(members)) {
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
    return std::all_of(p.out_edges().begin(), p.out_edges().end(),
                       [&](const OutEdge& e) { return in.contains(e.to); });
  }

  std::vector<Node*> InOrder(std::vector<Node*> members) {
    std::sort(members.begin(), members.end(), [&](Node* a, Node* b) { return position_[a] < position_[b]; });
    return members;
  }

  // Few enough inputs and values at once for the kernel's blocks.
  bool Fits(const std::vector<Node*>& members) {
    const std::vector<Node*> order = InOrder(members);
    absl::flat_hash_set<const Node*> in(order.begin(), order.end());
    absl::flat_hash_set<std::pair<const Node*, int>> inputs;
    absl::flat_hash_map<const Node*, int> last;
    for (size_t i = 0; i < order.size(); ++i) {
      for (const Endpoint& e : order[i]->inputs()) {
        if (in.contains(e.node)) {
          last[e.node] = static_cast<int>(i);
        } else {
          inputs.insert({e.node, e.index});
        }
      }
    }
    int live = 0, most = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      most = std::max(most, ++live);
      for (const auto& [node, at] : last) live -= at == static_cast<int>(i);
    }
    return static_cast<int>(inputs.size()) <= kMaxInputs && most <= kMaxLive;
  }

  absl::Status Replace(const std::vector<Node*>& members) {
    const std::vector<Node*> order = InOrder(members);
    Node* root = order.back();
    NodeSpec spec;
    spec.op = "_Fused";
    spec.name = absl::StrCat(root->name(), "/_fused");
    spec.device = root->info().device;
    spec.source = root->info().source;
    absl::flat_hash_map<std::pair<const Node*, int>, int64_t> value;
    std::vector<DType> input_types, types;
    absl::flat_hash_set<const Node*> in(order.begin(), order.end());
    for (const Node* n : order) {
      for (const Endpoint& e : n->inputs()) {
        if (in.contains(e.node) || !value.emplace(std::make_pair(e.node, e.index), spec.inputs.size()).second) continue;
        spec.inputs.push_back(e);
        input_types.push_back(e.node->output_type(e.index));
      }
    }
    std::vector<FuncRef> program;
    std::vector<int64_t> operands;
    for (const Node* n : order) {
      program.push_back(Instruction(*n));
      operands.push_back(value.at({n->input(0).node, n->input(0).index}));
      operands.push_back(n->num_inputs() == 1 ? -1 : value.at({n->input(1).node, n->input(1).index}));
      types.push_back(n->output_type(0));
      value[{n, 0}] = static_cast<int64_t>(spec.inputs.size() + types.size() - 1);
    }
    spec.attrs = {{"Tin", input_types},        {"T", root->output_type(0)}, {"program", std::move(program)},
                  {"operands", std::move(operands)}, {"types", std::move(types)}, {"shape", root->output_shape(0)}};
    ASSIGN_OR_RETURN(Node * fused, graph_->AddNodeUniqueName(std::move(spec)));
    fused->set_assigned_device(root->assigned_device());
    RETURN_IF_ERROR(graph_->ReplaceEndpoint({root, 0}, {fused, 0}));
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      taken_.insert(*it);
      position_.erase(*it);
      graph_->RemoveNode(*it);
    }
    return absl::OkStatus();
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
