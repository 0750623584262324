// Decides which slots of a partition in lanes live in its arena, where, and which outputs take over the place of an
// input. With several lanes a place is given to somebody else, and an input overwritten, only where the lanes' waits
// say that every use has ended, however the threads run.
//
// A slot is planned when its shape is static, its elements are plain bytes, its kernel asks the context for memory (it
// does not pass an input or a resource's tensor on), and the bytes are not needed after the step or by somebody who
// keeps them. Slots that may be the same bytes (kMayAlias) form a group, which lives as long as its longest member.
#ifndef SLUICE_RUNTIME_EXECUTOR_PLAN_MEMORY_H_
#define SLUICE_RUNTIME_EXECUTOR_PLAN_MEMORY_H_

#include "runtime/executor/lane_clocks.h"
#include "runtime/executor/plan.h"

namespace sluice {

// Sets kind, offset and bytes of the slots, the release lists, the last-use masks and kPlannedOutputs. REQUIRES:
// instructions, operands, slots, arguments and results are there.
void PlanLaneMemory(const LaneClocks& clocks, PartitionPlan* plan);
// Without an arena: the last-use masks, and which slots each instruction reads.
void PlanDataflowMemory(PartitionPlan* plan);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_PLAN_MEMORY_H_
