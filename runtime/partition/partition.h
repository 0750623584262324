// Splits a placed graph into one graph for each device, with a _Send/_Recv pair for each tensor that crosses.
//
//   a @dev1 -> b, c @dev2        becomes   dev1: a -> _Send        dev2: _Recv -> b, c
//
// A tensor is sent once to each device that needs it. A control edge across devices becomes a tensor without contents
// that is sent after the node.
#ifndef SLUICE_RUNTIME_PARTITION_PARTITION_H_
#define SLUICE_RUNTIME_PARTITION_PARTITION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"

namespace sluice {

struct Partition {
  std::string device;
  std::unique_ptr<Graph> graph;
};

// REQUIRES: every node has an assigned device. `incarnation` tells that of a device, which becomes part of the key, so
// that a tensor of a device that has restarted is never taken for a new one's. Partitions are sorted by device name.
absl::StatusOr<std::vector<Partition>> PartitionGraph(
    std::unique_ptr<Graph> graph, const std::function<uint64_t(const std::string& device)>& incarnation);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PARTITION_PARTITION_H_
