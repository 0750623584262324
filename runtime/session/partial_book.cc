#include "runtime/session/partial_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// Puts a transfer in the place of an `_Arg` or a `_Retval`.
absl::Status OpenPort(Graph* graph, Node* node, const std::string& device, PartialPlan* plan) {
  const bool feed = node->op().name == "_Arg";
  ASSIGN_OR_RETURN(int64_t number, node->info().Attr<int64_t>("index"));
  PartialPort port;
  port.number = static_cast<int>(number);
  port.device = device;
  const std::string edge = absl::StrCat(feed ? "feed_" : "fetch_", number);
  port.key = Rendezvous::MakeKey(device, 0, device, edge);
  NodeSpec spec;
  spec.op = feed ? "_Recv" : "_Send";
  spec.name = node->name() + (feed ? "/_feed" : "/_fetch");
  spec.device = device;
  spec.source = node->info().source;
  spec.control_inputs.assign(node->control_inputs().begin(), node->control_inputs().end());
  spec.attrs.Set("tensor_name", edge);
  spec.attrs.Set("send_device", device);
  spec.attrs.Set("recv_device", device);
  spec.attrs.Set("send_device_incarnation", int64_t{0});
  spec.attrs.Set("client_terminated", true);
  if (feed) {
    spec.attrs.Set("tensor_type", node->output_type(0));
    spec.attrs.Set("shape", node->output_shape(0));
  } else {
    spec.inputs = {node->input(0)};
  }
  ASSIGN_OR_RETURN(Node * made, graph->AddNodeUniqueName(std::move(spec)));
  made->set_assigned_device(node->assigned_device());
  if (feed) RETURN_IF_ERROR(graph->ReplaceEndpoint({node, 0}, {made, 0}));
  const std::vector<Node*> after(node->control_outputs().begin(), node->control_outputs().end());
  for (Node* to : after) {
    RETURN_IF_ERROR(graph->AddControlEdge(made, to));
    graph->RemoveControlEdge(node, to);
  }
  graph->RemoveNode(node);
  (feed ? plan->feeds : plan->fetches).push_back(std::move(port));
  return absl::OkStatus();
}

int PositionOf(const std::vector<std::string>& names, const std::string& name) {
  auto it = std::find(names.begin(), names.end(), name);
  return it == names.end() ? -1 : static_cast<int>(it - names.begin());
}

}  // namespace

std::vector<std::vector<int>> FeedsOfFetches(const Graph& cut, int num_fetches) {
  std::vector<std::vector<int>> needs(num_fetches);
  for (const Node* retval : cut.nodes()) {
    if (retval->op().name != "_Retval") continue;
    std::vector<int>& feeds = needs[*retval->info().Attr<int64_t>("index")];
    std::vector<bool> seen(cut.num_node_ids(), false);
    std::vector<const Node*> stack = {retval};
    auto visit = [&](const Node* n) {
      if (seen[n->id()]) return;
      seen[n->id()] = true;
      stack.push_back(n);
    };
    while (!stack.empty()) {
      const Node* n = stack.back();
      stack.pop_back();
      if (n->op().name == "_Arg") feeds.push_back(static_cast<int>(*n->info().Attr<int64_t>("index")));
      for (const Endpoint& in : n->inputs()) visit(in.node);
      for (const Node* c : n->control_inputs()) visit(c);
    }
    std::sort(feeds.begin(), feeds.end());
  }
  return needs;
}

absl::Status OpenPorts(const std::string& first_device, std::vector<Partition>* partitions, PartialPlan* plan) {
  for (Partition& part : *partitions) {
    const std::string& device = part.device.empty() ? first_device : part.device;
    for (Node* n : part.graph->nodes()) {
      if (n->op().name == "_Arg" || n->op().name == "_Retval") {
        RETURN_IF_ERROR(OpenPort(part.graph.get(), n, device, plan));
      }
    }
  }
  return absl::OkStatus();
}

PartialBook::PartialBook(const CallableSpec* spec, const PartialPlan* plan)
    : spec_(*spec), plan_(*plan), given_(spec->feeds.size(), false), taken_(spec->fetches.size(), false) {}

absl::Status PartialBook::Find(absl::Span<const std::string> feeds, absl::Span<const std::string> fetches,
                               std::vector<int>* feed_numbers, std::vector<int>* fetch_numbers) const {
  std::vector<bool> given = given_, taken = taken_;
  for (const std::string& name : feeds) {
    const int i = PositionOf(spec_.feeds, name);
    if (i < 0) return InvalidArgument("The feed ", name, " was not specified in partial_run_setup.");
    if (given[i]) return InvalidArgument("The feed ", name, " has already been fed.");
    given[i] = true;
    feed_numbers->push_back(i);
  }
  for (const std::string& name : fetches) {
    const int i = PositionOf(spec_.fetches, name);
    if (i < 0) return InvalidArgument("The fetch ", name, " was not specified in partial_run_setup.");
    if (taken[i]) return InvalidArgument("The fetch ", name, " has already been fetched.");
    taken[i] = true;
    fetch_numbers->push_back(i);
    std::vector<std::string> missing;
    for (int f : plan_.needs[i]) {
      if (!given[f]) missing.push_back(spec_.feeds[f]);
    }
    if (!missing.empty()) {
      return InvalidArgument("The fetch ", name,
                             " can't be computed from the feeds that have been fed so far: it also needs ",
                             absl::StrJoin(missing, ", "), ".");
    }
  }
  return absl::OkStatus();
}

void PartialBook::Mark(absl::Span<const int> feeds, absl::Span<const int> fetches) {
  for (int i : feeds) given_[i] = true;
  for (int i : fetches) taken_[i] = true;
}

bool PartialBook::complete() const {
  for (const PartialPort& p : plan_.feeds) {
    if (!given_[p.number]) return false;
  }
  return std::find(taken_.begin(), taken_.end(), false) == taken_.end();
}

std::string PartialBook::Open() const {
  std::vector<std::string> open;
  for (size_t i = 0; i < taken_.size(); ++i) {
    if (!taken_[i]) open.push_back(spec_.fetches[i]);
  }
  return open.empty() ? "nothing" : absl::StrJoin(open, ", ");
}

absl::Status NoPartialRun(const std::string& handle) {
  return InvalidArgument("Must run 'setup' before performing partial runs! No partial run '", handle,
                         "' is open: one ends when all its fetches were taken, and with its session");
}

absl::Status CheckPartialSpec(const CallableSpec& spec) {
  if (spec.fetches.empty() && spec.targets.empty()) {
    return InvalidArgument("partial_run_setup: you must specify at least one target to fetch or execute.");
  }
  for (size_t i = 0; i < spec.fetches.size(); ++i) {
    if (PositionOf(spec.fetches, spec.fetches[i]) != static_cast<int>(i)) {
      return InvalidArgument("partial_run_setup: '", spec.fetches[i], "' is fetched twice");
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice
