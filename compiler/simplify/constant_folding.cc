#include "compiler/simplify/constant_folding.h"

#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// A result of this size is made of its smaller inputs in each step, in less time than a step that uses it takes: the
// plan would hold it for good.
constexpr int64_t kLargeResult = 1 << 20;

const Tensor* ConstantOf(const Endpoint& e) {
  if (!e.node->Is(kConstant)) return nullptr;
  const AttrValue* value = e.node->attrs().Find("value");
  return value ? value->As<Tensor>() : nullptr;
}

bool IsPure(const Node& n) {
  return !n.Is(kStateful) && !n.Is(kSideEffect) && !n.Is(kSource) && !n.Is(kConstant) && !n.Is(kBlocking) &&
         !n.Is(kBackEdge) && !n.Is(kReadsState);
}

// The elements that shape inference found, as a tensor.
std::optional<Tensor> KnownValue(const Node& n, int output) {
  const PartialValue* v = n.output_value(output);
  DType dtype = n.output_type(output);
  if (v == nullptr || !v->IsFullyKnown() || (dtype != DType::kInt32 && dtype != DType::kInt64)) return std::nullopt;
  Shape shape = v->scalar ? Shape() : Shape({static_cast<int64_t>(v->elements.size())});
  if (!n.output_shape(output).IsCompatibleWith(shape)) return std::nullopt;
  if (dtype == DType::kInt64) return Tensor::FromValues<int64_t>(shape, v->elements);
  std::vector<int32_t> narrow;
  for (int64_t e : v->elements) {
    if (e < INT32_MIN || e > INT32_MAX) return std::nullopt;
    narrow.push_back(static_cast<int32_t>(e));
  }
  return Tensor::FromValues<int32_t>(shape, narrow);
}

class Folder {
 public:
  Folder(Graph* graph, const PassContext& context) : graph_(graph), context_(context) {}

  absl::StatusOr<bool> Run() {
    ASSIGN_OR_RETURN(std::vector<Node*> order, graph_->TopologicalOrder());
    bool changed = false;
    for (Node* n : order) {
      if (std::any_of(n->inputs().begin(), n->inputs().end(), [&](const Endpoint& e) { return IsOrdered(e.node); })) {
        ordered_.insert(n);
      }
      if (!IsPure(*n) || n->num_outputs() == 0 || context_.preserve.contains(n->name()) || n->out_edges().empty())
        continue;
      ASSIGN_OR_RETURN(bool folded, Fold(n));
      changed |= folded;
    }
    return changed;
  }

 private:
  // The node, or something that it reads, waits for another node.
  bool IsOrdered(const Node* n) const { return !n->control_inputs().empty() || ordered_.contains(n); }

  bool IsRead(const Node& n, int output) const {
    return std::any_of(n.out_edges().begin(), n.out_edges().end(),
                       [&](const OutEdge& e) { return e.output == output; });
  }

  absl::StatusOr<bool> Fold(Node* n) {
    std::vector<Tensor> values(n->num_outputs());
    bool known = true;
    for (int i = 0; i < n->num_outputs(); ++i) {
      if (!IsRead(*n, i)) continue;
      std::optional<Tensor> v = KnownValue(*n, i);
      if (v) {
        values[i] = *v;
      } else {
        known = false;
      }
    }
    if (!known && !Evaluate(*n, &values)) return false;
    for (int i = 0; i < n->num_outputs(); ++i) {
      if (!IsRead(*n, i)) continue;
      RETURN_IF_ERROR(Replace(n, i, values[i]));
    }
    return true;
  }

  bool Evaluate(const Node& n, std::vector<Tensor>* values) const {
    if (!context_.evaluate || n.num_inputs() == 0) return false;
    std::vector<Tensor> inputs;
    int64_t taken = 0;
    for (const Endpoint& e : n.inputs()) {
      const Tensor* t = ConstantOf(e);
      if (t == nullptr) return false;
      inputs.push_back(*t);
      if (IsPlain(t->dtype())) taken += static_cast<int64_t>(t->num_bytes());
    }
    const int64_t most = std::min(context_.max_folded_bytes, std::max(kLargeResult, taken));
    for (int i = 0; i < n.num_outputs(); ++i) {
      int64_t count = n.output_shape(i).num_elements();
      if (count > most / std::max<int64_t>(1, ElementSize(n.output_type(i)))) return false;
      if (IsRefType(n.output_type(i)) || n.output_type(i) == DType::kResource || n.output_type(i) == DType::kVariant)
        return false;
    }
    absl::StatusOr<std::vector<Tensor>> outputs = context_.evaluate(n.info(), inputs);
    if (!outputs.ok()) return false;
    for (const Tensor& t : *outputs) {
      if (!t.IsValid() || static_cast<int64_t>(t.num_bytes()) > most) return false;
    }
    *values = *std::move(outputs);
    return true;
  }

  absl::Status Replace(Node* n, int output, const Tensor& value) {
    NodeSpec spec;
    spec.op = "Const";
    spec.name = absl::StrCat(n->name(), "/folded_", output);
    spec.attrs = {{"value", value}, {"dtype", value.dtype()}};
    spec.device = n->info().device;
    spec.source = n->info().source;
    // The order that the user asked for stays, also where it came with an input.
    spec.control_inputs.assign(n->control_inputs().begin(), n->control_inputs().end());
    for (const Endpoint& e : n->inputs()) {
      if (IsOrdered(e.node) &&
          std::find(spec.control_inputs.begin(), spec.control_inputs.end(), e.node) == spec.control_inputs.end()) {
        spec.control_inputs.push_back(e.node);
      }
    }
    ASSIGN_OR_RETURN(Node * constant, graph_->AddNodeUniqueName(std::move(spec)));
    constant->set_assigned_device(n->assigned_device());
    return graph_->ReplaceEndpoint({n, output}, {constant, 0});
  }

  Graph* graph_;
  const PassContext& context_;
  absl::flat_hash_set<const Node*> ordered_;
};

}  // namespace

absl::StatusOr<bool> ConstantFolding::Run(Graph* graph, const PassContext& context) const {
  return Folder(graph, context).Run();
}

}  // namespace sluice
