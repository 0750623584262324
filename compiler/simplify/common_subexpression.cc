#include "compiler/simplify/common_subexpression.h"

#include <algorithm>
#include <type_traits>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// Something large made of constants, such as the zeros that a variable begins with, for somebody who keeps it. Two who
// keep one tensor have to copy it later, at a time when memory is scarcer.
bool IsKeptFilling(const Node& n) {
  constexpr int64_t kLarge = 1 << 20;
  return n.num_outputs() == 1 && n.num_inputs() > 0 && !n.Is(kConstant) &&
         n.output_shape(0).num_elements() >= kLarge / std::max<int64_t>(1, ElementSize(n.output_type(0))) &&
         std::all_of(n.inputs().begin(), n.inputs().end(), [](const Endpoint& e) { return e.node->Is(kConstant); }) &&
         std::any_of(n.out_edges().begin(), n.out_edges().end(),
                     [](const OutEdge& e) { return e.to->Is(kKeepsInputs); });
}

bool MayMerge(const Node& n) {
  return !n.Is(kStateful) && !n.Is(kSideEffect) && !n.Is(kSource) && !n.Is(kBlocking) && !n.Is(kBackEdge) &&
         !n.Is(kReadsState) && n.num_outputs() > 0 && !IsKeptFilling(n);
}

using InputKeys = absl::InlinedVector<std::pair<int, int>, 4>;
InputKeys InputKey(const Node& n) {
  InputKeys key;
  for (const Endpoint& e : n.inputs()) key.emplace_back(e.node->id(), e.index);
  if (n.Is(kCommutative)) std::sort(key.begin(), key.end());
  return key;
}

absl::InlinedVector<int, 4> ControlKey(const Node& n) {
  absl::InlinedVector<int, 4> key;
  for (const Node* c : n.control_inputs()) key.push_back(c->id());
  std::sort(key.begin(), key.end());
  return key;
}

constexpr size_t kMostBytes = 256;

// Equal for equal values; what takes long is left to the comparison.
size_t HashOfAttr(const AttrValue& attr) {
  return std::visit(
      [](const auto& v) -> size_t {
        using V = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<V, std::string> || std::is_arithmetic_v<V> || std::is_same_v<V, DType> ||
                      std::is_same_v<V, std::vector<int64_t>> || std::is_same_v<V, std::vector<DType>>) {
          return absl::HashOf(v);
        } else if constexpr (std::is_same_v<V, PartialShape>) {
          return absl::HashOf(v.rank(), v.dims());
        } else if constexpr (std::is_same_v<V, Tensor>) {
          absl::string_view bytes;
          if (IsPlain(v.dtype()) && v.num_elements() > 0) {
            bytes = {static_cast<const char*>(v.raw_data()), std::min(v.num_bytes(), kMostBytes)};
          }
          return absl::HashOf(v.dtype(), v.shape().dims(), bytes);
        } else {
          return 0;
        }
      },
      attr.value());
}

bool Counts(const std::string& attr) { return attr[0] != '_'; }

size_t Hash(const Node& n) {
  size_t attrs = 0;
  for (const auto& [name, value] : n.attrs()) {
    if (Counts(name)) attrs = absl::HashOf(attrs, HashOfAttr(value));
  }
  return absl::HashOf(&n.op(), InputKey(n), ControlKey(n), attrs);
}

bool SameAttrs(const Node& a, const Node& b) {
  auto x = a.attrs().begin(), y = b.attrs().begin();
  while (true) {
    while (x != a.attrs().end() && !Counts(x->first)) ++x;
    while (y != b.attrs().end() && !Counts(y->first)) ++y;
    if (x == a.attrs().end() || y == b.attrs().end()) return x == a.attrs().end() && y == b.attrs().end();
    if (x->first != y->first || !(x->second == y->second)) return false;
    ++x;
    ++y;
  }
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
