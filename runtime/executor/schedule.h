// The order in which one thread runs the nodes of a partition.
//
// Topological, otherwise in order of creation. Ops that change a resource run as late as their dependencies allow:
// after the nodes that read the resource (and what uses the value they read directly), as far as those do not depend on
// the change. So readers hold no bytes any more when the variable is updated, and the update happens in place.
#ifndef SLUICE_RUNTIME_EXECUTOR_SCHEDULE_H_
#define SLUICE_RUNTIME_EXECUTOR_SCHEDULE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"

namespace sluice {

absl::StatusOr<std::vector<Node*>> LaneOrder(const Graph& graph);

// The node that owns the state which input `input` refers to (a reference or resource, through identities); null for
// other inputs.
const Node* StateOwner(const Node& node, int input);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_SCHEDULE_H_
