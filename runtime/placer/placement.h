// What a placement knows while it is made: shared by the algorithm, the report and the errors.
#ifndef SLUICE_RUNTIME_PLACER_PLACEMENT_H_
#define SLUICE_RUNTIME_PLACER_PLACEMENT_H_

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/placer/groups.h"
#include "runtime/placer/placer.h"
#include "runtime/placer/simulation.h"

namespace sluice {

// That a node is to be on certain devices.
struct Wish {
  enum Source { kAsked, kAssigned, kRemembered, kBody };
  const Node* node = nullptr;
  Source source = kAsked;
  std::string text;  // as the user wrote it
  DeviceName name;
  std::string of;  // kBody: the variable
};

struct GroupPlacement {
  std::vector<Wish> wishes;     // that agree, each device string once
  DeviceName wanted;            // all of them together
  bool softened = false;        // type and index of `wanted` were given up
  const Node* lacks = nullptr;  // a member without a kernel on ...
  std::string lacks_type;       // ... this type, where a device of the type would have been allowed
  std::vector<int> candidates;  // devices, the preferred first
  bool by_priority = false;     // kernel priorities put the first before the second

  enum Why { kFirst, kConsumers, kInput, kCost };
  Why why = kFirst;
  const Node* other = nullptr;  // kInput: which
  SimulatedGroup simulated;     // kCost
  int device = -1;
};

struct Placement {
  Placement(const Graph& g, const std::vector<PlacerDevice>& d, const PlacerOptions& o)
      : graph(g),
        devices(d),
        options(o),
        groups(g, [this](const Node& n) { return WishTextOf(n); }),
        plans(groups.size()) {}

  // Where the node must be: where it was assigned, else where an earlier plan put it, else what it asks for.
  std::string WishTextOf(const Node& node) const;

  const Graph& graph;
  const std::vector<PlacerDevice>& devices;
  const PlacerOptions& options;
  const ColocationGroups groups;
  std::vector<GroupPlacement> plans;  // by group
  // What a node asked for and does not get, since it follows the owner of what it uses, or since placement is soft.
  absl::flat_hash_map<const Node*, std::string> overruled;
};

// Where the node must be: where it was assigned, else where an earlier plan put it, else what it asks for. No text when
// it may be anywhere.
absl::StatusOr<Wish> WishOf(const Placement& p, const Node& node);
// Where the variables are that the functions of the node declare themselves.
absl::StatusOr<std::vector<Wish>> BodyWishesOf(const Placement& p, const Node& node);
// Whether the node uses state that another one owns.
bool FollowsState(const Placement& p, const Node& node);

// A line for each node.
std::string ExplainPlacement(const Placement& p);
// Why no device suits the group.
absl::Status ExplainConflict(const Placement& p, int group);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_PLACEMENT_H_
