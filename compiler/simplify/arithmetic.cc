#include "compiler/simplify/arithmetic.h"

#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/base/status.h"
#include "core/graph/builder.h"

namespace sluice {
namespace {

const Tensor* ConstantOf(const Endpoint& e) {
  if (!e.node->Is(kConstant)) return nullptr;
  const AttrValue* value = e.node->attrs().Find("value");
  return value ? value->As<Tensor>() : nullptr;
}

// What a rule sees: the node, questions about it, and a builder for nodes that take its place.
class Match {
 public:
  Match(Graph* graph, Node* node) : graph_(graph), node_(node) {}
  Node* node() const { return node_; }
  // Made when it is wanted: most rules see at once that they do not apply.
  GraphBuilder& builder() {
    if (builder_) return *builder_;
    builder_.emplace(graph_, node_->name());
    builder_->SetDevice(node_->info().device);
    builder_->SetSource(node_->info().source);
    builder_->SetControlInputs({node_->control_inputs().begin(), node_->control_inputs().end()});
    return *builder_;
  }
  absl::Status status() const { return builder_ ? builder_->status() : absl::OkStatus(); }
  Endpoint in(int i) const { return node_->input(i); }
  PartialShape shape(int i) const { return in(i).node->output_shape(in(i).index); }
  DType type(int i) const { return node_->input_type(i); }
  PartialShape out_shape() const { return node_->output_shape(0); }

  // Input i is made by `op`, and nothing but data orders it.
  Node* MadeBy(int i, absl::string_view op) const {
    Node* n = in(i).node;
    return n->op().name == op && n->control_inputs().empty() ? n : nullptr;
  }
  // Replacing the output by input i changes no shape and no type.
  bool LooksLikeInput(int i) const {
    return out_shape().IsFullyKnown() && out_shape() == shape(i) && node_->output_type(0) == type(i);
  }
  // Every element of a constant input equals `value`, bit for bit (so -0 is not 0).
  bool IsFilledWith(int i, double value) const {
    const Tensor* t = ConstantOf(in(i));
    if (t == nullptr || t->num_elements() == 0) return false;
    for (int64_t k = 0; k < t->num_elements(); ++k) {
      bool same = false;
      switch (t->dtype()) {
        case DType::kFloat:
          same = Bits(t->data<float>()[k]) == Bits(static_cast<float>(value));
          break;
        case DType::kDouble:
          same = Bits(t->data<double>()[k]) == Bits(value);
          break;
        default:
          same = IsInteger(t->dtype()) && t->IntAt(k) == static_cast<int64_t>(value);
      }
      if (!same) return false;
    }
    return true;
  }
  std::optional<std::vector<int64_t>> Ints(int i) const {
    const Tensor* t = ConstantOf(in(i));
    if (t == nullptr || !IsInteger(t->dtype())) return std::nullopt;
    std::vector<int64_t> v(t->num_elements());
    for (size_t k = 0; k < v.size(); ++k) v[k] = t->IntAt(static_cast<int64_t>(k));
    return v;
  }
  Out AsOut(Endpoint e) { return Out(&builder(), e); }

 private:
  static uint64_t Bits(double v) {
    uint64_t b;
    std::copy_n(reinterpret_cast<const char*>(&v), sizeof(b), reinterpret_cast<char*>(&b));
    return b;
  }
  static uint32_t Bits(float v) {
    uint32_t b;
    std::copy_n(reinterpret_cast<const char*>(&v), sizeof(b), reinterpret_cast<char*>(&b));
    return b;
  }
  Graph* graph_;
  Node* node_;
  std::optional<GraphBuilder> builder_;
};

// Which nodes wait for others, by control edges of their own or of what they read.
class Order {
 public:
  // In topological order.
  void Add(const Node* n) {
    auto waits = [this](const Endpoint& e) { return ordered_.contains(e.node); };
    if (!n->control_inputs().empty() || std::any_of(n->inputs().begin(), n->inputs().end(), waits)) ordered_.insert(n);
  }
  // Whether something that `n` reads would be waited for no longer, when `by` takes the place of n. `reads_inputs`:
  // `by` is a node made for that.
  bool IsLost(const Node& n, const Endpoint& by, bool reads_inputs, int depth = 0) const {
    return std::any_of(n.inputs().begin(), n.inputs().end(), [&](const Endpoint& e) {
      if (e == by || !ordered_.contains(e.node)) return false;
      if (reads_inputs && std::find(by.node->inputs().begin(), by.node->inputs().end(), e) != by.node->inputs().end())
        return false;
      return depth == 2 || !e.node->control_inputs().empty() || IsLost(*e.node, by, reads_inputs, depth + 1);
    });
  }

