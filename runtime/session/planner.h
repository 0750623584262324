// Makes the plan of one signature: cuts the graph down to what feeds, fetches and targets need, runs the passes, places
// the nodes, splits the graph by device and plans each part.
#ifndef SLUICE_RUNTIME_SESSION_PLANNER_H_
#define SLUICE_RUNTIME_SESSION_PLANNER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"
#include "runtime/executor/function_runtime.h"
#include "runtime/executor/step.h"
#include "runtime/partition/partition.h"
#include "runtime/placer/cost_model.h"
#include "runtime/placer/history.h"
#include "runtime/session/partial_book.h"
#include "runtime/session/session.h"

namespace sluice {

// What a fed tensor must be.
struct FeedCheck {
  std::string name;      // "x:0"
  std::string describe;  // "Placeholder 'x' (model.py:3)"
  DType dtype = DType::kInvalid;
  PartialShape shape;
};
// OK, or an error that names the feed, its node, the user's line, what was found and wanted.
absl::Status CheckFeed(const FeedCheck& wanted, const Tensor& found);

struct SessionPlan {
  int64_t mutations = 0;  // of the graph when it was planned
  std::vector<FeedCheck> feeds;
  std::string placement;                                    // why every node is where it is
  PartialPlan partial;                                      // of a step in parts
  std::vector<std::unique_ptr<FunctionRuntime>> functions;  // one for each partition
  std::unique_ptr<StepPlan> step;

  std::string Dump() const;
};

// Where a session's plans run.
//
// `cluster` is for masters: when it is given, nodes are placed on those devices, which may belong to other tasks, and
// `devices[0]`, of this process, only evaluates constants.
struct PlannerSetup {
  const Environment* environment = nullptr;
  const SessionOptions* options = nullptr;
  std::vector<Device*> devices;           // the first one is the default
  std::vector<ResourceStore*> resources;  // of each device
  std::vector<DeviceAttributes> cluster;  // the first one is the default
  PlacementHistory* history = nullptr;    // where state lives, the same for all plans; may be null
  MeasuredCosts* measured = nullptr;      // times of nodes in traced steps; may be null
  bool explain = true;                    // plans tell where nodes were placed, and why
};

// The graph of one signature, placed and cut by device, ready to be planned here or sent to where its devices are.
struct PlacedStep {
  int64_t mutations = 0;
  std::vector<FeedCheck> feeds;
  std::string placement;
  std::vector<Partition> partitions;
  PartialPlan partial;               // of a step in parts: its partitions have neither arguments nor results
  std::unique_ptr<Graph> functions;  // has no nodes: keeps the library that the partitions call
};
// Locks the graph while it copies what it needs.
absl::StatusOr<PlacedStep> PlaceStep(const PlannerSetup& setup, const Graph& graph, const CallableSpec& spec);

// Plans partitions whose devices are all among setup.devices.
struct PlannedStep {
  std::vector<std::unique_ptr<FunctionRuntime>> functions;  // one for each partition
  std::unique_ptr<StepPlan> step;
};
absl::StatusOr<PlannedStep> PlanPartitions(const PlannerSetup& setup, std::vector<Partition> partitions,
                                           const Graph& functions, int num_arguments, int num_results);

absl::StatusOr<std::unique_ptr<SessionPlan>> MakeSessionPlan(const PlannerSetup& setup, const Graph& graph,
                                                             const CallableSpec& spec);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_PLANNER_H_
