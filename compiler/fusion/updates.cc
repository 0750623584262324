#include "compiler/fusion/updates.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "core/base/status.h"

namespace sluice {
namespace {

constexpr int64_t kMaxElements = 2048;        // of one member: beyond, its elements take longer than all else
constexpr int64_t kMaxTotalElements = 16384;  // of a node: a task of a few microseconds, as one thread likes it
constexpr size_t kMaxMembers = 32;            // the kernel's limit

bool IsState(DType t) { return t == DType::kResource || IsRefType(t); }

// An update as this pass sees it.
struct Update {
  Node* node = nullptr;
  int num_states = 0;  // the first inputs
  int gradient = 0;
  int64_t elements = 0;
};

bool Flag(const Node& n, const char* name, bool value) {
  const AttrValue* found = n.attrs().Find(name);
  return found != nullptr && found->As<bool>() != nullptr ? *found->As<bool>() : value;
}

// Reads a variable and nothing else: what optimisers make anew for each update.
bool IsRead(const Node& n) {
  return n.Is(kReadsState) && !n.Is(kWritesState) && n.num_inputs() == 1 && IsState(n.input_type(0)) &&
         n.num_outputs() == 1 && !IsState(n.output_type(0));
}

// What a hyper-parameter is: a tensor, or the variable that is read, after which nodes.
using Hyper = std::tuple<int, int, std::vector<int>>;

Hyper HyperOf(const Endpoint& e) {
  if (!IsRead(*e.node)) return {e.node->id(), e.index, {}};
  std::vector<int> after;
  for (const Node* n : e.node->control_inputs()) after.push_back(n->id());
  std::sort(after.begin(), after.end());
  return {e.node->input(0).node->id(), e.node->input(0).index, std::move(after)};
}

// What members have in common. Updates of one depth do not wait for each other, and neither do groups of them.
using Key = std::tuple<int, std::string, std::string, DType, bool, bool, std::vector<Hyper>>;

Key KeyOf(const Update& u, int depth) {
  const Node& n = *u.node;
  std::vector<Hyper> hyper;
  for (int i = u.num_states; i < n.num_inputs(); ++i) {
    if (i != u.gradient) hyper.push_back(HyperOf(n.input(i)));
  }
  return {depth,
          n.op().name,
          n.assigned_device(),
          n.input_type(u.gradient),
          Flag(n, "use_nesterov", false),
          Flag(n, "update_slots", true),
          std::move(hyper)};
}

// Where the handle or reference of a state comes from.
std::pair<const Node*, int> OwnerOf(Endpoint e) {
  while (e.node->Is(kIdentity) && e.node->num_inputs() == 1) e = e.node->input(0);
  return {e.node, e.index};
}

class Search {
 public:
  Search(const PassContext& context, const NodePredicate& can_update_together, const std::vector<Node*>& order,
         int num_ids)
      : context_(context), can_update_together_(can_update_together), depth_(num_ids, 0), waits_(num_ids, false) {
    std::vector<Update> found;
    bool others_hear = false;  // something outside may go on because of an update, and this graph because of that
    for (Node* n : order) {
      auto follow = [&](const Node* before) {
        depth_[n->id()] = std::max(depth_[n->id()], depth_[before->id()]);
        waits_[n->id()] = waits_[n->id()] || waits_[before->id()];
      };
      for (const Endpoint& e : n->inputs()) follow(e.node);
      for (const Node* before : n->control_inputs()) follow(before);
      if (n->Is(kBlocking)) waits_[n->id()] = true;
      others_hear = others_hear || (depth_[n->id()] > 0 && ReachesOutside(*n));
      Update u;
      if (!IsCandidate(n, &u)) continue;
      found.push_back(u);
      ++depth_[n->id()];
    }
    for (const Update& u : found) {
      if (others_hear && waits_[u.node->id()]) continue;
      groups_[KeyOf(u, depth_[u.node->id()])].push_back(u);
    }
  }

  // Members of one node each, more than one.
  std::vector<std::vector<Update>> Nodes() const {
    std::vector<std::vector<Update>> nodes;
    for (const auto& [key, updates] : groups_) {
      std::vector<Update> members;
      absl::flat_hash_set<std::pair<const Node*, int>> owners;
      int64_t elements = 0;
      auto close = [&]() {
        if (members.size() > 1) nodes.push_back(members);
        members.clear();
        owners.clear();
        elements = 0;
      };
      for (const Update& u : updates) {
        bool shares = false;
        for (int i = 0; i < u.num_states; ++i) shares = shares || owners.contains(OwnerOf(u.node->input(i)));
        if (shares || members.size() == kMaxMembers || elements + u.elements > kMaxTotalElements) close();
        members.push_back(u);
        elements += u.elements;
        for (int i = 0; i < u.num_states; ++i) owners.insert(OwnerOf(u.node->input(i)));
      }
      close();
    }
    return nodes;
  }

