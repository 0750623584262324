// Chooses a device for every node of a graph.
//
// Nodes that must share a device form a group: a user of a reference or resource and its maker, and what colocation constraints
// ("_class" = ["loc:@name"]) tie together. A group goes where every request of its members allows and every member has a kernel;
// among these the first device wins, accelerators before CPUs. With soft placement a request that cannot be met gives way.
// A pass-through node that asks for nothing stays with its producer.
//
// Errors name the nodes, the user's lines, what was asked for and what there is.
#ifndef SLUICE_RUNTIME_PLACER_PLACER_H_
#define SLUICE_RUNTIME_PLACER_PLACER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/device/device.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel_registry.h"

namespace sluice {

struct PlacerOptions {
  bool soft_placement = false;
};

// Sets assigned_device of every node to a full name. Returns a line for each node that says why it is where it is.
absl::StatusOr<std::vector<std::string>> PlaceGraph(Graph* graph, const std::vector<Device*>& devices,
                                                    const KernelRegistry& kernels, const PlacerOptions& options);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_PLACER_H_
