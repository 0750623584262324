// Makes receives begin as late as useful, so that received tensors wait in memory for a short time only.
//
//   _Recv -> b,  a -> b, a slow      becomes   _Recv begins after the last node that ends early enough not to delay b
//
// Every node is given its latest time that does not lengthen the critical path (ALAP), from estimated or measured costs
// and the links between devices. A large receive then waits for the last node of its device that is over by the time at
// which the receive must begin; section 5.2 of the TensorFlow white paper of 2015.
#ifndef SLUICE_RUNTIME_PARTITION_LATE_RECEIVES_H_
#define SLUICE_RUNTIME_PARTITION_LATE_RECEIVES_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/graph/graph.h"
#include "runtime/placer/cost_model.h"

namespace sluice {

// `transfers`: the _Send and _Recv nodes of each tensor that crosses.
absl::Status DelayReceives(Graph* graph, const std::vector<std::pair<Node*, Node*>>& transfers, int64_t min_bytes,
                           const CostModel& costs, const Topology& topology);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PARTITION_LATE_RECEIVES_H_
