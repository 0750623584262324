// One client's session: its graph, the workers that take part, the plans of its signatures, and the steps that run.
#ifndef SLUICE_DISTRIBUTED_MASTER_MASTER_SESSION_H_
#define SLUICE_DISTRIBUTED_MASTER_MASTER_SESSION_H_

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "core/base/step_times.h"
#include "core/graph/graph.h"
#include "core/proto/config.pb.h"
#include "distributed/master/cluster_step.h"
#include "distributed/master/master.h"
#include "distributed/master/partial_step.h"
#include "distributed/metrics/step_metrics.h"
#include "distributed/proto/master.pb.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/stats/clock_offset.h"
#include "runtime/session/planner.h"

namespace sluice {

// A task of a session's cluster.
struct MasterTask {
  std::string name;
  std::shared_ptr<Channel> channel;
  uint64_t incarnation = 0;
  std::vector<DeviceAttributes> devices;
  std::shared_ptr<StepTimes> times = std::make_shared<StepTimes>();  // of its parts of steps, without waiting
  // Guarded by the session:
  bool asked = false;    // a heartbeat is on its way
  absl::Duration heard;  // when it answered last
  std::string lost;      // why it is taken for lost
  ClockOffset clock;
  std::vector<proto::StragglerView> stragglers;  // that it has named
};

class MasterSession : public std::enable_shared_from_this<MasterSession> {
 public:
  using Created = std::function<void(absl::StatusOr<std::shared_ptr<MasterSession>>)>;
  // Meets every task that the configuration's device_filters let in, within the join timeout, and as long as `ended`
  // says OK. Until it is there a session uses nothing that its master was lent but clock and channels, so it may
  // outlive it.
  static void Create(std::shared_ptr<const MasterOptions> options, std::string handle,
                     const proto::CreateSessionRequest& request, std::function<absl::Status()> ended, Created done);
  ~MasterSession();

  const std::string& handle() const { return handle_; }
  // The client has spoken.
  void Heard();
  // No step runs and the client has been silent for `ttl`.
  bool IsAbandoned(absl::Duration ttl) const;
  absl::StatusOr<int64_t> Extend(const proto::ExtendSessionRequest& request);
  absl::StatusOr<int64_t> MakeCallable(const proto::CallableOptions& options);
  void ReleaseCallable(int64_t callable);
  // The reply is a RunStepResponse.
  void Run(int64_t callable, TensorList feeds, const proto::RunOptions& run, int64_t request_id, Reply reply);
  // The reply is a PartialRunSetupResponse.
  void SetUpPartialRun(const proto::PartialRunSetupRequest& request, Reply reply);
  // One part of it; the reply is a RunStepResponse.
  void RunPart(const proto::RunStepRequest& request, TensorList feeds, Reply reply);
  void CancelStep(int64_t request_id);
  // Plans without running.
  void Describe(const proto::CallableOptions& options,
                std::function<void(absl::StatusOr<proto::DescribeStepResponse>)> done);
  void ListDevices(proto::ListDevicesResponse* response) const;
  // What there is to see: adds to `view`.
  void View(proto::MasterView* view) const;
  // Ends every step and tells the workers; `done` within a bounded time.
  void Close(const absl::Status& why, std::function<void()> done);

 private:
  struct Plan {
    ~Plan();
    const Graph* graph = nullptr;
    int64_t mutations = 0;
    std::vector<FeedCheck> feeds;
    std::string placement;
    std::string text;
    std::vector<TaskPart> parts;
    int num_results = 0;
    PartialPlan partial;
    std::string session;
    // The tasks of a job that take part in each step, for naming stragglers.
    struct Peers {
      std::vector<int> parts;
      std::unique_ptr<Stragglers> stragglers;
    };
    std::vector<Peers> peers;
  };
  using Planned = std::function<void(absl::StatusOr<std::shared_ptr<const Plan>>)>;
  struct Signature {
    CallableSpec spec;
    // Guarded by the session's mu_.
    std::shared_ptr<const Plan> plan;
    std::vector<Planned> waiting;  // for the plan that is being made; the first one's step asked for it
  };
  // One round of questions to tasks that have not answered yet.
  struct Meeting {
    absl::Duration began;
    absl::Duration complained;
    absl::Duration limit;
    std::map<std::string, std::string> missing;  // task -> why
    std::function<absl::Status()> ended;         // why nobody wants the session any more
    Created done;
  };
  struct Active {
    std::shared_ptr<ClusterStep> step;
    int64_t request_id = 0;  // for a partial run: of its last part
    bool watched = false;    // a partial run may wait for its client for as long as it likes
    absl::Duration since;    // it has got nowhere, as far as is known
    int64_t completed = -1;
    bool reported = false;
  };

