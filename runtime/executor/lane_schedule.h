// Divides the nodes of a partition among lanes, one for each thread: a list schedule.
//
//   LaneSchedule s = ScheduleLanes(order, before, work, {2});
//   s.Gain()                       // 1.9: two lanes would take a little more than half the time of one
//
// Nodes are taken by the longest path behind them and put where they would end first; to go on with what another lane
// made costs a hand-over. A node that divides its work itself runs on lane 0 with all threads, so it takes what it
// takes on one lane and the others are taken to wait.
#ifndef SLUICE_RUNTIME_EXECUTOR_LANE_SCHEDULE_H_
#define SLUICE_RUNTIME_EXECUTOR_LANE_SCHEDULE_H_

#include <cstdint>
#include <vector>

#include "core/graph/graph.h"

namespace sluice {

struct LaneWork {
  double ns = -1;     // below 0: the node is not run
  bool wide = false;  // `ns` is with the help of all threads
};

struct LaneScheduleOptions {
  int lanes = 2;
  double hand_over_ns = 300;
  double wanted_gain = 1.3;  // when the longest path forbids it no schedule is made
};

struct LaneSchedule {
  double one_ns = 0;              // on one lane
  double longest_ns = 0;          // the longest path: no number of lanes is faster
  double lanes_ns = 0;            // on these lanes; 0: no schedule was made
  std::vector<Node*> order;       // one thread may run them in this order, and each lane runs its own in it
  std::vector<uint32_t> lane_of;  // by the id of a node
  double Gain() const { return lanes_ns > 0 ? one_ns / lanes_ns : 1; }
};

// `order` is topological; `before` (by id) has further nodes that come earlier; `work` is by id.
LaneSchedule ScheduleLanes(const std::vector<Node*>& order, const std::vector<std::vector<const Node*>>& before,
                           const std::vector<LaneWork>& work, const LaneScheduleOptions& options);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_LANE_SCHEDULE_H_
