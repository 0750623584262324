#include "core/graph/gradients.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/base/status.h"

namespace sluice {
namespace {

bool Differentiable(DType t) {
  t = BaseType(t);
  return IsFloating(t) || IsComplex(t) || t == DType::kResource || t == DType::kVariant;
}

// All nodes from which an edge path leads to one of `ends`, or that are reached from it.
std::vector<bool> Reach(const Graph& graph, const std::vector<Endpoint>& ends, bool backward) {
  std::vector<bool> seen(graph.num_node_ids(), false);
  std::vector<Node*> stack;
  auto visit = [&](Node* n) {
    if (!seen[n->id()]) {
      seen[n->id()] = true;
      stack.push_back(n);
    }
  };
  for (const Endpoint& e : ends) visit(e.node);
  while (!stack.empty()) {
    Node* n = stack.back();
    stack.pop_back();
    if (backward) {
      for (const Endpoint& e : n->inputs()) visit(e.node);
    } else {
      for (const OutEdge& e : n->out_edges()) visit(e.to);
    }
  }
  return seen;
}

class Engine {
 public:
  Engine(Graph* graph, const GradientOptions& options) : graph_(graph), options_(options) {
    for (const Endpoint& e : options.stop_gradients) stops_.insert(e);
  }

  absl::StatusOr<std::vector<Grad>> Run(const std::vector<Endpoint>& ys, const std::vector<Endpoint>& xs,
                                        const std::vector<Endpoint>& grad_ys) {
    std::vector<bool> above = Reach(*graph_, ys, /*backward=*/true);
    std::vector<bool> below = Reach(*graph_, xs, /*backward=*/false);
    // In order of creation, which for a graph without loops is topological.
    std::vector<Node*> between;
    for (Node* n : graph_->nodes()) {
      if (above[n->id()] && below[n->id()]) between.push_back(n);
    }
    ASSIGN_OR_RETURN(between, Sorted(std::move(between)));
    for (size_t i = 0; i < ys.size(); ++i) {
      RETURN_IF_ERROR(Seed(ys[i], i < grad_ys.size() ? grad_ys[i] : Endpoint{}));
    }
    absl::flat_hash_set<Endpoint> wanted(xs.begin(), xs.end());
    for (auto it = between.rbegin(); it != between.rend(); ++it) RETURN_IF_ERROR(Visit(*it, below, wanted));
    std::vector<Grad> result;
    for (const Endpoint& x : xs) {
      ASSIGN_OR_RETURN(Grad g, Total(x));
      if (!g.valid() && options_.zeros_for_unconnected) {
        GraphBuilder b(graph_, absl::StrCat(options_.scope, "/", x.node->name(), "_grad"));
        g.dense = b.Op("ZerosLike", {Out(&b, x)});
        RETURN_IF_ERROR(b.status());
      }
      // The builders that made them are gone.
      for (Out* out : {&g.dense, &g.values, &g.indices, &g.dense_shape}) *out = Out(nullptr, out->endpoint());
      result.push_back(g);
    }
    return result;
  }

 private:
  absl::StatusOr<std::vector<Node*>> Sorted(std::vector<Node*> nodes) {
    absl::flat_hash_map<Node*, int> pending;
    for (Node* n : nodes) pending[n] = 0;
    for (Node* n : nodes) {
      for (const Endpoint& e : n->inputs()) {
        if (pending.contains(e.node)) ++pending[n];
      }
    }
    std::vector<Node*> order;
    for (Node* n : nodes) {
      if (pending[n] == 0) order.push_back(n);
    }
    for (size_t i = 0; i < order.size(); ++i) {
      for (const OutEdge& e : order[i]->out_edges()) {
        auto it = pending.find(e.to);
        if (it != pending.end() && --it->second == 0) order.push_back(e.to);
      }
    }
    if (order.size() != nodes.size()) {
      return Unimplemented(
          "gradients through loops of Enter/NextIteration nodes are not supported: use while_loop, which keeps "
          "its body as a function");
    }
    return order;
  }

