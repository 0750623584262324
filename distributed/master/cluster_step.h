// One step over several tasks: sends each its part, waits for all answers, tells the others when one fails.
//
// Threads:  any. `done` runs once, on the thread that brings the last answer.
// Blocking: nothing blocks.
#ifndef SLUICE_DISTRIBUTED_MASTER_CLUSTER_STEP_H_
#define SLUICE_DISTRIBUTED_MASTER_CLUSTER_STEP_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/recycled_memory.h"
#include "core/base/shared_function.h"
#include "core/base/step_times.h"
#include "core/types/tensor.h"
#include "distributed/rpc/transport.h"
#include "distributed/stats/step_trace.h"
#include "distributed/stats/wire_stats.h"

namespace sluice {

// One task's part of a plan.
struct TaskPart {
  std::string task;
  std::shared_ptr<Channel> channel;
  std::string graph_handle;
  uint64_t incarnation = 0;
  std::vector<int> arguments;              // which of the step's arguments it needs
  StepTimes* times = nullptr;              // of this task's parts
  std::shared_ptr<WireCounters> received;  // what came from it; null for the master's own task
  bool here = false;  // the master's own task, which may run its part within the call: it is asked last
};

struct ClusterStepCall {
  const std::string* session_handle = nullptr;  // of the plan
  int64_t step_id = 0;
  TensorList arguments;
  int num_results = 0;
  absl::Duration timeout = absl::ZeroDuration();  // zero: none
  absl::Duration limit;                           // of a step without a timeout
  bool trace = false;
  bool in_parts = false;  // its state on the tasks stays when it ends well, until Release
  bool partition_graphs = false;
  Clock* clock = nullptr;
};

// When a question was asked and answered: by our clock, and by the other task's.
struct ReplyTimes {
  int64_t sent = 0, received = 0, replied = 0, got = 0;
};

struct ClusterStepResult {
  absl::Status status;
  TensorList results;
  // Of each part; negative when it has not answered.
  absl::InlinedVector<double, 8> busy_seconds;
  // Of a traced step, of the parts that answered.
  std::vector<PartTrace> traces;
  std::vector<ReplyTimes> reply_times;        // parallel to it
  std::vector<std::string> partition_graphs;  // serialised
};

class ClusterStep : public std::enable_shared_from_this<ClusterStep> {
 public:
  using Done = SharedFunction<void(ClusterStepResult result)>;
  // `parts` outlive the step: the plan holds them, and `done` should hold the plan.
  ClusterStep(const std::vector<TaskPart>* parts, ClusterStepCall call, Done done);

  void Start();
  // Ends the step with `why`; what the tasks answer later is ignored.
  void Cancel(const absl::Status& why);
  // For a step in parts: nothing of it is wanted any more.
  void Release();
  // The task is lost: its answer is not waited for.
  void LoseTask(const std::string& task, const absl::Status& why);

 private:
  // `way`: by which a reply came.
  void Answer(size_t part, Way way, absl::StatusOr<Message> reply);
  absl::Status Accept(size_t part, Way way, Message message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tells every task that the step is over.
  void TellAll(const absl::Status& why);
  void Finish();

  const std::vector<TaskPart>& parts_;
  ClusterStepCall call_;
  const Done done_;
  absl::Mutex mu_;
  std::vector<bool, RecyclingAllocator<bool>> answered_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> sent_ns_ ABSL_GUARDED_BY(mu_);  // of a traced step
  int64_t began_ns_ = 0;                               // before the first call
  size_t open_ ABSL_GUARDED_BY(mu_) = 0;
  bool failing_ ABSL_GUARDED_BY(mu_) = false;
  Clock::TimerId grace_ ABSL_GUARDED_BY(mu_) = 0;
  ClusterStepResult result_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_MASTER_CLUSTER_STEP_H_