 private:
  absl::flat_hash_set<const Node*> ordered_;
};

using Result = std::optional<Endpoint>;
using RuleFn = Result (*)(Match&);

struct Rule {
  const char* name;
  std::vector<absl::string_view> ops;  // empty: any op
  RuleFn apply;
};

// --- the rules ---

Result DropIdentity(Match& m) {
  // A reference is read when an Identity runs, so that one must stay.
  if (!m.node()->Is(kIdentity) || m.node()->num_inputs() != 1) return {};
  if (IsRefType(m.in(0).node->output_type(m.in(0).index))) return {};
  return m.in(0);
}
Result TimesOne(Match& m) {
  for (int one : {0, 1}) {
    if (m.IsFilledWith(one, 1) && m.LooksLikeInput(1 - one)) return m.in(1 - one);
  }
  return {};
}
Result OverOne(Match& m) {
  if (m.IsFilledWith(1, 1) && m.LooksLikeInput(0)) return m.in(0);
  return {};
}
Result PlusZero(Match& m) {
  // -0 + 0 is 0, but x + -0 is always x.
  double zero = IsInteger(m.node()->output_type(0)) ? 0.0 : -0.0;
  for (int z : {0, 1}) {
    if (m.IsFilledWith(z, zero) && m.LooksLikeInput(1 - z)) return m.in(1 - z);
  }
  return {};
}
Result MinusZero(Match& m) {
  if (m.IsFilledWith(1, 0) && m.LooksLikeInput(0)) return m.in(0);
  return {};
}
Result IntegerTimesZero(Match& m) {
  if (!IsInteger(m.node()->output_type(0))) return {};
  for (int z : {0, 1}) {
    if (m.IsFilledWith(z, 0) && m.LooksLikeInput(z)) return m.in(z);
  }
  return {};
}
Result Involution(Match& m) {
  if (Node* inner = m.MadeBy(0, m.node()->op().name)) return inner->input(0);
  return {};
}
Result Idempotent(Match& m) {
  if (m.MadeBy(0, m.node()->op().name)) return m.in(0);
  return {};
}
Result SquareOfProduct(Match& m) {
  DType t = m.type(0);
  bool has_square = IsFloating(t) || t == DType::kInt32 || t == DType::kInt64;
  if (m.in(0) == m.in(1) && has_square) return m.builder().Op("Square", {m.AsOut(m.in(0))}).endpoint();
  return {};
}
Result PlusNegated(Match& m) {
  if (!IsFloating(m.type(0))) return {};
  if (Node* neg = m.MadeBy(1, "Neg")) {
    return m.builder().Op("Sub", {m.AsOut(m.in(0)), m.AsOut(neg->input(0))}).endpoint();
  }
  return {};
}
Result MinusNegated(Match& m) {
  if (!IsFloating(m.type(0))) return {};
  if (Node* neg = m.MadeBy(1, "Neg")) {
    return m.builder().Op("AddV2", {m.AsOut(m.in(0)), m.AsOut(neg->input(0))}).endpoint();
  }
  return {};
}
Result NotEqualOfNot(Match& m) {
  if (Node* equal = m.MadeBy(0, "Equal")) {
    return m.builder()
        .Op("NotEqual", {m.AsOut(equal->input(0)), m.AsOut(equal->input(1))},
            {{"incompatible_shape_error", equal->info().Attr<bool>("incompatible_shape_error").value_or(true)}})
        .endpoint();
  }
  return {};
}
Result SameShape(Match& m) {
  if (m.LooksLikeInput(0)) return m.in(0);
  return {};
}
Result ReshapeOfReshape(Match& m) {
  if (Node* inner = m.MadeBy(0, "Reshape")) {
    return m.builder().Op("Reshape", {m.AsOut(inner->input(0)), m.AsOut(m.in(1))}).endpoint();
  }
  return {};
}
Result IdentityTranspose(Match& m) {
  std::optional<std::vector<int64_t>> perm = m.Ints(1);
  if (!perm) return {};
  for (size_t i = 0; i < perm->size(); ++i) {
    if ((*perm)[i] != static_cast<int64_t>(i)) return {};
  }
  return m.in(0);
}
Result TransposeOfTranspose(Match& m) {
  Node* inner = m.MadeBy(0, "Transpose");
  if (inner == nullptr) return {};
  const Tensor* first = ConstantOf(inner->input(1));
  std::optional<std::vector<int64_t>> second = m.Ints(1);
  if (first == nullptr || !second || first->num_elements() != static_cast<int64_t>(second->size())) return {};
  std::vector<int64_t> both;
  for (int64_t axis : *second) {
    if (axis < 0 || axis >= first->num_elements()) return {};
    both.push_back(first->IntAt(axis));
  }
  return m.builder().Op("Transpose", {m.AsOut(inner->input(0)), m.builder().Ints(both)}).endpoint();
}
Result TransposeIntoMatMul(Match& m) {
  if (IsComplex(m.type(0))) return {};
  std::vector<Out> inputs = {m.AsOut(m.in(0)), m.AsOut(m.in(1))};
  bool flags[2] = {m.node()->info().Attr<bool>("transpose_a").value_or(false),
                   m.node()->info().Attr<bool>("transpose_b").value_or(false)};
  bool changed = false;
  for (int i : {0, 1}) {
    Node* t = m.MadeBy(i, "Transpose");
    const Tensor* perm = t ? ConstantOf(t->input(1)) : nullptr;
    if (perm == nullptr || perm->num_elements() != 2 || perm->IntAt(0) != 1 || perm->IntAt(1) != 0) continue;
    inputs[i] = m.AsOut(t->input(0));
    flags[i] = !flags[i];
    changed = true;
  }
  if (!changed) return {};
  return m.builder().Op("MatMul", inputs, {{"transpose_a", flags[0]}, {"transpose_b", flags[1]}}).endpoint();
}
Result OnlyOneInput(Match& m) {
  if (m.node()->info().Attr<int64_t>("N").value_or(0) == 1) return m.in(0);
  return {};
}
Result NothingToReduce(Match& m) {
  std::optional<std::vector<int64_t>> axes = m.Ints(1);
  if (axes && axes->empty() && m.LooksLikeInput(0)) return m.in(0);
  return {};
}
Result AllOnes(Match& m) {
  std::optional<std::vector<int64_t>> v = m.Ints(1);
  if (v && std::all_of(v->begin(), v->end(), [](int64_t x) { return x == 1; })) return m.in(0);
  return {};
}
Result AllZeros(Match& m) {
  std::optional<std::vector<int64_t>> v = m.Ints(1);
  if (v && std::all_of(v->begin(), v->end(), [](int64_t x) { return x == 0; })) return m.in(0);
  return {};
}

const std::vector<Rule>& Rules() {
  static const auto* rules = new std::vector<Rule>{
      {"identity(x) = x", {}, DropIdentity},
      {"x * 1 = x", {"Mul"}, TimesOne},
      {"x / 1 = x", {"Div", "RealDiv"}, OverOne},
      {"x + 0 = x (integers; -0 for floats)", {"Add", "AddV2"}, PlusZero},
      {"x - 0 = x", {"Sub"}, MinusZero},
      {"x * 0 = 0 (integers)", {"Mul"}, IntegerTimesZero},
      {"x * x = square(x)", {"Mul"}, SquareOfProduct},
      {"f(f(x)) = x", {"Neg", "LogicalNot", "Conj", "Invert"}, Involution},
      {"f(f(x)) = f(x)", {"Abs", "Relu", "Relu6", "Floor", "Ceil", "Rint", "Round", "Sign"}, Idempotent},
      {"x + -y = x - y (floats)", {"Add", "AddV2"}, PlusNegated},
      {"x - -y = x + y (floats)", {"Sub"}, MinusNegated},
      {"!(x == y) = (x != y)", {"LogicalNot"}, NotEqualOfNot},
      {"reshape, cast or broadcast to what it is",
       {"Reshape", "Cast", "BroadcastTo", "Squeeze", "EnsureShape"},
       SameShape},
      {"reshape(reshape(x)) = reshape(x)", {"Reshape"}, ReshapeOfReshape},
      {"transpose by the identity = x", {"Transpose"}, IdentityTranspose},
      {"transpose(transpose(x)) = transpose(x)", {"Transpose"}, TransposeOfTranspose},
      {"matmul(transpose(a), b) = matmul(a, b, transpose_a)", {"MatMul"}, TransposeIntoMatMul},
      {"sum or concatenation of one = x", {"AddN", "ConcatV2"}, OnlyOneInput},
      {"reduction over no axis = x", {"Sum", "Mean", "Prod", "Max", "Min", "Any", "All"}, NothingToReduce},
      {"tile by ones = x", {"Tile"}, AllOnes},
      {"pad or roll by nothing = x", {"Pad", "PadV2"}, AllZeros},
  };
  return *rules;
}

}  // namespace

std::vector<std::string> ArithmeticSimplification::RuleNames() {
  std::vector<std::string> names;
  for (const Rule& r : Rules()) names.push_back(r.name);
  return names;
}

absl::StatusOr<bool> ArithmeticSimplification::Run(Graph* graph, const PassContext& context) const {
  absl::flat_hash_map<absl::string_view, std::vector<const Rule*>> by_op;
  std::vector<const Rule*> any;
  for (const Rule& r : Rules()) {
    if (r.ops.empty()) any.push_back(&r);
    for (absl::string_view op : r.ops) by_op[op].push_back(&r);
  }
  ASSIGN_OR_RETURN(std::vector<Node*> work, graph->TopologicalOrder());
  Order order;
  for (const Node* n : work) order.Add(n);
  bool changed = false;
  for (size_t at = 0; at < work.size(); ++at) {
    Node* n = work[at];
    if (context.preserve.contains(n->name()) || n->num_outputs() != 1 || n->out_edges().empty()) continue;
    auto it = by_op.find(n->op().name);
    const size_t rules = any.size() + (it == by_op.end() ? 0 : it->second.size());
    for (size_t r = 0; r < rules; ++r) {
      const Rule* rule = r < any.size() ? any[r] : it->second[r - any.size()];
      Match m(graph, n);
      int before = graph->num_node_ids();
      Result replacement = rule->apply(m);
      RETURN_IF_ERROR(m.status());
      if (!replacement) continue;
      bool fresh = replacement->node->id() >= before;
      // The order that the user asked for must not be lost with the node, nor with what it alone read: a front end
      // gives the order of `x - 0` to the constant, when that was made for it.
      if (!fresh && !n->control_inputs().empty()) continue;
      if (order.IsLost(*n, *replacement, fresh)) continue;
      if (fresh) replacement->node->set_assigned_device(n->assigned_device());
      RETURN_IF_ERROR(graph->ReplaceEndpoint({n, 0}, *replacement));
      // What was made may simplify further; what it made on the way never loops, since every rule shrinks its match.
      if (fresh) {
        order.Add(replacement->node);
        work.push_back(replacement->node);
      }
      changed = true;
      break;
    }
  }
  return changed;
}

}  // namespace sluice