  absl::Status Seed(const Endpoint& y, const Endpoint& grad_y) {
    if (grad_y.node != nullptr) {
      DType want = BaseType(y.node->output_type(y.index)), found = BaseType(grad_y.node->output_type(grad_y.index));
      if (want != found) {
        return InvalidArgument("grad_ys of ", y.node->info().Describe(), " is ", DTypeName(found), ", wanted ",
                               DTypeName(want));
      }
      pending_[y].push_back(Grad{Out(nullptr, grad_y), {}, {}, {}});
      return absl::OkStatus();
    }
    if (!Differentiable(y.node->output_type(y.index))) {
      return InvalidArgument("gradients of ", y.node->info().Describe(), " need grad_ys: its type is ",
                             DTypeName(y.node->output_type(y.index)));
    }
    GraphBuilder b(graph_, options_.scope);
    b.SetSource(y.node->info().source);
    Out shape;
    if (y.node->output_shape(y.index).IsFullyKnown()) {
      auto dims = y.node->output_shape(y.index).dims();
      shape = b.Op("Const", {}, {{"value", ShapeTensor(dims)}, {"dtype", DType::kInt32}}, "Shape");
    } else {
      shape = b.Op("Shape", {Out(&b, y)});
    }
    Out ones = b.Op("Fill", {shape, b.Op("Const", {}, OneAttrs(BaseType(y.node->output_type(y.index))), "grad_ys_0")});
    RETURN_IF_ERROR(b.status());
    pending_[y].push_back(Grad{ones, {}, {}, {}});
    return absl::OkStatus();
  }

  static Tensor ShapeTensor(absl::Span<const int64_t> dims) {
    std::vector<int32_t> narrow(dims.begin(), dims.end());
    return Tensor::Vector<int32_t>(narrow);
  }

  AttrMap OneAttrs(DType dtype) {
    Graph scratch(&graph_->ops());
    GraphBuilder b(&scratch);
    Out one = b.Scalar(dtype, 1);
    return one.valid() ? one.node()->attrs() : AttrMap();
  }

  // The sum of what reached an endpoint; invalid when nothing did.
  absl::StatusOr<Grad> Total(const Endpoint& e) {
    auto it = pending_.find(e);
    if (it == pending_.end() || it->second.empty()) return Grad();
    std::vector<Grad>& parts = it->second;
    if (parts.size() == 1) return parts[0];
    GraphBuilder b(graph_, options_.scope);
    b.SetSource(e.node->info().source);
    if (!e.node->info().device.empty()) b.SetDevice(e.node->info().device);
    auto own = [&b](Out out) { return Out(&b, out.endpoint()); };
    Grad sum;
    if (std::all_of(parts.begin(), parts.end(), [](const Grad& g) { return g.is_sparse(); })) {
      std::vector<Out> values, indices;
      for (const Grad& g : parts) {
        values.push_back(own(g.values));
        indices.push_back(own(g.indices));
      }
      DType index_type = indices[0].dtype();
      for (Out& i : indices) {
        if (i.dtype() != index_type) {
          for (Out& j : indices) {
            if (j.dtype() != DType::kInt64) j = b.Op("Cast", {j}, {{"DstT", DType::kInt64}});
          }
          break;
        }
      }
      values.push_back(b.Int(0));
      indices.push_back(b.Int(0));
      int64_t n = static_cast<int64_t>(parts.size());
      sum.values = b.Op("ConcatV2", values, {{"N", n}}, "concat");
      sum.indices = b.Op("ConcatV2", indices, {{"N", n}}, "concat");
      sum.dense_shape = parts[0].dense_shape;
    } else {
      std::vector<Out> dense;
      for (Grad& g : parts) {
        if (g.is_sparse()) {
          std::vector<Grad> dys(e.node->num_outputs());
          dys[e.index] = g;
          GradientScope scope(graph_, e.node, std::move(dys), options_.scope);
          dense.push_back(own(scope.dy(e.index)));
          RETURN_IF_ERROR(scope.status());
        } else {
          dense.push_back(own(g.dense));
        }
      }
      sum.dense = b.Op("AddN", dense);
    }
    RETURN_IF_ERROR(b.status());
    parts = {sum};
    return sum;
  }

