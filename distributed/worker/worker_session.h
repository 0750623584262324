// What a worker keeps for one session of a master: its resources and the graphs that were registered.
#ifndef SLUICE_DISTRIBUTED_WORKER_WORKER_SESSION_H_
#define SLUICE_DISTRIBUTED_WORKER_WORKER_SESSION_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/proto/graph.pb.h"
#include "distributed/cluster/cluster.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/stats/wire_stats.h"
#include "runtime/session/planner.h"

namespace sluice {

// A registered graph, planned: this task's partitions of one step.
struct WorkerGraph {
  std::string handle;
  std::unique_ptr<Graph> functions;
  PlannedStep planned;
  int num_arguments = 0;
  int num_results = 0;
  std::vector<int> results;                          // the numbers of those that this task makes
  std::vector<int64_t> groups;                       // of collectives
  std::vector<std::pair<int, FeedCheck>> arguments;  // the numbers of those that it needs, and what they must be
  bool may_wait = true;                              // for something outside the step
  std::atomic<int64_t> last_ns{std::numeric_limits<int64_t>::max()};  // that its last step took
};

class WorkerSession {
 public:
  // `resources` (one for each device) are the worker's, or null for a session that isolates its state.
  WorkerSession(std::string handle, const Environment* environment, const SessionOptions* options,
                std::vector<Device*> devices, std::vector<ResourceStore*> resources);
  // The random states that it alone kept in the worker's resources go.
  ~WorkerSession();

  const std::string& handle() const { return handle_; }
  // Plans the partitions: takes time. Errors name the node.
  absl::StatusOr<std::shared_ptr<WorkerGraph>> Register(const proto::RegisterGraphRequest& request);
  absl::StatusOr<std::shared_ptr<WorkerGraph>> Find(const std::string& graph_handle) const;
  void Deregister(const std::string& graph_handle);
  int num_graphs() const;
  const std::vector<ResourceStore*>& resources() const { return setup_.resources; }

  // Where the tasks of this session are, for those that the server's own cluster has elsewhere or not at all. Set
  // before the session is known to anybody.
  Cluster cluster;
  // The task of its master, and what came from there; null when that is this task. Set likewise.
  std::string master_task;
  std::shared_ptr<WireCounters> from_master;

  // Guarded by the worker.
  absl::Duration last_named;  // by a master
  std::string lineage;
  int64_t epoch = 0;

 private:
  void ScopeRandomStates(proto::GraphDef* graph) const;
  std::string RandomScope() const;

  const std::string handle_;
  std::vector<std::unique_ptr<ResourceStore>> own_;
  PlannerSetup setup_;
  mutable absl::Mutex mu_;
  int64_t next_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<std::string, std::shared_ptr<WorkerGraph>> graphs_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_WORKER_WORKER_SESSION_H_
