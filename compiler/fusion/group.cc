#include "compiler/fusion/group.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// Blocks of the kernels, and what their inputs are worth.
constexpr int kMaxInputs = 16;
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

}  // namespace

bool IsFreeToFuse(const Node& n, const PassContext& context) {
  if (n.num_outputs() != 1 || n.num_inputs() == 0 || context.preserve.contains(n.name())) return false;
  if (!n.control_inputs().empty() || !n.control_outputs().empty()) return false;
  if (IsRefType(n.output_type(0))) return false;
  for (int i = 0; i < n.num_inputs(); ++i) {
    if (IsRefType(n.input_type(i))) return false;
  }
  return true;
}

bool IsRowBias(const Node& n) {
  if (n.op().name != "BiasAdd") return false;
  const AttrValue* format = n.attrs().Find("data_format");
  if (format != nullptr && format->As<std::string>() != nullptr && *format->As<std::string>() != "NHWC") return false;
  const PartialShape& value = n.input(0).node->output_shape(n.input(0).index);
  const PartialShape& bias = n.input(1).node->output_shape(n.input(1).index);
  return value.known_rank() && value.rank() >= 2 && bias.rank() == 1 && bias.dim(0) >= 0 &&
         value.dim(value.rank() - 1) == bias.dim(0);
}

int NumFusedOperands(const Node& n) { return n.Is(kElementwise) || n.op().name == "BiasAdd" ? n.num_inputs() : 1; }

bool FitsFusedKernel(const std::vector<Node*>& order) {
  absl::flat_hash_set<const Node*> in(order.begin(), order.end());
  absl::flat_hash_set<std::pair<const Node*, int>> inputs;
  absl::flat_hash_map<const Node*, int> last;
  for (size_t i = 0; i < order.size(); ++i) {
    for (int k = 0; k < NumFusedOperands(*order[i]); ++k) {
      const Endpoint& e = order[i]->input(k);
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

absl::StatusOr<Node*> ReplaceByFused(Graph* graph, const std::vector<Node*>& order, const std::string& op,
                                     AttrMap attrs, Node* head) {
  Node* root = order.back();
  NodeSpec spec;
  spec.op = op;
  spec.name = absl::StrCat(root->name(), "/_fused");
  spec.device = root->info().device;
  spec.source = root->info().source;
  absl::flat_hash_map<std::pair<const Node*, int>, int64_t> value;
  std::vector<DType> input_types, types;
  absl::flat_hash_set<const Node*> in(order.begin(), order.end());
  if (head != nullptr) {
    for (const Endpoint& e : head->inputs()) {
      spec.inputs.push_back(e);
      input_types.push_back(e.node->output_type(e.index));
    }
    value[{head, 0}] = 0;
    attrs.Set("_source", head->info().Describe());
  }
  for (const Node* n : order) {
    for (int k = 0; k < NumFusedOperands(*n); ++k) {
      const Endpoint& e = n->input(k);
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
    operands.push_back(NumFusedOperands(*n) == 1 ? -1 : value.at({n->input(1).node, n->input(1).index}));
    types.push_back(n->output_type(0));
    value[{n, 0}] = static_cast<int64_t>(spec.inputs.size() + types.size() - 1);
  }
  attrs.Set("Tin", std::move(input_types));
  attrs.Set("T", root->output_type(0));
  attrs.Set("program", std::move(program));
  attrs.Set("operands", std::move(operands));
  attrs.Set("types", std::move(types));
  attrs.Set("shape", root->output_shape(0));
  spec.attrs = std::move(attrs);
  ASSIGN_OR_RETURN(Node * fused, graph->AddNodeUniqueName(std::move(spec)));
  fused->set_assigned_device(root->assigned_device());
  RETURN_IF_ERROR(graph->ReplaceEndpoint({root, 0}, {fused, 0}));
  for (auto it = order.rbegin(); it != order.rend(); ++it) graph->RemoveNode(*it);
  if (head != nullptr) graph->RemoveNode(head);
  return fused;
}

}  // namespace sluice
