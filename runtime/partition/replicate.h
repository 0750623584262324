// Copies cheap nodes to the devices of their consumers, so that nothing is sent.
//
//   c = Const() @dev1;  b = Neg(c) @dev2         becomes   c/_copy = Const() @dev2;  b = Neg(c/_copy) @dev2
//
// Copied are: constants up to a size; cheap nodes without state whose inputs are copied too; and those whose inputs are
// on the other device anyway (the shape of a tensor that is sent there is worked out there). Originals that nobody uses
// any more are removed. Nodes with control inputs stay where they are.
#ifndef SLUICE_RUNTIME_PARTITION_REPLICATE_H_
#define SLUICE_RUNTIME_PARTITION_REPLICATE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "core/graph/graph.h"

namespace sluice {

// REQUIRES: every node has an assigned device.
absl::Status ReplicateCheapNodes(Graph* graph, int64_t max_bytes);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PARTITION_REPLICATE_H_
