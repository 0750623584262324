// Splits a placed graph into one graph for each device, with a _Send/_Recv pair for each tensor that crosses.
//
//   a @dev1 -> b, c @dev2        becomes   dev1: a -> _Send        dev2: _Recv -> b, c
//
// A tensor is sent once to each device that needs it; a constant, and what is cheaply made from what is there anyway,
// is copied instead. A control edge across devices hangs on a tensor that crosses anyway, or on one without contents.
#ifndef SLUICE_RUNTIME_PARTITION_PARTITION_H_
#define SLUICE_RUNTIME_PARTITION_PARTITION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"
#include "runtime/placer/cost_model.h"

namespace sluice {

struct Partition {
  std::string device;
  std::unique_ptr<Graph> graph;
};

struct PartitionOptions {
  // Constants up to this size, and small graphs of cheap nodes on them, are copied to other devices. 0: none is.
  int64_t replicate_bytes = 1 << 20;
  // Drop control edges across devices that other paths imply.
  bool drop_implied_order = true;
  // Floats cross as bfloat16: cut on one side, filled up with zeros on the other (half the bytes, 8 bits of mantissa).
  bool bfloat16_transfers = false;
  // Receives of this size or more begin as late as the critical path allows, so that less memory is held. Below 0: all
  // begin at once.
  int64_t late_receive_bytes = -1;
  const CostModel* costs = nullptr;    // for late receives; null: estimates
  const Topology* topology = nullptr;  // likewise; null: by nearness
};

// REQUIRES: every node has an assigned device. `incarnation` tells that of a device, which becomes part of the key, so
// that a tensor of a device that has restarted is never taken for a new one's. Partitions are sorted by device name.
absl::StatusOr<std::vector<Partition>> PartitionGraph(
    std::unique_ptr<Graph> graph, const std::function<uint64_t(const std::string& device)>& incarnation,
    const PartitionOptions& options = {});

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PARTITION_PARTITION_H_
