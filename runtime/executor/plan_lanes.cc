#include "runtime/executor/plan_lanes.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/thread_pool.h"
#include "runtime/executor/node_work.h"
#include "runtime/executor/state_order.h"

namespace sluice {
namespace {

constexpr double kLeastNs = 50e3;  // of a step: a thread that sleeps takes 25 us and more to come
constexpr double kWantedGain = 1.3;
constexpr float kInviteNs = 10e3;
constexpr int kMostLanes = 64;
constexpr double kLeastNsOfNode = 100;  // when lanes are asked for whether they pay or not: so that all are used

// What one lane knows of the others, and what it has to run so far.
struct LaneSoFar {
  std::vector<uint32_t> knows;  // by lane: how many entries have ended when its next one starts
  std::vector<LaneEntry> entries;
};

}  // namespace

LaneDivision DivideIntoLanes(const PartitionPlan& plan, const std::vector<Node*>& order,
                             absl::FunctionRef<bool(const Node&)> has_instruction) {
  LaneDivision division;
  const PlanEnvironment& e = plan.environment;
  const int threads = e.device->pool() == nullptr ? 1 : e.device->pool()->parallelism();
  if (e.lanes == 1 || threads == 1 || !e.device->IsHost()) return division;
  const int cpus = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const bool asked = e.lanes > 1;
  if (!asked && threads > cpus) {
    division.reason = absl::StrFormat("%d threads on %d CPUs would wait for each other", threads, cpus);
    return division;
  }
  LaneScheduleOptions options;
  options.lanes = std::min(kMostLanes, asked ? e.lanes : threads);
  const NodeWork costs(e.measured, options.lanes);
  std::vector<LaneWork>& work = division.work;
  work.resize(plan.graph->num_node_ids());
  double all_ns = 0;
  for (const Node* n : order) {
    if (!has_instruction(*n)) continue;
    LaneWork& w = work[n->id()];
    w = {costs.OnLaneNs(*n), NodeWork::IsWide(costs.Ns(*n))};
    if (asked) w = {std::max(w.ns, kLeastNsOfNode), false};
    all_ns += w.ns;
  }
  if (asked) {
    options.hand_over_ns = 0;
    options.wanted_gain = 0;
  } else if (all_ns < kLeastNs) {
    division.reason = absl::StrFormat("about %.3g us are too little for several lanes", all_ns / 1e3);
    return division;
  }
  division.before = LaneStateOrder(*plan.graph, order);
  LaneSchedule schedule = ScheduleLanes(order, division.before, work, options);
  if (schedule.lanes_ns == 0) {
    division.reason = absl::StrFormat("of about %.3g us the longest path takes %.3g", schedule.one_ns / 1e3,
                                      schedule.longest_ns / 1e3);
    return division;
  }
  division.reason = absl::StrFormat("%d lanes take about %.3g us instead of %.3g, %.2f times as fast", options.lanes,
                                    schedule.lanes_ns / 1e3, schedule.one_ns / 1e3, schedule.Gain());
  if (!asked && schedule.Gain() < kWantedGain) {
    absl::StrAppendFormat(&division.reason, ", wanted %.2g", kWantedGain);
    return division;
  }
  if (asked) absl::StrAppend(&division.reason, ", as asked for");
  division.lanes = static_cast<size_t>(options.lanes);
  division.order = std::move(schedule.order);
  division.lane_of = std::move(schedule.lane_of);
  division.spin = threads <= cpus;
  division.invite_ns = asked ? 0 : kInviteNs;
  return division;
}

LaneClocks LayOutLanes(const LaneDivision& division, const std::vector<uint32_t>& instruction_of, PartitionPlan* plan) {
  const size_t lanes = division.lanes;
  std::vector<uint32_t> lane_of;
  for (const Node* n : plan->nodes) lane_of.push_back(division.lane_of[n->id()]);
  LaneClocks clocks(lanes, lane_of);
  std::vector<uint32_t> after(instruction_of.size() * lanes, 0);  // what has ended when a node has, by id, then lane
  std::vector<LaneSoFar> so_far(lanes, LaneSoFar{std::vector<uint32_t>(lanes, 0), {}});
  for (const Node* n : division.order) {
    uint32_t* mine = &after[n->id() * lanes];
    auto depend = [&](const Node& on) {
      for (size_t l = 0; l < lanes; ++l) mine[l] = std::max(mine[l], after[on.id() * lanes + l]);
    };
    for (const Endpoint& in : n->inputs()) depend(*in.node);
    for (const Node* c : n->control_inputs()) depend(*c);
    for (const Node* b : division.before[n->id()]) depend(*b);
    const uint32_t k = instruction_of[n->id()];
    if (k == kNoInstruction) continue;
    LaneSoFar& lane = so_far[lane_of[k]];
    lane.knows[lane_of[k]] = static_cast<uint32_t>(lane.entries.size());
    LaneEntry entry;
    entry.instruction = k;
    entry.ahead_ns = static_cast<float>(std::max(0.0, division.work[n->id()].ns));
    entry.wait_begin = static_cast<uint32_t>(plan->lane_waits.size());
    for (uint32_t l = 0; l < lanes; ++l) {
      if (mine[l] <= lane.knows[l]) continue;
      plan->lane_waits.push_back({l, mine[l]});
      LaneEntry& last = so_far[l].entries[mine[l] - 1];
      last.publish = true;
      lane.knows[l] = mine[l];
      // Who knows that an entry has ended knows what that entry has waited for.
      for (uint32_t other = 0; other < lanes; ++other) {
        lane.knows[other] = std::max(lane.knows[other], clocks.Ended(last.instruction, other));
      }
    }
    entry.wait_end = static_cast<uint32_t>(plan->lane_waits.size());
    clocks.Set(k, lane.knows);
    lane.entries.push_back(entry);
    std::copy(lane.knows.begin(), lane.knows.end(), mine);
    mine[lane_of[k]] = static_cast<uint32_t>(lane.entries.size());
  }
  for (LaneSoFar& lane : so_far) {
    plan->lane_begin.push_back(static_cast<uint32_t>(plan->lane_entries.size()));
    for (size_t e = lane.entries.size(); e-- > 1;) lane.entries[e - 1].ahead_ns += lane.entries[e].ahead_ns;
    plan->lane_entries.insert(plan->lane_entries.end(), lane.entries.begin(), lane.entries.end());
  }
  plan->lane_begin.push_back(static_cast<uint32_t>(plan->lane_entries.size()));
  plan->lanes_spin = division.spin;
  plan->invite_ns = division.invite_ns;
  return clocks;
}

}  // namespace sluice
