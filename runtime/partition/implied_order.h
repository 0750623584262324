// Drops control edges across devices that other paths imply, so that nothing is sent for them.
//
//   a @dev1 -> b @dev2 -> c @dev2, c waits for a       becomes   c waits for b only, which it reads anyway
#ifndef SLUICE_RUNTIME_PARTITION_IMPLIED_ORDER_H_
#define SLUICE_RUNTIME_PARTITION_IMPLIED_ORDER_H_

#include "absl/status/status.h"
#include "core/graph/graph.h"

namespace sluice {

// The search for a path is bounded for each edge, so that the time is linear: a few implied edges may stay.
absl::Status DropImpliedOrder(Graph* graph);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PARTITION_IMPLIED_ORDER_H_
