// What nodes and transfers cost, in nanoseconds: estimates from traits, types and inferred shapes, replaced by what was
// measured where steps have been traced.
//
//   CostModel costs;                                  costs.ComputeNs(matmul, "CPU")
//   Topology topology;                                topology.Between(cpu0, remote).NsFor(bytes)
//
// The estimates rank choices, they do not predict: an element-wise node is bound by memory, a node of two matrices (or
// images and filters) by arithmetic, a cheap one costs its dispatch. Unknown sizes count as 32, unknown ranks as 1024
// elements.
#ifndef SLUICE_RUNTIME_PLACER_COST_MODEL_H_
#define SLUICE_RUNTIME_PLACER_COST_MODEL_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/device/device_name.h"
#include "core/graph/graph.h"

namespace sluice {

// Times of nodes in steps that ran. Threads: any method from any thread.
class MeasuredCosts {
 public:
  // Later measurements count for a quarter, so that a slow first step is forgotten.
  void Record(absl::string_view node, absl::string_view device_type, double ns);
  // Below 0: not measured.
  double Find(absl::string_view node, absl::string_view device_type) const;
  bool empty() const;

 private:
  mutable absl::Mutex mu_;
  absl::flat_hash_map<std::pair<std::string, std::string>, double> ns_ ABSL_GUARDED_BY(mu_);
};

struct DeviceSpeed {
  double dispatch_ns = 500;  // of any node that is not cheap
  double flops_per_ns = 20;
  double bytes_per_ns = 10;
};

class CostModel {
 public:
  // `measured` may be null.
  explicit CostModel(const MeasuredCosts* measured = nullptr);

  void SetSpeed(absl::string_view device_type, DeviceSpeed speed);
  double ComputeNs(const Node& node, absl::string_view device_type) const;
  // Whether ComputeNs is a measurement.
  bool IsMeasured(const Node& node, absl::string_view device_type) const;

  static int64_t OutputBytes(const Node& node, int output);
  static double Flops(const Node& node);

 private:
  const MeasuredCosts* measured_;
  std::map<std::string, DeviceSpeed, std::less<>> speeds_;
};

struct Link {
  double latency_ns = 0;
  double bytes_per_ns = 0;  // 0: no limit
  double NsFor(int64_t bytes) const {
    return latency_ns + (bytes_per_ns > 0 ? static_cast<double>(bytes) / bytes_per_ns : 0);
  }
};

// Latency and bandwidth between devices. Without better knowledge nearness decides: CPUs of one task hand over a
// pointer, an accelerator is behind a bus, another task behind a network.
class Topology {
 public:
  // Both ways; by full names, or by "/job:a/task:0" for all devices of tasks.
  void Set(absl::string_view a, absl::string_view b, Link link);
  Link Between(const DeviceName& a, const DeviceName& b) const;

 private:
  std::map<std::pair<std::string, std::string>, Link> links_;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_COST_MODEL_H_
