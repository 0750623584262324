// One task's share of the work: registers the graphs that masters send, runs their steps, hands tensors to other tasks
// and fetches theirs.
//
// A worker knows nothing of gRPC: it answers messages (Handle) and asks through channels of a Transport. It outlives
// the sessions of its masters: variables of sessions that do not isolate their state stay for the next one.
//
// Threads:  any method from any thread. Handle never blocks: what takes time runs on threads of the pool.
// Errors:   name the task. A call that carries another incarnation than this worker's, an old epoch, or a step that has
//           ended is ABORTED.
// Lifetime: the environment and the clock must outlive it. Shutdown ends all steps.
#ifndef SLUICE_DISTRIBUTED_WORKER_WORKER_H_
#define SLUICE_DISTRIBUTED_WORKER_WORKER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/base/metrics.h"
#include "core/base/shared_function.h"
#include "core/device/device.h"
#include "distributed/rpc/transport.h"
#include "distributed/stats/wire_stats.h"
#include "runtime/executor/step.h"
#include "runtime/session/session.h"

namespace sluice {

// How a worker runs its part of a step. The ordinary way blocks a thread until the step ends; the simulation, which has
// one thread, goes on with a step when what it waits for has come.
class StepDriver {
 public:
  virtual ~StepDriver() = default;
  // `done` runs once, when the step has ended. Everything that is passed by reference lives until then.
  // `brief`: it is known not to wait and to take little time, so it may as well run now, on the caller's thread.
  virtual void Run(StepPlan& plan, const StepCall& call, TensorList& arguments, TensorList& results, bool brief,
                   SharedFunction<void(absl::Status)> done) = 0;
};

struct WorkerOptions {
  std::string task;  // "/job:worker/replica:0/task:1"
  Environment environment;
  SessionOptions session;  // devices and threads
  // The way to another task.
  std::function<absl::StatusOr<std::shared_ptr<Channel>>(const std::string& task)> connect;
  // The same for a task whose address a session's cluster names; null: sessions have no clusters of their own.
  std::function<absl::StatusOr<std::shared_ptr<Channel>>(const std::string& task, const std::string& address)>
      connect_to;
  Clock* clock = nullptr;
  std::shared_ptr<Metrics> metrics;                // may be null
  Executor* executor = nullptr;                    // null: threads of the process's pool
  StepDriver* driver = nullptr;                    // null: runs steps on the executor
  absl::Duration session_ttl = absl::Seconds(60);  // of a session that no master names any more
  absl::Duration orphan_ttl = absl::Seconds(60);   // of a step that peers ask for and no master runs
  // Collectives: the task that keeps the groups, the cluster's tasks (for messages), and how long members are waited
  // for.
  std::string collective_leader;
  std::vector<std::string> tasks;
  std::string host;  // equal for tasks that can share memory; empty: collectives share none
  absl::Duration collective_timeout = absl::Minutes(10);
  absl::Duration receive_timeout = absl::Hours(24);  // of one tensor; steps have limits of their own
};

class Worker {
 public:
  explicit Worker(WorkerOptions options);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  static constexpr char kService[] = "/sluice.proto.WorkerService/";
  // Answers one call, which came by `way`; `method` without kService.
  void Handle(absl::string_view method, absl::Duration timeout, Message request, Reply reply, Way way = Way::kOther);

  uint64_t incarnation() const;
  std::vector<DeviceAttributes> devices() const;
  // What this task has received from others; the master of the same server counts here, too.
  const std::shared_ptr<WireStats>& wire() const;
  Device* first_device() const;
  // Of each device, by name.
  std::vector<std::pair<std::string, AllocatorStats>> memory() const;
  Executor* executor() const;
  // The way to a task of the cluster; shared with the master of the same server.
  absl::StatusOr<std::shared_ptr<Channel>> PeerOf(const std::string& task);
  // Ends every step and refuses new ones. Waits until none runs.
  void Shutdown();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_WORKER_WORKER_H_
