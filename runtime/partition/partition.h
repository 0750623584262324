// Cuts a placed graph into one graph for each device, joined by pairs of _Send and _Recv.
//
//   before, on two devices:  a @cpu:0 -> b @cpu:1          after:  cpu:0: a -> _Send      cpu:1: _Recv -> b
//
// Each (tensor, destination) crosses once, however many nodes read it there. A control edge crosses as an empty tensor.
#ifndef SLUICE_RUNTIME_PARTITION_PARTITION_H_
#define SLUICE_RUNTIME_PARTITION_PARTITION_H_

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

// REQUIRES: every node has an assigned device. `incarnation` tells that of a device. Ordered by first use in the graph.
absl::StatusOr<std::vector<Partition>> PartitionGraph(const Graph& graph,
                                                      const std::function<uint64_t(const std::string& device)>& incarnation);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PARTITION_PARTITION_H_
