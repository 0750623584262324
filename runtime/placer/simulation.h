// Chooses devices by simulating a step: nodes are visited as they become ready, and each goes where it would be done
// first, given what devices are busy with and what has to be carried there (section 3.2.1 of the TensorFlow white paper
// of 2015).
#ifndef SLUICE_RUNTIME_PLACER_SIMULATION_H_
#define SLUICE_RUNTIME_PLACER_SIMULATION_H_

#include <string>
#include <vector>

#include "core/device/device_name.h"
#include "core/graph/graph.h"
#include "runtime/placer/cost_model.h"

namespace sluice {

struct SimulatedDevice {
  DeviceName name;
  std::string type;
};

// What must be on one device; the candidates are devices by index, the preferred one first.
struct SimulatedGroup {
  std::vector<int> candidates;
  int device = -1;                // in: fixed when it is not -1; out: the choice
  const Node* follows = nullptr;  // a cheap node or a sink goes where this input is
  // Of the member that decided, when there was a choice.
  const Node* decided_by = nullptr;
  double done_ns = 0;       // there
  int runner_up = -1;       // the best of the other devices
  double runner_up_ns = 0;  // when it would have been done there
};

class Simulation {
 public:
  // `group_of` tells the group of each node by id.
  Simulation(const Graph& graph, const std::vector<SimulatedDevice>& devices, const CostModel& costs,
             const Topology& topology, std::vector<int> group_of, std::vector<SimulatedGroup>* groups);
  // REQUIRES: the graph has no cycle but through back edges.
  void Run();
  // How long the whole step takes.
  double makespan_ns() const { return makespan_ns_; }

 private:
  double ArrivalNs(const Endpoint& from, int device) const;
  void Carry(const Endpoint& from, int device);
  double ReadyNs(const Node& node, int device) const;
  void Visit(const Node& node);
  Link LinkOf(int a, int b) const { return links_[a * static_cast<int>(devices_.size()) + b]; }

  const Graph& graph_;
  const std::vector<SimulatedDevice>& devices_;
  const CostModel& costs_;
  const std::vector<int> group_of_;
  std::vector<SimulatedGroup>& groups_;
  std::vector<Link> links_;                                        // of each pair of devices
  std::vector<double> free_ns_;                                    // when each device has finished what it has
  std::vector<double> done_ns_;                                    // by node id
  absl::flat_hash_map<std::pair<Endpoint, int>, double> carried_;  // when a tensor has come to another device
  double makespan_ns_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_SIMULATION_H_
