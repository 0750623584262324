#include "core/graph/verifier.h"

#include <algorithm>

#include "core/base/status.h"
#include "core/graph/function.h"

namespace sluice {
namespace {

absl::Status VerifyNode(const Graph& graph, const Node* n) {
  if (graph.Find(n->name()) != n) return Internal("the name leads to another node");
  if (graph.FindById(n->id()) != n) return Internal("the id leads to another node");
  if (n->num_inputs() != static_cast<int>(n->info().input_types.size()))
    return Internal("inputs and input types differ in number");
  for (int i = 0; i < n->num_inputs(); ++i) {
    const Endpoint& e = n->input(i);
    if (e.node == nullptr || graph.FindById(e.node->id()) != e.node)
      return Internal("input ", i, " is not of this graph");
    if (e.index < 0 || e.index >= e.node->num_outputs()) {
      return Internal("input ", i, " is output ", e.index, " of '", e.node->name(), "', which has ",
                      e.node->num_outputs());
    }
    DType found = e.node->output_type(e.index), wanted = n->info().input_types[i];
    if (BaseType(found) != BaseType(wanted) || (IsRefType(wanted) && !IsRefType(found))) {
      return Internal("input ", i, " ('", e.node->name(), "') is ", DTypeName(found), ", wanted ", DTypeName(wanted));
    }
    auto edges = e.node->out_edges();
    if (std::none_of(edges.begin(), edges.end(),
                     [&](const OutEdge& o) { return o.to == n && o.input == i && o.output == e.index; })) {
      return Internal("'", e.node->name(), "' does not know its edge to input ", i);
    }
  }
  for (const OutEdge& o : n->out_edges()) {
    if (o.input >= o.to->num_inputs() || !(o.to->input(o.input) == Endpoint{const_cast<Node*>(n), o.output})) {
      return Internal("'", o.to->name(), "' does not know its edge from output ", o.output);
    }
  }
  for (Node* c : n->control_inputs()) {
    auto outs = c->control_outputs();
    if (std::find(outs.begin(), outs.end(), n) == outs.end())
      return Internal("control edge from '", c->name(), "' is one-sided");
  }
  AttrMap attrs = n->attrs();
  RETURN_IF_ERROR(CheckAttrs(n->op(), &attrs));
  ASSIGN_OR_RETURN(std::vector<DType> outputs, ArgTypes(n->op().outputs, attrs));
  if (outputs != n->info().output_types) return Internal("output types do not follow from the attributes");
  for (const auto& [name, value] : attrs) {
    const FuncRef* f = value.As<FuncRef>();
    if (f != nullptr && !f->name.empty() && graph.functions().Find(f->name) == nullptr &&
        graph.ops().Find(f->name) == nullptr) {
      return NotFound("attribute '", name, "' names function '", f->name, "', which is not in the graph's library");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status VerifyGraph(const Graph& graph, bool infer) {
  for (Node* n : graph.nodes()) {
    absl::Status s = VerifyNode(graph, n);
    if (s.ok() && infer) s = const_cast<Graph&>(graph).InferShapes(n);
    if (!s.ok()) return Annotate(s, absl::StrCat(n->info().Describe(), ": "));
  }
  return graph.TopologicalOrder().status();
}

}  // namespace sluice
