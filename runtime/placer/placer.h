// Chooses a device for every node, and says why.
//
// Nodes that must be together form a group: those of one "loc:@name" class, and the ends of reference and resource
// edges. A group goes to a device that every member's device string allows and has a kernel for every member. Who uses
// a reference or a resource follows its owner, whatever it asked for itself. Where that leaves a choice, a source with
// consumers on one device goes there, a cheap pass-through goes where its input is, and the rest goes to the first of:
// the default task's devices, the higher kernel priority, accelerators before CPUs, the order given.
//
// `cost_aware` decides those choices, except for what keeps state, by simulating the step (see simulation.h).
//
// Soft placement keeps job, replica and task of what was asked for and gives up the rest when it cannot be had.
#ifndef SLUICE_RUNTIME_PLACER_PLACER_H_
#define SLUICE_RUNTIME_PLACER_PLACER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/device/device_name.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel_registry.h"
#include "runtime/placer/cost_model.h"
#include "runtime/placer/history.h"

namespace sluice {

struct PlacerDevice {
  std::string name;  // full
  DeviceName parsed;
  std::string type;
};
absl::StatusOr<PlacerDevice> MakePlacerDevice(const std::string& full_name);

struct PlacerOptions {
  const KernelRegistry* kernels = nullptr;
  bool soft_placement = false;
  // Preferred where nodes leave the choice, such as "/job:worker/task:0"; empty: the task of the first device.
  std::string default_device;
  // What keeps state stays where an earlier plan put it, and is remembered. Null: nothing is.
  PlacementHistory* history = nullptr;

  bool explain = true;  // else PlaceGraph returns no text
  bool cost_aware = false;
  const CostModel* costs = nullptr;    // null: estimates
  const Topology* topology = nullptr;  // null: by nearness
};

// Sets the assigned device of every node and returns a line for each that says why: "y (MatMul): /job:... because ...".
// Nodes that have an assigned device keep it. An error names the smallest set of nodes whose wishes, kernels and ties
// contradict each other, with the user's lines.
absl::StatusOr<std::string> PlaceGraph(Graph* graph, const std::vector<PlacerDevice>& devices,
                                       const PlacerOptions& options);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_PLACER_H_
