// Drives sessions over a cluster: keeps each client's graph, places and partitions it, registers the parts with the
// workers, and runs steps with one small message for each task.
//
//   client --RunCallable--> master --RunGraph--> worker of task 0   \  tensors go from worker to worker
//                                `--RunGraph--> worker of task 1   /
//
// A step ends when every task has answered. When one fails the others are told at once why, and the client gets the
// first cause. A task that does not answer heartbeats, or that comes back with another incarnation, ends the steps it
// takes part in; in the second case the session is lost (ABORTED) and the client creates it again.
//
// Threads:  any method from any thread. Handle never blocks.
// Lifetime: the worker, the environment and the clock must outlive it. Shutdown ends all sessions.
#ifndef SLUICE_DISTRIBUTED_MASTER_MASTER_H_
#define SLUICE_DISTRIBUTED_MASTER_MASTER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/base/metrics.h"
#include "core/device/device.h"
#include "distributed/cluster/cluster.h"
#include "distributed/rpc/transport.h"
#include "distributed/stats/wire_stats.h"
#include "runtime/session/session.h"

namespace sluice {

struct MasterOptions {
  std::string task;  // of the server it belongs to; its devices are the default
  Cluster cluster;
  Environment environment;
  SessionOptions session;
  Device* local_device = nullptr;  // evaluates constants
  // The way to a task.
  std::function<absl::StatusOr<std::shared_ptr<Channel>>(const std::string& task)> connect;
  // The way to a task whose address a session brings along (ConfigProto.cluster_def); null: sessions bring none.
  std::function<absl::StatusOr<std::shared_ptr<Channel>>(const std::string& task, const std::string& address)>
      connect_to;
  Clock* clock = nullptr;
  std::shared_ptr<Metrics> metrics;                  // may be null
  std::shared_ptr<WireStats> wire;                   // the worker's, of the same task; may be null
  Executor* executor = nullptr;                      // for planning
  absl::Duration join_timeout = absl::Seconds(120);  // for every task of a new session to answer
  absl::Duration heartbeat_period = absl::Seconds(1);
  absl::Duration heartbeat_timeout = absl::Seconds(10);  // without an answer a task counts as lost
  absl::Duration control_timeout = absl::Seconds(120);   // of calls that register and delete
  absl::Duration client_ttl = absl::Minutes(10);         // of sessions whose client has not been heard of
  absl::Duration partial_run_limit = kPartialRunLimit;   // of a partial run that no client goes on with
  absl::Duration watchdog_timeout = absl::Seconds(60);   // a step without progress is reported; zero: never
  absl::Duration step_limit = absl::Hours(24 * 30);      // of steps without a limit of their own
};

class Master {
 public:
  explicit Master(MasterOptions options);
  ~Master();
  Master(const Master&) = delete;
  Master& operator=(const Master&) = delete;

  static constexpr char kService[] = "/sluice.proto.MasterService/";
  // Answers one call; `method` without kService.
  void Handle(absl::string_view method, absl::Duration timeout, Message request, Reply reply);
  int num_sessions() const;
  // Ends every session; waits for the workers to know it, for a bounded time.
  void Shutdown();
  // As Shutdown, without waiting.
  void StartShutdown(std::function<void()> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_MASTER_MASTER_H_
