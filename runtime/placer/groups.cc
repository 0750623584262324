#include "runtime/placer/groups.h"

#include <algorithm>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/graph/function.h"

namespace sluice {

std::string Tie::Describe(absl::string_view it) const {
  switch (kind) {
    case kClass:
      return a->name() == name ? absl::StrCat(it, " is colocated with '", name, "'")
                               : absl::StrCat(it, " is colocated with '", name, "', as is '", a->name(), "'");
    case kReference:
      return absl::StrCat(it, " uses the reference of '", a->name(), "'");
    case kResource:
      return absl::StrCat(it, " uses the resource of '", a->name(), "'");
    case kBody:
      return absl::StrCat(it, " calls a function that uses the variable '", name, "'");
  }
  return "";
}

namespace {

// The functions that a node calls.
std::vector<const FuncRef*> FunctionsOf(const Node& node) {
  std::vector<const FuncRef*> found;
  for (const auto& [name, value] : node.attrs()) {
    if (const auto* one = value.As<FuncRef>()) found.push_back(one);
    if (const auto* list = value.As<std::vector<FuncRef>>()) {
      for (const FuncRef& f : *list) found.push_back(&f);
    }
  }
  return found;
}

// Adds the variables and the like that functions declare, and those that they call.
void CollectBodyState(const FunctionLibrary& library, const Node& caller, absl::flat_hash_set<std::string>* seen,
                      ColocationGroups::BodyState* state) {
  for (const FuncRef* ref : FunctionsOf(caller)) {
    const Function* f = library.Find(ref->name);
    if (f == nullptr || !seen->insert(f->name).second) continue;
    for (const Node* n : f->body->nodes()) {
      CollectBodyState(library, *n, seen, state);
      if (!OwnsState(*n) || n->Is(kRandom)) continue;
      const AttrValue* shared = n->attrs().Find("shared_name");
      const auto* name = shared == nullptr ? nullptr : shared->As<std::string>();
      state->emplace_back(name == nullptr || name->empty() ? n->name() : *name, n);
    }
  }
}

}  // namespace

bool OwnsState(const Node& node) {
  if (!node.Is(kStateful) || node.Is(kSource)) return false;
  if (node.Is(kRandom)) return true;
  for (int i = 0; i < node.num_inputs(); ++i) {
    if (IsRefType(node.input_type(i)) || node.input_type(i) == DType::kResource) return false;
  }
  for (int i = 0; i < node.num_outputs(); ++i) {
    if (IsRefType(node.output_type(i)) || node.output_type(i) == DType::kResource) return true;
  }
  return false;
}

ColocationGroups::ColocationGroups(const Graph& graph, absl::FunctionRef<std::string(const Node&)> wanted_device)
    : graph_(graph), nodes_(graph.nodes()) {
  parent_.resize(graph.num_node_ids());
  std::iota(parent_.begin(), parent_.end(), 0);
  joined_by_.assign(parent_.size(), -1);
  JoinClasses();
  JoinState(wanted_device);
  JoinBodies();
  group_.assign(parent_.size(), -1);
  for (Node* n : nodes_) {
    int& root = group_[Root(n->id())];  // the root has the smallest id, so it comes first
    if (root < 0) {
      root = size();
      members_.emplace_back();
    }
    group_[n->id()] = root;
    members_[root].push_back(n);
  }
}

int ColocationGroups::Root(int id) {
  while (parent_[id] != id) id = parent_[id] = parent_[parent_[id]];
  return id;
}

void ColocationGroups::Join(const Node* a, const Node* b, Tie::Kind kind, absl::string_view name) {
  if (a == b) return;
  int& joined = joined_by_[b->id()];
  if (joined < 0) joined = static_cast<int>(ties_.size());
  ties_.push_back({a, b, kind, name});
  const int x = Root(a->id()), y = Root(b->id());
  parent_[std::max(x, y)] = std::min(x, y);
}

void ColocationGroups::JoinClasses() {
  absl::flat_hash_map<absl::string_view, const Node*> first;  // of each class whose namesake is not in this graph
  for (const Node* n : nodes_) {
    const AttrValue* v = n->attrs().Find("_class");
    const auto* classes = v == nullptr ? nullptr : v->As<std::vector<std::string>>();
    if (classes == nullptr) continue;
    for (absl::string_view c : *classes) {
      if (!absl::ConsumePrefix(&c, "loc:@")) continue;
      const Node* with = graph_.Find(c);
      if (with == nullptr) with = first.emplace(c, n).first->second;
      Join(with, n, Tie::kClass, c);
    }
  }
}

void ColocationGroups::JoinState(absl::FunctionRef<std::string(const Node&)> wanted_device) {
  for (const Node* n : nodes_) {
    const Node* first = nullptr;
    for (int i = 0; i < n->num_inputs(); ++i) {
      const Node* owner = n->input(i).node;
      const bool ref = IsRefType(n->input_type(i)), resource = n->input_type(i) == DType::kResource;
      // A fed or returned handle may come from anywhere.
      if (!ref && (!resource || owner->op().name == "_Arg")) continue;
      if (first == nullptr) {
        first = owner;
      } else if (!ref && wanted_device(*first) != wanted_device(*owner) && !FunctionsOf(*n).empty()) {
        loose_.emplace_back(n, owner);
        continue;
      }
      Join(owner, n, ref ? Tie::kReference : Tie::kResource, "");
    }
  }
}

void ColocationGroups::JoinBodies() {
  if (graph_.functions().List().empty()) return;
  absl::flat_hash_map<std::string, const Node*> first;  // of each variable that is not in this graph
  for (const Node* n : nodes_) {
    BodyState state;
    absl::flat_hash_set<std::string> seen;
    CollectBodyState(graph_.functions(), *n, &seen, &state);
    if (state.empty()) continue;
    const BodyState& kept = body_state_[n] = std::move(state);
    for (const auto& [name, owner] : kept) {
      const Node* with = graph_.Find(name);
      if (with == nullptr || !OwnsState(*with)) with = first.emplace(name, n).first->second;
      Join(with, n, Tie::kBody, owner->name());
    }
  }
}

const ColocationGroups::BodyState* ColocationGroups::BodyStateOf(const Node* node) const {
  auto it = body_state_.find(node);
  return it == body_state_.end() ? nullptr : &it->second;
}

const Tie* ColocationGroups::WhyJoined(const Node* node) const {
  const int tie = joined_by_[node->id()];
  return tie < 0 ? nullptr : &ties_[tie];
}

std::vector<const Tie*> ColocationGroups::Chain(const std::vector<const Node*>& from,
                                                const std::vector<const Node*>& to, const Node** first,
                                                const Node** last) const {
  absl::flat_hash_map<const Node*, std::vector<const Tie*>> ties;
  for (const Tie& t : ties_) {
    ties[t.a].push_back(&t);
    ties[t.b].push_back(&t);
  }
  absl::flat_hash_map<const Node*, const Tie*> reached;  // by which tie; null where the search began
  std::vector<const Node*> queue;
  for (const Node* n : from) {
    if (reached.emplace(n, nullptr).second) queue.push_back(n);
  }
  for (size_t at = 0; at < queue.size(); ++at) {
    const Node* n = queue[at];
    if (std::find(to.begin(), to.end(), n) != to.end()) {
      std::vector<const Tie*> chain;
      *last = n;
      for (const Tie* t = reached[n]; t != nullptr; t = reached[n]) {
        chain.push_back(t);
        n = t->a == n ? t->b : t->a;
      }
      *first = n;
      std::reverse(chain.begin(), chain.end());
      return chain;
    }
    for (const Tie* t : ties[n]) {
      const Node* other = t->a == n ? t->b : t->a;
      if (reached.emplace(other, t).second) queue.push_back(other);
    }
  }
  *first = from.front();
  *last = to.front();
  return {};
}

}  // namespace sluice
