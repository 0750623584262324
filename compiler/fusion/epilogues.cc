#include "compiler/fusion/epilogues.h"

#include <algorithm>
#include <vector>

#include "core/base/status.h"

namespace sluice {
namespace {

constexpr size_t kMaxEpilogue = 6;

const PartialShape& ShapeOf(const Endpoint& e) { return e.node->output_shape(e.index); }

// `other` is read next to a product of this shape without changing it: one element, a row, or all of it.
bool GoesBeside(const PartialShape& other, const PartialShape& product) {
  if (!other.known_rank()) return false;
  const int64_t columns = product.dim(1);
  bool is_one = true;
  for (int i = 0; i < other.rank(); ++i) is_one &= other.dim(i) == 1;
  if (is_one) return other.rank() <= 2;
  if (other.rank() == 1) return columns >= 0 && other.dim(0) == columns;
  if (other.rank() != 2 || columns < 0 || other.dim(1) != columns) return false;
  return other.dim(0) == 1 || (product.dim(0) >= 0 && other.dim(0) == product.dim(0));
}

class Search {
 public:
  Search(const PassContext& context, const NodePredicate& can_run_fused)
      : context_(context), can_run_fused_(can_run_fused) {}

  bool IsProduct(const Node& n) const {
    const DType t = n.num_outputs() == 1 ? n.output_type(0) : DType::kInvalid;
    return n.op().name == "MatMul" && (t == DType::kFloat || t == DType::kDouble) && IsFreeToFuse(n, context_) &&
           n.output_shape(0).known_rank() && n.output_shape(0).rank() == 2;
  }

  std::vector<Node*> ChainAfter(const Node* product) const {
    std::vector<Node*> chain;
    for (const Node* at = product; chain.size() < kMaxEpilogue;) {
      Node* next = OnlyReader(*at);
      if (next == nullptr || !Joins(*next, *at, *product)) break;
      chain.push_back(next);
      at = next;
    }
    return chain;
  }

 private:
  static Node* OnlyReader(const Node& n) {
    Node* reader = nullptr;
    for (const OutEdge& e : n.out_edges()) {
      if (reader != nullptr && e.to != reader) return nullptr;
      reader = e.to;
    }
    return reader;
  }

  bool Joins(const Node& n, const Node& before, const Node& product) const {
    if (!IsFreeToFuse(n, context_) || n.num_inputs() > 2 || n.output_type(0) != product.output_type(0)) return false;
    const bool is_element_wise = n.Is(kElementwise) && !n.Is(kStateful) && !n.Is(kSideEffect) &&
                                 n.op().name != "_Fused" && can_run_fused_(n.info());
    if (!IsRowBias(n) && !is_element_wise) return false;
    if (n.output_shape(0) != product.output_shape(0)) return false;
    return std::all_of(n.inputs().begin(), n.inputs().end(), [&](const Endpoint& e) {
      return e.node == &before || (e.node->output_type(e.index) == product.output_type(0) &&
                                   GoesBeside(ShapeOf(e), product.output_shape(0)));
    });
  }

  const PassContext& context_;
  const NodePredicate& can_run_fused_;
};

}  // namespace

absl::StatusOr<bool> EpilogueFusion::Run(Graph* graph, const PassContext& context) const {
  const Search search(context, can_run_fused_);
  ASSIGN_OR_RETURN(const std::vector<Node*> order, graph->TopologicalOrder());
  std::vector<Node*> products;
  for (Node* n : order) {
    if (search.IsProduct(*n)) products.push_back(n);
  }
  bool changed = false;
  for (Node* product : products) {
    const std::vector<Node*> chain = search.ChainAfter(product);
    if (chain.empty()) continue;
    AttrMap attrs;
    for (const char* name : {"transpose_a", "transpose_b"}) {
      const AttrValue* value = product->attrs().Find(name);
      attrs.Set(name, value != nullptr && value->As<bool>() != nullptr && *value->As<bool>());
    }
    RETURN_IF_ERROR(ReplaceByFused(graph, chain, "_FusedMatMul", std::move(attrs), product).status());
    changed = true;
  }
  return changed;
}

}  // namespace sluice
