#include "runtime/placer/simulation.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace sluice {

Simulation::Simulation(const Graph& graph, const std::vector<SimulatedDevice>& devices, const CostModel& costs,
                       const Topology& topology, std::vector<int> group_of, std::vector<SimulatedGroup>* groups)
    : graph_(graph), devices_(devices), costs_(costs), group_of_(std::move(group_of)), groups_(*groups) {
  for (const SimulatedDevice& a : devices) {
    for (const SimulatedDevice& b : devices) links_.push_back(topology.Between(a.name, b.name));
  }
  free_ns_.assign(devices.size(), 0);
  done_ns_.assign(graph.num_node_ids(), 0);
}

void Simulation::Run() {
  std::vector<int> pending(graph_.num_node_ids(), 0);
  using Ready = std::pair<double, int>;  // when, node id
  std::priority_queue<Ready, std::vector<Ready>, std::greater<Ready>> ready;
  std::vector<double> ready_ns(pending.size(), 0);
  for (const Node* n : graph_.nodes()) {
    int count = static_cast<int>(n->control_inputs().size());
    for (const Endpoint& e : n->inputs()) count += !e.node->Is(kBackEdge);
    pending[n->id()] = count;
    if (count == 0) ready.push({0, n->id()});
  }
  while (!ready.empty()) {
    const Node& n = *graph_.FindById(ready.top().second);
    ready.pop();
    Visit(n);
    const double done = done_ns_[n.id()];
    makespan_ns_ = std::max(makespan_ns_, done);
    auto satisfy = [&](const Node* to) {
      ready_ns[to->id()] = std::max(ready_ns[to->id()], done);
      if (--pending[to->id()] == 0) ready.push({ready_ns[to->id()], to->id()});
    };
    if (!n.Is(kBackEdge)) {
      for (const OutEdge& e : n.out_edges()) satisfy(e.to);
    }
    for (const Node* to : n.control_outputs()) satisfy(to);
  }
}

double Simulation::ArrivalNs(const Endpoint& from, int device) const {
  const int home = groups_[group_of_[from.node->id()]].device;
  const double done = done_ns_[from.node->id()];
  if (home == device || home < 0) return done;
  auto it = carried_.find({from, device});
  if (it != carried_.end()) return it->second;
  return done + LinkOf(home, device).NsFor(CostModel::OutputBytes(*from.node, from.index));
}

void Simulation::Carry(const Endpoint& from, int device) {
  const int home = groups_[group_of_[from.node->id()]].device;
  if (home == device || home < 0) return;
  carried_.try_emplace({from, device}, ArrivalNs(from, device));
}

double Simulation::ReadyNs(const Node& node, int device) const {
  double ready = 0;
  for (const Endpoint& in : node.inputs()) {
    // Small constants are copied to where they are wanted.
    if (in.node->Is(kBackEdge) || in.node->Is(kConstant)) continue;
    ready = std::max(ready, ArrivalNs(in, device));
  }
  for (const Node* c : node.control_inputs()) {
    const int home = groups_[group_of_[c->id()]].device;
    ready = std::max(ready, done_ns_[c->id()] + (home >= 0 && home != device ? LinkOf(home, device).NsFor(0) : 0));
  }
  return ready;
}

void Simulation::Visit(const Node& node) {
  SimulatedGroup& g = groups_[group_of_[node.id()]];
  // A source costs nothing and goes to whoever reads it.
  if (g.device < 0 && (node.Is(kConstant) || node.Is(kSource)) && node.num_inputs() == 0) return;
  auto done_on = [&](int d) {
    return std::max(free_ns_[d], ReadyNs(node, d)) + costs_.ComputeNs(node, devices_[d].type);
  };
  if (g.device < 0 && node.num_inputs() > 0 && (node.Is(kCheap) || node.num_outputs() == 0)) {
    const int home = groups_[group_of_[node.input(0).node->id()]].device;
    if (std::find(g.candidates.begin(), g.candidates.end(), home) != g.candidates.end()) {
      g.device = home;
      g.follows = node.input(0).node;
    }
  }
  double done = 0;
  if (g.device >= 0) {
    done = done_on(g.device);
  } else {
    g.decided_by = &node;
    for (int d : g.candidates) {
      const double there = done_on(d);
      if (g.device < 0 || there < done) {
        g.runner_up = g.device;
        g.runner_up_ns = done;
        g.device = d;
        done = there;
      } else if (g.runner_up < 0 || there < g.runner_up_ns) {
        g.runner_up = d;
        g.runner_up_ns = there;
      }
    }
    g.done_ns = done;
  }
  for (const Endpoint& in : node.inputs()) Carry(in, g.device);
  free_ns_[g.device] = std::max(free_ns_[g.device], done);
  done_ns_[node.id()] = done;
}

}  // namespace sluice
