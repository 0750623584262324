// Chooses a device for every node.
//
// Nodes that must be together form a group: those of one "loc:@name" class, and the ends of reference and resource
// edges. A group goes to a device that every member's device string allows and has a kernel for every member. Where
// that leaves a choice, a source with consumers on one device goes there, a cheap pass-through goes where its input is,
// and the rest goes to the most preferred device (accelerators before CPUs, then in the order given).
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
  std::string default_device;  // a partial name that fills what nodes leave open, such as "/job:worker/task:0"
};

// Sets the assigned device of every node and returns a line for each that says why: "y (MatMul): /job:... because ...".
// Nodes that have an assigned device keep it. Errors name the nodes and the constraints that contradict each other.
absl::StatusOr<std::string> PlaceGraph(Graph* graph, const std::vector<PlacerDevice>& devices,
                                       const PlacerOptions& options);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_PLACER_H_