 private:
  bool IsCandidate(Node* n, Update* u) const {
    if (!n->Is(kWritesState) || context_.preserve.contains(n->name()) || !n->out_edges().empty()) return false;
    u->node = n;
    u->gradient = n->op().FindInput("grad");
    if (u->gradient < 0) u->gradient = n->op().FindInput("delta");
    while (u->num_states < n->num_inputs() && IsState(n->input_type(u->num_states))) ++u->num_states;
    if (u->gradient < u->num_states || u->num_states == 0) return false;
    const Endpoint& gradient = n->input(u->gradient);
    u->elements = gradient.node->output_shape(gradient.index).num_elements();
    return u->elements >= 0 && u->elements <= kMaxElements && can_update_together_(n->info());
  }

  static bool ReachesOutside(const Node& n) {
    if (n.Is(kBlocking)) return true;
    return (n.Is(kStateful) || n.Is(kSideEffect)) && !n.Is(kReadsState) && !n.Is(kWritesState) && !n.Is(kRandom) &&
           n.op().name != "_Retval";
  }

  const PassContext& context_;
  const NodePredicate& can_update_together_;
  std::vector<int> depth_;   // by id: the most updates on a path that ends here
  std::vector<bool> waits_;  // by id: comes after something that waits for the outside
  std::map<Key, std::vector<Update>> groups_;
};

absl::Status Replace(Graph* graph, const PassContext& context, const std::vector<Update>& members) {
  const Update& first = members[0];
  NodeSpec spec;
  spec.op = "_FusedUpdates";
  spec.name = first.node->name() + "/_fused";
  spec.device = first.node->info().device;
  spec.source = first.node->info().source;
  std::vector<DType> types;
  std::vector<std::string> sources, states;
  absl::flat_hash_set<Node*> before, after;
  auto take = [&](const Node& n, int input) {
    spec.inputs.push_back(n.input(input));
    types.push_back(n.input_type(input));
  };
  for (const Update& u : members) {
    for (int i = 0; i < u.num_states; ++i) take(*u.node, i);
    take(*u.node, u.gradient);
    sources.push_back(u.node->info().Describe());
    for (Node* n : u.node->control_inputs()) {
      if (before.insert(n).second) spec.control_inputs.push_back(n);
    }
  }
  for (int i = first.num_states; i < first.node->num_inputs(); ++i) {
    if (i != first.gradient) take(*first.node, i);
  }
  for (int i = 0; i < first.num_states; ++i) states.push_back(first.node->op().inputs[i].name);
  spec.attrs.Set("op", first.node->op().name);
  spec.attrs.Set("T", BaseType(first.node->input_type(first.gradient)));
  spec.attrs.Set("Tin", std::move(types));
  spec.attrs.Set("count", static_cast<int64_t>(members.size()));
  spec.attrs.Set("states", std::move(states));
  spec.attrs.Set("sources", std::move(sources));
  spec.attrs.Set("use_nesterov", Flag(*first.node, "use_nesterov", false));
  spec.attrs.Set("update_slots", Flag(*first.node, "update_slots", true));
  const std::string device = first.node->assigned_device();
  ASSIGN_OR_RETURN(Node * fused, graph->AddNodeUniqueName(std::move(spec)));
  fused->set_assigned_device(device);
  for (const Update& u : members) {
    const std::vector<Node*> readers(u.node->control_outputs().begin(), u.node->control_outputs().end());
    for (Node* n : readers) {
      graph->RemoveControlEdge(u.node, n);
      if (after.insert(n).second) RETURN_IF_ERROR(graph->AddControlEdge(fused, n));
    }
    absl::flat_hash_set<Node*> reads;
    for (const Endpoint& e : u.node->inputs()) {
      if (IsRead(*e.node)) reads.insert(e.node);
    }
    graph->RemoveNode(u.node);
    for (Node* n : reads) {
      if (n->out_edges().empty() && n->control_outputs().empty() && !context.preserve.contains(n->name())) {
        graph->RemoveNode(n);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> UpdateFusion::Run(Graph* graph, const PassContext& context) const {
  ASSIGN_OR_RETURN(const std::vector<Node*> order, graph->TopologicalOrder());
  const auto nodes = Search(context, can_update_together_, order, graph->num_node_ids()).Nodes();
  for (const std::vector<Update>& members : nodes) RETURN_IF_ERROR(Replace(graph, context, members));
  return !nodes.empty();
}

}  // namespace sluice