  absl::Status Visit(Node* node, const std::vector<bool>& below, const absl::flat_hash_set<Endpoint>& wanted) {
    std::vector<Grad> dys(node->num_outputs());
    bool any = false;
    for (int i = 0; i < node->num_outputs(); ++i) {
      if (stops_.contains(Endpoint{node, i})) continue;
      // Also those asked for: their own inputs may be asked for too.
      ASSIGN_OR_RETURN(dys[i], Total({node, i}));
      any |= dys[i].valid();
    }
    bool needed = std::any_of(node->inputs().begin(), node->inputs().end(), [&](const Endpoint& e) {
      return e.node->id() < static_cast<int>(below.size()) && below[e.node->id()] && !stops_.contains(e);
    });
    if (!any || !needed) return absl::OkStatus();
    GradientScope g(graph_, node, std::move(dys), absl::StrCat(options_.scope, "/", node->name(), "_grad"));
    g.SetSource(node->info().source);
    if (!node->info().device.empty()) g.SetDevice(node->info().device);
    if (options_.colocate) g.SetColocation(node->name());
    bool done = false;
    if (options_.override_rule) {
      absl::StatusOr<bool> r = options_.override_rule(g);
      if (!r.ok()) return Annotate(r.status(), absl::StrCat("gradient of ", node->info().Describe(), ": "));
      done = *r;
    }
    if (!done) {
      if (node->op().gradient) {
        absl::Status s = node->op().gradient(g);
        if (s.ok()) s = g.status();
        if (!s.ok()) return Annotate(s, absl::StrCat("gradient of ", node->info().Describe(), ": "));
      } else if (!node->Is(kNotDifferentiable)) {
        return NotFound("op ", node->op().name, " has no gradient, needed for ", node->info().Describe(),
                        "; register one with RegisterGradient('", node->op().name,
                        "') or cut the path with stop_gradient");
      }
    }
    RETURN_IF_ERROR(g.status());
    for (int i = 0; i < node->num_inputs(); ++i) {
      Grad& dx = g.dxs()[i];
      if (!dx.valid()) continue;
      const Endpoint& in = node->input(i);
      if (!Differentiable(in.node->output_type(in.index))) continue;
      if (dx.dense.valid() && !dx.dense.shape().IsCompatibleWith(in.node->output_shape(in.index)) &&
          BaseType(in.node->output_type(in.index)) != DType::kResource) {
        return InvalidArgument("gradient of ", node->info().Describe(), " for input ", i, " has shape ",
                               dx.dense.shape().ToString(), ", the input has ",
                               in.node->output_shape(in.index).ToString());
      }
      for (Out* out : {&dx.dense, &dx.values, &dx.indices, &dx.dense_shape}) *out = Out(nullptr, out->endpoint());
      pending_[in].push_back(dx);
    }
    return absl::OkStatus();
  }

  Graph* graph_;
  const GradientOptions& options_;
  absl::flat_hash_set<Endpoint> stops_;
  absl::flat_hash_map<Endpoint, std::vector<Grad>> pending_;
};

}  // namespace

absl::StatusOr<std::vector<Grad>> AddGradients(Graph* graph, const std::vector<Endpoint>& ys,
                                               const std::vector<Endpoint>& xs, const std::vector<Endpoint>& grad_ys,
                                               const GradientOptions& options) {
  if (!grad_ys.empty() && grad_ys.size() != ys.size()) {
    return InvalidArgument("grad_ys has ", grad_ys.size(), " entries for ", ys.size(), " ys");
  }
  return Engine(graph, options).Run(ys, xs, grad_ys);
}

}  // namespace sluice
