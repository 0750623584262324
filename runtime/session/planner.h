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
  std::vector<std::unique_ptr<FunctionRuntime>> functions;  // one for each partition
  std::unique_ptr<StepPlan> step;

  std::string Dump() const;
};

// Where a session's plans run.
struct PlannerSetup {
  const Environment* environment = nullptr;
  const SessionOptions* options = nullptr;
  std::vector<Device*> devices;           // the first one is the default
  std::vector<ResourceStore*> resources;  // of each device
};

// Locks the graph while it copies what it needs.
absl::StatusOr<std::unique_ptr<SessionPlan>> MakeSessionPlan(const PlannerSetup& setup, const Graph& graph,
                                                             const CallableSpec& spec);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_PLANNER_H_
