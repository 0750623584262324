// Ops on what several steps and sessions share: queues, gradient accumulators, barriers, clocks; and stacks.
#ifndef SLUICE_OPS_QUEUE_QUEUE_OPS_H_
#define SLUICE_OPS_QUEUE_QUEUE_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineQueueFamilyOps(OpRegistry& ops);

// The topics, each in a file of its name.
void DefineQueues(OpRegistry& ops);        // queues.cc
void DefineAccumulators(OpRegistry& ops);  // accumulators.cc
void DefineBarriers(OpRegistry& ops);      // barriers.cc
void DefineClocks(OpRegistry& ops);        // clocks.cc
void DefineStacks(OpRegistry& ops);        // stacks.cc

}  // namespace sluice

#endif  // SLUICE_OPS_QUEUE_QUEUE_OPS_H_
