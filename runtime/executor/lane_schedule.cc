#include "runtime/executor/lane_schedule.h"

#include <algorithm>

namespace sluice {
namespace {

template <typename Visit>
void ForEachPredecessor(const Node& n, const std::vector<std::vector<const Node*>>& before, Visit visit) {
  for (const Endpoint& in : n.inputs()) visit(*in.node);
  for (const Node* c : n.control_inputs()) visit(*c);
  for (const Node* b : before[n.id()]) visit(*b);
}

}  // namespace

LaneSchedule ScheduleLanes(const std::vector<Node*>& order, const std::vector<std::vector<const Node*>>& before,
                           const std::vector<LaneWork>& work, const LaneScheduleOptions& options) {
  LaneSchedule s;
  std::vector<double> path(work.size(), 0);  // from the node, itself included, to the end
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    const Node& n = **it;
    const double ns = std::max(0.0, work[n.id()].ns);
    path[n.id()] += ns;
    s.one_ns += ns;
    s.longest_ns = std::max(s.longest_ns, path[n.id()]);
    ForEachPredecessor(n, before, [&](const Node& p) { path[p.id()] = std::max(path[p.id()], path[n.id()]); });
  }
  if (s.longest_ns * options.wanted_gain > s.one_ns) return s;

  // A predecessor has no shorter path, and at the same length an earlier place: the order stays topological.
  s.order = order;
  std::stable_sort(s.order.begin(), s.order.end(),
                   [&](const Node* a, const Node* b) { return path[a->id()] > path[b->id()]; });
  const size_t lanes = static_cast<size_t>(options.lanes);
  s.lane_of.assign(work.size(), 0);
  std::vector<double> end_of(lanes, 0);
  std::vector<double> there(work.size() * lanes, 0);  // when a lane may go on with what a node made, by id
  for (const Node* n : s.order) {
    double* mine = &there[n->id() * lanes];
    ForEachPredecessor(*n, before, [&](const Node& p) {
      for (size_t l = 0; l < lanes; ++l) mine[l] = std::max(mine[l], there[p.id() * lanes + l]);
    });
    const LaneWork& w = work[n->id()];
    if (w.ns < 0) continue;
    size_t best = 0;
    double start = std::max(mine[0], end_of[0]);
    if (w.wide) {
      for (double end : end_of) start = std::max(start, end);
      end_of.assign(lanes, start + w.ns);
    } else {
      for (size_t l = 1; l < lanes; ++l) {
        const double then = std::max(mine[l], end_of[l]);
        if (then < start) {
          start = then;
          best = l;
        }
      }
      end_of[best] = start + w.ns;
    }
    const double end = start + w.ns;
    for (size_t l = 0; l < lanes; ++l) mine[l] = l == best ? end : end + options.hand_over_ns;
    s.lane_of[n->id()] = static_cast<uint32_t>(best);
    s.lanes_ns = std::max(s.lanes_ns, end);
  }
  return s;
}

}  // namespace sluice
