// A step over several tasks that is run in parts: gives its feeds to the tasks that wait for them, asks tasks for its
// fetches, and keeps the book of both.
//
//   client --RunStep--> master --SendTensors--> the tasks with the feed        the step itself is a ClusterStep that
//   was
//                           `----RecvTensor---> the task with the fetch        started before, without feeds and
//                           fetches
//
// Threads:  any method from any thread. Blocking: nothing blocks.
// Errors:   that of the step, when it has one; an error, time limit or cancellation of a part ends the step.
#ifndef SLUICE_DISTRIBUTED_MASTER_PARTIAL_STEP_H_
#define SLUICE_DISTRIBUTED_MASTER_PARTIAL_STEP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "distributed/master/cluster_step.h"
#include "runtime/session/partial_book.h"
#include "runtime/session/planner.h"

namespace sluice {

class PartialStep : public std::enable_shared_from_this<PartialStep> {
 public:
  using Done = std::function<void(absl::StatusOr<TensorList> fetches)>;

  // `keep` holds what the pointers point to.
  PartialStep(CallableSpec spec, const PartialPlan* plan, const std::vector<FeedCheck>* feeds,
              const std::vector<TaskPart>* parts, std::string session, int64_t id, Clock* clock,
              std::shared_ptr<const void> keep);

  int64_t id() const { return id_; }
  // Starts `step`, which ends with DEADLINE_EXCEEDED when no part of it runs for `limit`.
  void Start(std::string handle, std::shared_ptr<ClusterStep> step, absl::Duration limit);
  // One part; see SessionBase::PartialRun. `timeout` zero: none.
  void Run(const std::vector<std::string>& names, TensorList feeds, const std::vector<std::string>& fetches,
           absl::Duration timeout, Done done);
  // Ends it with `why`, and drops what nobody has taken.
  void End(const absl::Status& why);
  // What the step's end has to call.
  void Ended(const absl::Status& status);
  // The step does not run any more.
  bool over() const;
  // Over, and nothing is left to take.
  bool finished() const;

 private:
  // One part that is on its way. Guarded by the step.
  struct Part {
    size_t open = 0;  // calls
    bool last = false;
    bool answered = false;
    absl::Status failed;
    TensorList values;
    Clock::TimerId timer = 0;
    Done done;
  };

  absl::StatusOr<std::shared_ptr<Part>> Enter(const std::vector<std::string>& names, const TensorList& feeds,
                                              const std::vector<std::string>& fetches, std::vector<int>* feed_numbers,
                                              std::vector<int>* fetch_numbers);
  const TaskPart* TaskOf(const PartialPort& port) const;
  void Ask(const TaskPart& task, const char* method, Message message, const std::shared_ptr<Part>& part, int value);
  void Came(const std::shared_ptr<Part>& part, int value, absl::StatusOr<Message> reply);
  // Answers what can be answered, and ends the step when a part has failed and the step has not said why in time.
  void Settle();
  void ScheduleLook(absl::Duration after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Look();

  const CallableSpec spec_;
  const PartialPlan& plan_;
  const std::vector<FeedCheck>& feeds_;
  const std::vector<TaskPart>& parts_;
  const std::string session_;  // on the tasks
  const int64_t id_;
  Clock* const clock_;
  const std::shared_ptr<const void> keep_;
  std::string handle_;    // fixed after Start
  absl::Duration limit_;  // fixed after Start
  mutable absl::Mutex mu_;
  std::shared_ptr<ClusterStep> step_ ABSL_GUARDED_BY(mu_);
  PartialBook book_ ABSL_GUARDED_BY(mu_);
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  bool released_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // of the step when it is over, or why it was given up
  std::vector<std::shared_ptr<Part>> running_ ABSL_GUARDED_BY(mu_);
  absl::Duration touched_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_MASTER_PARTIAL_STEP_H_
