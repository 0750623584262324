// Who waits for whom in a step that stands still, in words:
//
//   /job:worker/replica:0/task:0 waits for edge_7_x from /job:ps/replica:0/task:0 (to its device:CPU:0)
//   /job:ps/replica:0/task:0 waits in QueueDequeueV2 'd' (train.py:12)
//   /job:worker/replica:0/task:1 does not answer: connection refused
#ifndef SLUICE_DISTRIBUTED_MASTER_WAIT_GRAPH_H_
#define SLUICE_DISTRIBUTED_MASTER_WAIT_GRAPH_H_

#include <string>
#include <vector>

#include "distributed/proto/worker.pb.h"

namespace sluice {

// What a task says about its part of a step.
struct TaskWaits {
  std::string task;
  std::string error;   // why it does not say
  bool known = false;  // it takes part in the step now
  proto::WorkerStateResponse::Step step;
};

// A line for each wait, at most a few for each task; a last line names tasks that wait for each other in a circle.
std::string DescribeWaits(const std::vector<TaskWaits>& tasks);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_MASTER_WAIT_GRAPH_H_
