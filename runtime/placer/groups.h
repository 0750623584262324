// Which nodes must be on one device, and why: those of one "loc:@name" class, the ends of reference and resource edges,
// and nodes whose functions name a variable with that variable. A node that calls functions may use resources of
// several devices of its task: it goes with the first.
//
// Groups are numbered in order of their first member.
//
// Lifetime: the graph must outlive the groups and keep its nodes and edges.
#ifndef SLUICE_RUNTIME_PLACER_GROUPS_H_
#define SLUICE_RUNTIME_PLACER_GROUPS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "core/graph/graph.h"

namespace sluice {

// `b` goes where `a` goes.
struct Tie {
  enum Kind : uint8_t { kClass, kReference, kResource, kBody };
  const Node* a = nullptr;
  const Node* b = nullptr;
  Kind kind = kClass;
  absl::string_view name;  // of the class or the variable

  // "it is colocated with 'v'"; `it` names b otherwise.
  std::string Describe(absl::string_view it = "it") const;
};

// Whether the node keeps state that later steps find again under its name (variables, queues, random generators).
bool OwnsState(const Node& node);

class ColocationGroups {
 public:
  // `wanted_device` tells where an owner of state is to be, "" when that is open.
  ColocationGroups(const Graph& graph, absl::FunctionRef<std::string(const Node&)> wanted_device);

  int size() const { return static_cast<int>(members_.size()); }
  int Of(const Node* node) const { return group_[node->id()]; }
  const std::vector<Node*>& members(int group) const { return members_[group]; }
  // What joined the node to its group; null for the one that others joined, and for nodes on their own.
  const Tie* WhyJoined(const Node* node) const;
  // The owners of state that the functions of a node declare themselves, by name (reference variables).
  using BodyState = std::vector<std::pair<std::string, const Node*>>;
  const BodyState* BodyStateOf(const Node* node) const;
  // Resources that a node uses although it was not joined to their owners: (user, owner).
  const std::vector<std::pair<const Node*, const Node*>>& loose() const { return loose_; }
  // The shortest chain of ties from any of `from` to any of `to`, all of one group; the nodes at its ends in `*first`
  // and `*last`. Empty when the two have a node in common.
  std::vector<const Tie*> Chain(const std::vector<const Node*>& from, const std::vector<const Node*>& to,
                                const Node** first, const Node** last) const;

 private:
  int Root(int id);
  void Join(const Node* a, const Node* b, Tie::Kind kind, absl::string_view name);
  void JoinClasses();
  void JoinState(absl::FunctionRef<std::string(const Node&)> wanted_device);
  void JoinBodies();

  const Graph& graph_;
  const std::vector<Node*> nodes_;
  std::vector<int> parent_;  // union-find over node ids
  std::vector<Tie> ties_;
  std::vector<int> joined_by_;  // by node id: in ties_, or -1
  std::vector<int> group_;      // by node id
  std::vector<std::vector<Node*>> members_;
  absl::flat_hash_map<const Node*, BodyState> body_state_;
  std::vector<std::pair<const Node*, const Node*>> loose_;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_GROUPS_H_
