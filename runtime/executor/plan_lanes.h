// Decides whether a partition is divided among lanes, and writes down what each lane runs and waits for.
#ifndef SLUICE_RUNTIME_EXECUTOR_PLAN_LANES_H_
#define SLUICE_RUNTIME_EXECUTOR_PLAN_LANES_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/executor/lane_clocks.h"
#include "runtime/executor/lane_schedule.h"
#include "runtime/executor/plan.h"

namespace sluice {

inline constexpr uint32_t kNoInstruction = ~uint32_t{0};

struct LaneDivision {
  size_t lanes = 1;               // 1: not divided, and what follows says nothing
  std::string reason;             // why, in words for the plan's dump; "" when there was no choice
  std::vector<Node*> order;       // one in which a single thread may run all lanes
  std::vector<uint32_t> lane_of;  // by the id of a node, like the next two
  std::vector<LaneWork> work;
  std::vector<std::vector<const Node*>> before;  // that share state and come first
  bool spin = false;
  float invite_ns = 0;
};

// Looks at the plan's environment alone.
LaneDivision DivideIntoLanes(const PartitionPlan& plan, const std::vector<Node*>& order,
                             absl::FunctionRef<bool(const Node&)> has_instruction);

// Fills in what the plan says of its lanes. `instruction_of` by the id of a node.
LaneClocks LayOutLanes(const LaneDivision& division, const std::vector<uint32_t>& instruction_of, PartitionPlan* plan);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_PLAN_LANES_H_
