// The statistics of one step over several tasks, as one StepStats on one clock.
//
// Each task reports the times of its nodes by a clock of its own. Here they become times of day of the master. Beside
// the devices there is an entry "<task>/rpc" for each task, with what is not a node, in the manner of TensorFlow's
// RecvTensor entries; `sl.timeline` reads it:
//
//   node_name   timeline_label                                                  for
//   RecvTensor  [4096 B over shm] edge_7_x from <device> to <device>             each tensor that came from another
//   task Feeds       [4096 B over shm] feeds from <task> to <task>                    what came with the call that runs
//   a part Fetches     [4096 B over shm] fetches from <task> to <task>                  and with its answer RunGraph
//   [busy 1234567 ns] /job:ps/replica:0/task:0                       each task's part, as the master saw it clock
//   offset 123456789 ns within 4567 ns                               the task's clock, against the master's straggler
//   /job:worker/replica:0/task:2 takes 53.1 ms, its peers 12.5 ms    tasks that are much slower than others
//
// After alignment every time is right within the task's bound, so an event may seem to precede its cause by as much as
// the bounds of the two tasks.
#ifndef SLUICE_DISTRIBUTED_STATS_STEP_TRACE_H_
#define SLUICE_DISTRIBUTED_STATS_STEP_TRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/step_times.h"
#include "core/proto/step_stats.pb.h"
#include "distributed/stats/clock_offset.h"
#include "distributed/stats/transfer_trace.h"

namespace sluice {

// Moves every time of `stats`.
void ShiftTimes(int64_t ns, proto::StepStats* stats);

// Adds the transfers of a task, with times of its clock.
void AddTransfers(const std::string& task, std::vector<TracedTransfer> transfers, proto::StepStats* stats);

// Adds the tensors of a call or an answer: `name` is "Feeds" or "Fetches". The transfer has no key.
void AddCallTensors(const char* name, const std::string& from, const std::string& to, const TracedTransfer& transfer,
                    proto::StepStats* stats);

// One task's part of a step.
struct PartTrace {
  std::string task;
  proto::StepStats stats;  // times of the task's clock
  int64_t sent_ns = 0;     // of the master's clock
  int64_t got_ns = 0;
  int64_t busy_ns = 0;
  int64_t result_bytes = 0;  // that came from another task, and how
  Way way = Way::kOther;
  ClockOffset::Estimate clock;
};

// `wall_ns` is the time of day minus the master's clock.
void MergeParts(const std::string& master, int64_t wall_ns, std::vector<PartTrace> parts,
                const std::vector<Stragglers::Straggler>& stragglers, proto::StepStats* merged);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_STATS_STEP_TRACE_H_