  MasterSession(std::shared_ptr<const MasterOptions> options, std::string handle, const proto::ConfigProto& config,
                SessionOptions session);
  // The cluster of this session: the client's, where its configuration has one, else the server's.
  absl::Status TakeCluster();
  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& task) const;
  void Meet(std::shared_ptr<Meeting> meeting);
  absl::Status Met(Meeting* meeting, std::vector<MasterTask> asked, std::vector<absl::StatusOr<Message>> replies,
                   absl::Duration sent);
  void CreateOnWorkers(Created done);
  absl::Status CheckUsable() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // ABORTED for a request that was seen before. 0 stands for a client that does not number them.
  absl::Status CheckFirst(int64_t request_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsCurrent(const Plan* plan) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MakePlan(const CallableSpec& spec, Planned done);
  absl::StatusOr<std::shared_ptr<Plan>> Place(const CallableSpec& spec,
                                              std::map<std::string, proto::RegisterGraphRequest>* requests);
  // A plan for the graph as it is now: the one there is, or a new one.
  void Replan(std::shared_ptr<Signature> signature, Planned done);
  void StartStep(std::shared_ptr<const Plan> plan, TensorList feeds, const proto::RunOptions& run, int64_t request_id,
                 Reply reply);
  absl::StatusOr<std::shared_ptr<Signature>> FindSignature(CallableSpec spec, int64_t* number)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StartPartialRun(std::shared_ptr<const Plan> plan, const CallableSpec& spec, int64_t request_id, Reply reply);
  // Notes how long each task's part took; says who has become a straggler.
  void NoteTimes(const Plan& plan, const ClusterStepResult& result);
  // The statistics of all tasks on one clock.
  void FillMetadata(const Plan& plan, ClusterStepResult* result, proto::RunMetadata* metadata);
  std::vector<Stragglers::Straggler> StragglersOf(const Plan& plan) const;
  // Ends the session for good: its state on a worker is gone.
  void Break(const absl::Status& why);
  void LoseTask(const std::string& task, const absl::Status& why);
  // The watchdog: asks the tasks how far old steps are, and says who waits for what in those that stand still.
  void Watch();
  void Watched(const std::vector<int64_t>& steps, std::vector<absl::StatusOr<Message>> replies);
  void ScheduleBeat();
  void Beat();
  void BeatAnswered(const std::string& task, absl::StatusOr<Message> reply, absl::Duration sent);

  // Shared, since answers of other tasks may come after the master is gone.
  const std::shared_ptr<const MasterOptions> shared_options_;
  const MasterOptions& options_;
  const std::string handle_;
  const proto::ConfigProto config_;
  const SessionOptions session_options_;
  Cluster cluster_;  // fixed after Create
  StepMetrics step_metrics_;
  PlannerSetup setup_;
  PlacementHistory history_;
  mutable absl::Mutex mu_;
  std::map<std::string, MasterTask> tasks_;  // fixed after Create but for `asked`
  absl::Status broken_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<Graph> graph_ ABSL_GUARDED_BY(mu_);
  int64_t version_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t next_callable_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<int64_t, std::shared_ptr<Signature>> callables_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, int64_t> callable_of_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<int64_t, Active> active_ ABSL_GUARDED_BY(mu_);  // by step
  int64_t next_partial_run_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<std::string, std::shared_ptr<PartialStep>> partial_runs_ ABSL_GUARDED_BY(mu_);  // by handle
  // Of the last steps: a request that comes twice is run once.
  absl::flat_hash_set<int64_t> requests_ ABSL_GUARDED_BY(mu_);
  std::deque<int64_t, RecyclingAllocator<int64_t>> request_order_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId beat_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Duration heard_ ABSL_GUARDED_BY(mu_);
  int64_t steps_done_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Duration watched_ ABSL_GUARDED_BY(mu_);  // when the watchdog last asked
  std::string stuck_ ABSL_GUARDED_BY(mu_);       // its last report
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_MASTER_MASTER_SESSION_H_
