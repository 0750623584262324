#include "runtime/session/cut.h"

#include <utility>

#include "core/base/status.h"
#include "runtime/executor/rewrites.h"

namespace sluice {
namespace {

absl::StatusOr<Endpoint> Resolve(const Graph& graph, absl::string_view what, const std::string& name) {
  absl::StatusOr<ParsedInput> parsed = ParseInputName(name);
  if (!parsed.ok() || parsed->control)
    return InvalidArgument("the ", what, " '", name, "' is not the name of a tensor (name:index)");
  Node* node = graph.Find(parsed->node);
  if (node == nullptr) return NotFound("the ", what, " '", name, "': the graph has no node '", parsed->node, "'");
  if (parsed->index < 0 || parsed->index >= node->num_outputs()) {
    return OutOfRange("the ", what, " '", name, "': ", node->info().Describe(), " has ", node->num_outputs(),
                      " outputs");
  }
  return Endpoint{node, parsed->index};
}

bool IsPlaceholder(const Node& n) { return n.Is(kSource) && n.num_inputs() == 0 && n.num_outputs() == 1; }

}  // namespace

absl::StatusOr<CutGraph> CutToSignature(const Graph& graph, const CallableSpec& spec) {
  std::vector<bool> needed(graph.num_node_ids(), false);
  std::vector<const Node*> stack;
  auto need = [&](const Node* n) {
    if (needed[n->id()]) return;
    needed[n->id()] = true;
    stack.push_back(n);
  };
  absl::flat_hash_set<Endpoint> fed;
  for (const std::string& name : spec.feeds) {
    ASSIGN_OR_RETURN(Endpoint e, Resolve(graph, "feed", name));
    if (!fed.insert(e).second) return InvalidArgument("'", name, "' is fed twice");
    need(e.node);
  }
  for (const std::string& name : spec.fetches) {
    ASSIGN_OR_RETURN(Endpoint e, Resolve(graph, "fetch", name));
    need(e.node);
  }
  for (const std::string& name : spec.targets) {
    const Node* n = graph.Find(name);
    if (n == nullptr) return NotFound("the target '", name, "': the graph has no such node");
    need(n);
  }
  while (!stack.empty()) {
    const Node* n = stack.back();
    stack.pop_back();
    for (const Endpoint& in : n->inputs()) need(in.node);
    for (const Node* c : n->control_inputs()) need(c);
  }

  CutGraph cut;
  ASSIGN_OR_RETURN(cut.graph, graph.Clone([&](const Node& n) { return needed[n.id()]; }));
  Graph* g = cut.graph.get();
  for (size_t i = 0; i < spec.fetches.size(); ++i) {
    ASSIGN_OR_RETURN(Endpoint e, Resolve(*g, "fetch", spec.fetches[i]));
    NodeSpec retval;
    retval.op = "_Retval";
    retval.name = g->UniqueName(absl::StrCat("_retval_", i));
    retval.inputs = {e};
    retval.attrs.Set("T", BaseType(e.node->output_type(e.index)));
    retval.attrs.Set("index", static_cast<int64_t>(i));
    retval.device = e.node->info().device;
    retval.source = e.node->info().source;
    ASSIGN_OR_RETURN(Node * node, g->AddNode(std::move(retval)));
    cut.preserve.insert(node->name());
  }
  absl::flat_hash_set<const Node*> fed_placeholders;
  for (size_t i = 0; i < spec.feeds.size(); ++i) {
    ASSIGN_OR_RETURN(Endpoint e, Resolve(*g, "feed", spec.feeds[i]));
    FeedCheck check;
    check.name = spec.feeds[i];
    check.describe = e.node->info().Describe();
    check.dtype = BaseType(e.node->output_type(e.index));
    check.shape = e.node->output_shape(e.index);
    NodeSpec arg;
    arg.op = "_Arg";
    arg.name = g->UniqueName(absl::StrCat("_arg_", i));
    arg.attrs.Set("T", check.dtype);
    arg.attrs.Set("index", static_cast<int64_t>(i));
    arg.attrs.Set("shape", check.shape);
    arg.device = e.node->info().device;
    arg.source = e.node->info().source;
    ASSIGN_OR_RETURN(Node * node, g->AddNode(std::move(arg)));
    cut.preserve.insert(node->name());
    absl::Status replaced = g->ReplaceEndpoint(e, {node, 0});
    if (!replaced.ok()) return Annotate(replaced, absl::StrCat("cannot feed '", check.name, "': "));
    if (IsPlaceholder(*e.node)) {
      // What waits for the placeholder to be there has waited long enough.
      fed_placeholders.insert(e.node);
      std::vector<Node*> after(e.node->control_outputs().begin(), e.node->control_outputs().end());
      for (Node* to : after) g->RemoveControlEdge(e.node, to);
    }
    cut.feeds.push_back(std::move(check));
  }
  absl::flat_hash_set<std::string> roots = cut.preserve;
  for (const std::string& name : spec.targets) {
    if (fed_placeholders.contains(g->Find(name))) continue;
    roots.insert(name);
    cut.preserve.insert(name);
  }
  RETURN_IF_ERROR(InsertReadRefs(g));
  PruneTo(g, [&](const Node& n) { return roots.contains(n.name()) && n.op().name != "_Arg"; });
  return cut;
}

}  // namespace sluice
