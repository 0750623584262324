// The rules that no history of a cluster may break, whatever was done to it: the same for simulated and real processes.
//
//   I1  each update of a variable is applied once between a restored checkpoint and a committed one: no step runs twice
//       at a task, and every variable was updated as often as the steps that the checkpoint is ahead
//   I2  after a newer epoch has begun at a task, nothing that an older one asks for is done
//   I3  a restored step is that of a committed checkpoint
//   I4  committed steps go backwards only after a restore, and only the newest epoch commits
//   I5  every call that reached a task ended, and those of clients within their time, unless the task died or stood
//   still I6  once a step was aborted at a task, nothing of it runs there and none of its tensors is handed out I7  an
//   acknowledged checkpoint is what the next restore finds, unless the disk lost it I8  at the end no task holds
//   sessions, steps or tensors
//
//   std::vector<std::string> broken = CheckHistory(events);     "I4: ..."
#ifndef SLUICE_TESTS_SIMULATION_INVARIANTS_H_
#define SLUICE_TESTS_SIMULATION_INVARIANTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "distributed/testing/history.h"

namespace sluice::simulation {

struct HistoryCounts {
  int64_t events = 0;
  int64_t updates = 0;  // of variables, by steps that train
  int64_t commits = 0;
  int64_t restores = 0;
  int64_t epochs = 0;
  int64_t refused = 0;  // calls that a task refused (ABORTED), and commits
  int64_t stale = 0;    // of these, calls of sessions whose epoch was over
  int64_t aborted = 0;  // steps
  std::map<std::string, int64_t> faults;
};

// `events` in the order of their times.
std::vector<std::string> CheckHistory(const std::vector<Event>& events, HistoryCounts* counts = nullptr);

}  // namespace sluice::simulation

#endif  // SLUICE_TESTS_SIMULATION_INVARIANTS_H_
