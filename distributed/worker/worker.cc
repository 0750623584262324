#include "distributed/worker/worker.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/base/contributions.h"
#include "core/base/recycled_memory.h"
#include "core/base/status.h"
#include "core/base/step_times.h"
#include "core/base/thread_pool.h"
#include "core/graph/graph_def.h"
#include "distributed/cluster/cluster.h"
#include "distributed/collective/cluster_collectives.h"
#include "distributed/metrics/step_metrics.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rendezvous/remote_tensor.h"
#include "distributed/rpc/call.h"
#include "distributed/stats/effective_time.h"
#include "distributed/stats/step_trace.h"
#include "distributed/stats/transfer_trace.h"
#include "distributed/stats/wire_stats.h"
#include "distributed/testing/bugs.h"
#include "distributed/worker/step_table.h"
#include "distributed/worker/worker_session.h"
#include "runtime/device/cpu_device.h"
#include "runtime/session/step_stats.h"

namespace sluice {
namespace {

// For steps of a session that has ended: kernels in the middle of their work are waited for.
constexpr absl::Duration kEndTimeout = absl::Seconds(30);

// A part of a step that waits for nothing and lately took less than this runs on the thread that brought the call:
// waking another one would cost as much.
constexpr int64_t kBriefNs = 50'000;

uint64_t RandomId() {
  std::random_device random;
  uint64_t id = 0;
  while (id == 0) id = (uint64_t{random()} << 32) | random();
  return id;
}

struct Peer {
  std::string task;
  std::string address;  // empty: as the server's cluster says
  std::shared_ptr<Channel> channel;
  std::shared_ptr<WireCounters> received;  // null for this task itself
};

int64_t Nanos(absl::Duration since) { return absl::ToInt64Nanoseconds(since); }

void CountsToProto(const TimeCounts& counts, google::protobuf::RepeatedField<int32_t>* proto) {
  for (int b = 0; b < TimeCounts::kBuckets; ++b) {
    if (counts.count(b) == 0) continue;
    proto->Add(b);
    proto->Add(counts.count(b));
  }
}

// Replicas of a synchronous training whose gradients come to this process.
void AddStragglers(google::protobuf::RepeatedPtrField<proto::StragglerView>* views) {
  for (const Stragglers::Straggler& s : Contributions::Process().Named()) {
    proto::StragglerView* view = views->Add();
    view->set_name(s.name);
    view->set_what("its share of a step");
    view->set_seconds(s.seconds);
    view->set_median(s.median);
  }
}

class PoolExecutor final : public Executor {
 public:
  explicit PoolExecutor(ThreadPool* pool) : pool_(pool) {}
  void Schedule(std::function<void()> work) override { pool_->ScheduleBlocking(std::move(work)); }

 private:
  ThreadPool* const pool_;
};

class BlockingDriver final : public StepDriver {
 public:
  explicit BlockingDriver(Executor* executor) : executor_(executor) {}
  void Run(StepPlan& plan, const StepCall& call, TensorList& arguments, TensorList& results, bool brief,
           SharedFunction<void(absl::Status)> done) override {
    if (brief) return RunNow(plan, call, arguments, results, done);
    executor_->Schedule(
        SharedFunction<void()>::ExactlyOnce([&plan, &call, &arguments, &results, done = std::move(done)] {
          RunNow(plan, call, arguments, results, done);
        }));
  }

 private:
  static void RunNow(StepPlan& plan, const StepCall& call, TensorList& arguments, TensorList& results,
                     const SharedFunction<void(absl::Status)>& done) {
    Step* step = plan.Take();
    absl::Status status = step->Run(call, {}, arguments.data(), results.data());
    plan.GiveBack(step);
    done(std::move(status));
  }

  Executor* const executor_;
};

}  // namespace

struct Worker::Impl : public std::enable_shared_from_this<Worker::Impl> {
  explicit Impl(WorkerOptions o)
      : options(std::move(o)),
        incarnation(RandomId()),
        steps(
            options.task,
            [this](absl::string_view task, int64_t step, const Rendezvous::Key& key, Rendezvous::Callback done) {
              Fetch(task, step, key, std::move(done));
            },
            options.clock),
        step_metrics(options.metrics.get(), "worker"),
        wire(std::make_shared<WireStats>(options.task)),
        born(options.clock->Now()) {
    pool = ProcessPool(options.session.parallelism);
    if (options.executor == nullptr) own_executor = std::make_unique<PoolExecutor>(pool);
    executor = options.executor != nullptr ? options.executor : own_executor.get();
    if (options.driver == nullptr) own_driver = std::make_unique<BlockingDriver>(executor);
    driver = options.driver != nullptr ? options.driver : own_driver.get();
    devices = MakeCpuDevices(options.task, std::max(1, options.session.cpu_devices), pool);
    for (const auto& d : devices) {
      device_list.push_back(d.get());
      stores.push_back(std::make_unique<ResourceStore>());
      shared_stores.push_back(stores.back().get());
    }
    MakeCollectives();
  }

  void MakeCollectives() {
    ClusterCollectivesOptions o;
    o.task = options.task;
    o.leader = options.collective_leader;
    o.tasks = options.tasks;
    o.host = options.host;
    o.timeout = options.collective_timeout;
    o.wire = wire;
    o.clock = options.clock;
    o.executor = executor;
    o.pool = pool;
    o.call = [this](const std::string& task, const std::string& method, Message request, absl::Duration timeout,
                    Reply done) {
      absl::StatusOr<std::shared_ptr<Peer>> peer = FindPeer(task, NewestAddressOf(task));
      if (!peer.ok()) return done(peer.status());
      (*peer)->channel->Call(
          kService + method, std::move(request), timeout,
          [clock = options.clock, asked_ns = Nanos(options.clock->Now()), way = (*peer)->channel->way(), peer = *peer,
           task, done = std::move(done)](absl::StatusOr<Message> reply) {
            if (reply.ok()) {
              if (peer->received) {
                peer->received->Received(way, reply->tensors, Nanos(clock->Now()) - asked_ns);
              }
              return done(std::move(reply));
            }
            done(Annotate(reply.status(), absl::StrCat("asking ", task, " over ", peer->channel->Describe(), ": ")));
          });
    };
    collectives = MakeRef<ClusterCollectives>(std::move(o));
    InstallCollectives(shared_stores);
  }

  void InstallCollectives(const std::vector<ResourceStore*>& into) {
    for (ResourceStore* store : into) Collectives::Install(collectives, store);
  }

  // --- Sessions ---

  absl::Status CheckIncarnation(uint64_t wanted) {
    if (wanted == 0 || wanted == incarnation) return absl::OkStatus();
    refused.fetch_add(1);
    return absl::AbortedError(absl::StrCat(options.task, " has restarted: its incarnation is ",
                                           absl::Hex(incarnation, absl::kZeroPad16), ", the caller met ",
                                           absl::Hex(wanted, absl::kZeroPad16), "; the session must be created again"));
  }

  absl::StatusOr<std::shared_ptr<WorkerSession>> FindSession(const std::string& handle) {
    absl::MutexLock lock(&mu);
    auto it = sessions.find(handle);
    if (it == sessions.end()) {
      refused.fetch_add(1);
      return absl::AbortedError(absl::StrCat("session ", handle, " is not known to ", options.task,
                                             ": it was closed, ran out of its time, or the task has restarted"));
    }
    it->second->last_named = options.clock->Now();
    return it->second;
  }

  absl::StatusOr<Message> GetStatus(const proto::GetStatusRequest& request) {
    proto::GetStatusResponse response;
    for (Device* d : device_list) {
      auto* a = response.add_device_attributes();
      a->set_name(d->name());
      a->set_device_type(d->type());
      a->set_memory_limit(d->attributes().memory_limit);
      a->set_incarnation(d->attributes().incarnation);
      a->set_physical_device_desc(d->attributes().description);
    }
    response.set_incarnation(incarnation);
    response.set_protocol_version(kProtocolVersion);
    response.set_running_steps(steps.running());
    response.set_now_micros(absl::ToUnixMicros(absl::Now()));
    if (request.session_handle_size() > 0) heard_ns.store(Nanos(options.clock->Now()), std::memory_order_relaxed);
    response.set_now_nanos(Nanos(options.clock->Now()));
    AddStragglers(response.mutable_straggler());
    absl::MutexLock lock(&mu);
    for (const std::string& handle : request.session_handle()) {
      auto it = sessions.find(handle);
      if (it == sessions.end()) {
        response.add_unknown_session(handle);
      } else {
        it->second->last_named = options.clock->Now();
      }
    }
    return Pack(response);
  }

  void CreateSession(Message message, Reply reply) {
    auto request = std::make_shared<proto::CreateWorkerSessionRequest>();
    absl::Status status = Unpack(message, request.get());
    if (status.ok()) status = CheckIncarnation(request->incarnation());
    if (status.ok() && request->protocol_version() != kProtocolVersion) {
      status = FailedPrecondition("the master ", request->master_task(), " speaks version ",
                                  request->protocol_version(), " of the protocol between tasks, ", options.task,
                                  " speaks ", kProtocolVersion, "; install the same version of Sluice for both");
    }
    if (status.ok() && request->session_handle().empty()) status = InvalidArgument("a session without a handle");
    if (!status.ok()) return reply(Here(status));
    EndPredecessors(request->lineage(), request->epoch(),
                    [self = shared_from_this(), request, reply](absl::Status ended) {
                      reply(ended.ok() ? self->AddSession(*request) : self->Here(ended));
                    });
  }

  absl::StatusOr<Message> AddSession(const proto::CreateWorkerSessionRequest& request) {
    auto session = std::make_shared<WorkerSession>(
        request.session_handle(), &options.environment, &options.session, device_list,
        request.isolate_session_state() ? std::vector<ResourceStore*>() : shared_stores);
    InstallCollectives(session->resources());
    session->last_named = options.clock->Now();
    session->lineage = request.lineage();
    session->epoch = request.epoch();
    session->master_task = request.master_task();
    session->from_master = wire->Of(request.master_task());
    if (request.server_def().has_cluster() && options.connect_to != nullptr) {
      ASSIGN_OR_RETURN(session->cluster, Cluster::FromProto(request.server_def().cluster()));
      some_have_clusters.store(true, std::memory_order_relaxed);
      absl::MutexLock lock(&peers_mu);
      for (const auto& [task, address] : session->cluster.addresses) newest_addresses[task] = address;
    }
    absl::MutexLock lock(&mu);
    if (closed) return absl::UnavailableError(absl::StrCat(options.task, " shuts down"));
    if (!request.lineage().empty() && request.epoch() < lineages[request.lineage()] && !Bug(kOldEpochAccepted) &&
        !Bug(kNoFence)) {
      return TakenOver(request.lineage(), request.epoch());
    }
    if (steps.HasEnded(request.session_handle())) {
      return absl::AbortedError(absl::StrCat("session ", request.session_handle(), " has ended on ", options.task));
    }
    if (!sessions.emplace(request.session_handle(), session).second) {
      return AlreadyExists(options.task, " has a session ", request.session_handle());
    }
    if (sweep == 0) ScheduleSweep();
    return Pack(proto::CreateWorkerSessionResponse());
  }

  absl::Status TakenOver(const std::string& lineage, int64_t epoch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    refused.fetch_add(1);
    return absl::AbortedError(absl::StrCat(options.task, " refuses a session of ", lineage, " with epoch ", epoch,
                                           ": epoch ", lineages[lineage], " has taken over"));
  }

  // Fences the sessions that this one follows: when `done` runs, nothing that they started still changes a variable.
  void EndPredecessors(const std::string& lineage, int64_t epoch, std::function<void(absl::Status)> done) {
    if (lineage.empty() || Bug(kNoFence)) return done(absl::OkStatus());
    std::vector<std::string> older;
    absl::Status refusal;
    {
      absl::MutexLock lock(&mu);
      int64_t& newest = lineages[lineage];
      if (epoch < newest && !Bug(kOldEpochAccepted)) {
        refusal = TakenOver(lineage, epoch);
      } else {
        newest = epoch;
        for (const auto& [handle, s] : sessions) {
          if (s->lineage == lineage && s->epoch < epoch) older.push_back(handle);
        }
      }
    }
    if (!refusal.ok()) return done(refusal);
    std::sort(older.begin(), older.end());
    EndAll(std::make_shared<std::vector<std::string>>(std::move(older)),
           absl::AbortedError(absl::StrCat("epoch ", epoch, " of ", lineage, " has taken over")), std::move(done));
  }

  // Ends the sessions one after the other, from the last.
  void EndAll(std::shared_ptr<std::vector<std::string>> handles, const absl::Status& why,
              std::function<void(absl::Status)> done) {
    if (handles->empty()) return done(absl::OkStatus());
    const std::string handle = std::move(handles->back());
    handles->pop_back();
    Forget(handle, why, [self = shared_from_this(), handles, why, done = std::move(done)](absl::Status ended) {
      if (!ended.ok()) return done(ended);
      self->EndAll(handles, why, done);
    });
  }

  void DeleteSession(Message message, Reply reply) {
    proto::DeleteWorkerSessionRequest request;
    absl::Status valid = Unpack(message, &request);
    if (!valid.ok()) return reply(Here(valid));
    Forget(request.session_handle(), absl::CancelledError("the session was closed"), [reply](absl::Status ended) {
      if (!ended.ok()) return reply(ended);
      reply(Pack(proto::DeleteWorkerSessionResponse()));
    });
  }

  // Ends the session and its steps; `done` when they have ended.
  void Forget(const std::string& handle, const absl::Status& why, std::function<void(absl::Status)> done) {
    std::shared_ptr<WorkerSession> session;
    {
      absl::MutexLock lock(&mu);
      auto it = sessions.find(handle);
      if (it != sessions.end()) {
        session = std::move(it->second);
        sessions.erase(it);
      }
    }
    if (!session) return done(absl::OkStatus());
    steps.EndSession(handle, why);
    steps.WhenIdle(handle, kEndTimeout, [task = options.task, handle, done = std::move(done)](bool idle) {
      if (idle) return done(absl::OkStatus());
      done(absl::UnavailableError(absl::StrCat("a step of session ", handle, " on ", task, " still runs ",
                                               absl::FormatDuration(kEndTimeout), " after its end")));
    });
  }

  // Also without a session, peers and strangers may ask for steps.
  void EnsureSweep() {
    if (sweeping.load(std::memory_order_relaxed)) return;
    absl::MutexLock lock(&mu);
    if (sweep == 0 && !closed) ScheduleSweep();
  }

  void ScheduleSweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    const absl::Duration period =
        std::max(absl::Milliseconds(10), std::min(options.session_ttl, options.orphan_ttl) / 4);
    sweeping.store(true, std::memory_order_relaxed);
    sweep = options.clock->RunAfter(period, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Sweep();
    });
  }

  void Sweep() {
    std::vector<std::string> idle;
    {
      absl::MutexLock lock(&mu);
      if (closed) return;
      const absl::Duration now = options.clock->Now();
      for (const auto& [handle, s] : sessions) {
        if (now - s->last_named > options.session_ttl && !Bug(kSessionsStay)) idle.push_back(handle);
      }
      ScheduleSweep();
    }
    for (const std::string& handle : idle) {
      Forget(handle,
             absl::AbortedError(absl::StrCat("no master has named session ", handle, " for ",
                                             absl::FormatDuration(options.session_ttl))),
             [](absl::Status) {});
    }
    steps.Sweep(options.orphan_ttl);
  }

  // --- Graphs and steps ---

  absl::StatusOr<Message> Register(const proto::RegisterGraphRequest& request) {
    RETURN_IF_ERROR(CheckIncarnation(request.incarnation()));
    ASSIGN_OR_RETURN(std::shared_ptr<WorkerSession> session, FindSession(request.session_handle()));
    ASSIGN_OR_RETURN(std::shared_ptr<WorkerGraph> graph, session->Register(request));
    proto::RegisterGraphResponse response;
    response.set_graph_handle(graph->handle);
    response.set_plan(graph->planned.step->Dump());
    for (const auto& f : graph->planned.functions) response.mutable_plan()->append(f->Dump());
    return Pack(response);
  }

  absl::StatusOr<Message> Deregister(const proto::DeregisterGraphRequest& request) {
    ASSIGN_OR_RETURN(std::shared_ptr<WorkerSession> session, FindSession(request.session_handle()));
    session->Deregister(request.graph_handle());
    return Pack(proto::DeregisterGraphResponse());
  }

  // Everything a step needs, checked.
  struct RunCall {
    std::shared_ptr<WorkerSession> session;
    std::shared_ptr<WorkerGraph> graph;
    std::shared_ptr<WorkerStep> step;
    TensorList arguments;
    TensorList results;
    StepCall call;
    StepTrace records;
    std::shared_ptr<TransferTrace> transfers;  // of a traced step
    Way way = Way::kOther;                     // by which the arguments came
    int64_t argument_bytes = 0;
    absl::Duration start;
    int64_t waited_before = 0;
    int64_t timeout_ms = 0;
    bool trace = false;
    bool graphs = false;
    bool alone = false;
    Reply reply;
  };

  absl::Status PrepareRun(Message message, RunCall* run) {
    // Kept by the thread, with the memory of its fields; nothing below comes back here.
    thread_local proto::RunGraphRequest request;
    RETURN_IF_ERROR(Unpack(message, &request));
    RETURN_IF_ERROR(CheckIncarnation(request.incarnation()));
    ASSIGN_OR_RETURN(run->session, FindSession(request.session_handle()));
    if (run->session->from_master) {
      run->argument_bytes = run->session->from_master->Received(run->way, message.tensors, 0);
    }
    ASSIGN_OR_RETURN(run->graph, run->session->Find(request.graph_handle()));
    if (request.argument_size() != static_cast<int>(message.tensors.size())) {
      return InvalidArgument("a step with ", message.tensors.size(), " tensors for ", request.argument_size(),
                             " arguments");
    }
    run->arguments.resize(run->graph->num_arguments);
    for (int i = 0; i < request.argument_size(); ++i) {
      const int index = request.argument(i);
      if (index < 0 || index >= run->graph->num_arguments) return InvalidArgument("a step with an argument ", index);
      run->arguments[index] = std::move(message.tensors[i]);
    }
    // Kernels were prepared for these types and shapes.
    for (const auto& [index, check] : run->graph->arguments) RETURN_IF_ERROR(CheckFeed(check, run->arguments[index]));
    run->timeout_ms = request.timeout_ms();
    run->trace = request.exec_opts().record_timeline();
    run->graphs = request.exec_opts().record_partition_graphs();
    run->alone = request.alone();
    absl::StatusOr<std::shared_ptr<WorkerStep>> step = steps.Begin(request.step_id(), request.session_handle());
    if (!step.ok()) {
      refused.fetch_add(1);
      return step.status();
    }
    run->step = *std::move(step);
    return absl::OkStatus();
  }

  void RunGraph(Message message, Way way, Reply reply) {
    auto run = MakeRecycled<RunCall>();
    run->way = way;
    absl::Status ready = PrepareRun(std::move(message), run.get());
    if (!ready.ok()) return reply(Here(ready));
    run->reply = std::move(reply);
    {
      absl::MutexLock lock(&mu);
      ++running;
    }
    run->results.resize(run->graph->num_results);
    run->call.step_id = run->step->id;
    run->call.cancellation = &run->step->cancellation;
    run->call.rendezvous = run->step->rendezvous.get();
    if (run->timeout_ms > 0) run->call.deadline = absl::Now() + absl::Milliseconds(run->timeout_ms);
    run->call.progress = &run->step->progress;
    run->waited_before = run->step->progress.waited_ns();
    run->start = options.clock->Now();
    step_metrics.Began();
    if (run->trace) BeginTrace(run.get());
    const bool brief = !run->graph->may_wait && run->graph->last_ns.load(std::memory_order_relaxed) < kBriefNs;
    driver->Run(*run->graph->planned.step, run->call, run->arguments, run->results, brief,
                [self = shared_from_this(), run](absl::Status status) {
                  self->Ran(*run, std::move(status));
                  absl::MutexLock lock(&self->mu);
                  --self->running;
                });
  }

  void Ran(RunCall& run, absl::Status status) {
    const absl::Duration took = options.clock->Now() - run.start;
    const int64_t busy_ns = std::max<int64_t>(0, Nanos(took) - (run.step->progress.waited_ns() - run.waited_before));
    times.Add(absl::ToDoubleSeconds(took));
    step_metrics.Ended(status.code(), absl::ToDoubleSeconds(took));
    busy.Add(1e-9 * static_cast<double>(busy_ns));
    run.graph->last_ns.store(Nanos(took), std::memory_order_relaxed);
    run.arguments.clear();
    if (!status.ok()) run.step->rendezvous->Abort(status);
    if (!status.ok() && !run.graph->groups.empty()) collectives->StepFailed(run.graph->groups, status);
    steps.Ran(*run.step);
    if (run.alone || !status.ok()) steps.End(run.step->id, status, false);
    (status.ok() ? done : failed).fetch_add(1);
    if (run.trace) EndTrace(run.step->id);
    if (!status.ok()) {
      Remember(status);
      return run.reply(Here(status));
    }
    thread_local proto::RunGraphResponse response;
    response.Clear();
    response.set_busy_nanos(busy_ns);
    for (int index : run.graph->results) response.add_result(index);
    if (run.trace) FillTrace(&run, &response);
    if (run.graphs) {
      for (const auto& p : run.graph->planned.step->partitions()) {
        response.add_partition_graph()->ParseFromString(SerializedGraph(*p->graph));
      }
    }
    Message reply = Pack(response);
    reply.tensors.reserve(run.graph->results.size());
    for (int index : run.graph->results) reply.tensors.push_back(std::move(run.results[index]));
    run.reply(std::move(reply));
  }

  // --- What a traced step did ---

  void BeginTrace(RunCall* run) {
    run->call.trace = &run->records;
    run->transfers = std::make_shared<TransferTrace>();
    absl::MutexLock lock(&traces_mu);
    traces[run->step->id] = run->transfers;
    tracing.store(true, std::memory_order_relaxed);
  }

  void EndTrace(int64_t step) {
    absl::MutexLock lock(&traces_mu);
    traces.erase(step);
    tracing.store(!traces.empty(), std::memory_order_relaxed);
  }

  std::shared_ptr<TransferTrace> TraceOf(int64_t step) {
    if (ABSL_PREDICT_TRUE(!tracing.load(std::memory_order_relaxed))) return nullptr;
    absl::MutexLock lock(&traces_mu);
    auto it = traces.find(step);
    return it == traces.end() ? nullptr : it->second;
  }

  // Times are of this task's clock.
  void FillTrace(RunCall* run, proto::RunGraphResponse* response) {
    const int64_t begin_ns = Nanos(options.clock->Now()) - (StepTrace::Now() - run->records.begin_ns());
    StepStats stats = CollectStats(&run->records, absl::FromUnixMicros(begin_ns / 1000), device_list);
    proto::StepStats* all = response->mutable_step_stats();
    StepStatsToProto(stats, all);
    ShiftTimes(begin_ns % 1000, all);
    AddTransfers(options.task, run->transfers->Take(), all);
    if (run->argument_bytes > 0) {
      const int64_t came_ns = Nanos(run->start);
      AddCallTensors("Feeds", run->session->master_task, options.task,
                     {"", came_ns, came_ns, run->argument_bytes, run->way}, all);
    }
    response->set_received_nanos(Nanos(run->start));
    response->set_replied_nanos(Nanos(options.clock->Now()));
  }

  void Remember(const absl::Status& error) {
    if (error.GetPayload(kDerivedPayload).has_value() || absl::IsCancelled(error)) return;
    absl::MutexLock lock(&mu);
    last_error = std::string(absl::string_view(error.message()).substr(0, 500));
    last_error_at = options.clock->Now();
  }

  absl::StatusOr<Message> Cleanup(const proto::CleanupGraphRequest& request) {
    absl::Status why = absl::Status(static_cast<absl::StatusCode>(request.status_code()), request.status_message());
    if (!why.ok()) why.SetPayload(kDerivedPayload, absl::Cord("1"));
    steps.End(request.step_id(), why, !why.ok());
    return Pack(proto::CleanupGraphResponse());
  }

  absl::StatusOr<Message> CleanupAll(const proto::CleanupAllRequest& request) {
    std::set<ResourceStore*> all(shared_stores.begin(), shared_stores.end());
    {
      absl::MutexLock lock(&mu);
      for (const auto& [handle, s] : sessions) all.insert(s->resources().begin(), s->resources().end());
    }
    for (ResourceStore* store : all) {
      if (request.container().empty()) store->Clear();
      for (const std::string& c : request.container()) store->EraseContainer(c);
      InstallCollectives({store});
    }
    return Pack(proto::CleanupAllResponse());
  }

  // --- Tensors ---

  void RecvTensor(const proto::RecvTensorRequest& request, Reply reply) {
    absl::Status valid = CheckIncarnation(request.incarnation());
    if (!valid.ok()) return reply(valid);
    EnsureSweep();
    absl::StatusOr<std::shared_ptr<WorkerStep>> step = steps.Find(request.step_id());
    if (!step.ok()) {
      refused.fetch_add(1);
      return reply(step.status());
    }
    (*step)->rendezvous->RecvForPeer(request.rendezvous_key(), AnswerWithTensor(std::move(reply)));
  }

  absl::StatusOr<Message> SendTensors(Message message, Way way) {
    proto::SendTensorsRequest request;
    RETURN_IF_ERROR(Unpack(message, &request));
    RETURN_IF_ERROR(CheckIncarnation(request.incarnation()));
    if (request.rendezvous_key_size() != static_cast<int>(message.tensors.size())) {
      return InvalidArgument(message.tensors.size(), " tensors with ", request.rendezvous_key_size(), " keys");
    }
    EnsureSweep();
    absl::StatusOr<std::shared_ptr<WorkerStep>> step = steps.Find(request.step_id());
    if (!step.ok()) {
      refused.fetch_add(1);
      return step.status();
    }
    if (std::shared_ptr<WireCounters> from = FromMasterOf(request.session_handle()))
      from->Received(way, message.tensors, 0);
    for (int i = 0; i < request.rendezvous_key_size(); ++i) {
      RETURN_IF_ERROR((*step)->rendezvous->Send(request.rendezvous_key(i), {std::move(message.tensors[i]), false}));
    }
    return Pack(proto::SendTensorsResponse());
  }

  // What has come from the master of a session; null when that is this task.
  std::shared_ptr<WireCounters> FromMasterOf(const std::string& handle) {
    absl::MutexLock lock(&mu);
    auto session = sessions.find(handle);
    return session == sessions.end() ? nullptr : session->second->from_master;
  }

  // Where the session of a step has a task; empty for the place that the server's cluster names.
  std::string AddressOf(absl::string_view task, int64_t step) {
    if (!some_have_clusters.load(std::memory_order_relaxed)) return "";
    const std::string handle = steps.SessionOf(step);
    absl::MutexLock lock(&mu);
    auto session = sessions.find(handle);
    if (session == sessions.end()) return "";
    const auto& addresses = session->second->cluster.addresses;
    auto it = addresses.find(std::string(task));
    return it == addresses.end() ? "" : it->second;
  }

  // Where the last session that has a cluster has a task: for what belongs to no session.
  std::string NewestAddressOf(const std::string& task) {
    absl::MutexLock lock(&peers_mu);
    auto it = newest_addresses.find(task);
    return it == newest_addresses.end() ? "" : it->second;
  }

  absl::StatusOr<std::shared_ptr<Peer>> FindPeer(absl::string_view task, const std::string& address) {
    absl::MutexLock lock(&peers_mu);
    auto it = peers.find(task);
    if (it != peers.end() && it->second->address == address) return it->second;
    auto made = std::make_shared<Peer>();
    made->task = std::string(task);
    made->address = address;
    absl::StatusOr<std::shared_ptr<Channel>> channel =
        address.empty() ? options.connect(made->task) : options.connect_to(made->task, address);
    if (!channel.ok()) {
      peers.erase(made->task);
      return channel.status();
    }
    made->channel = *std::move(channel);
    made->received = wire->Of(made->task);
    peers[made->task] = made;  // calls on their way keep the old one
    return made;
  }

  void Fetch(absl::string_view task, int64_t step, const Rendezvous::Key& key, Rendezvous::Callback done) {
    absl::StatusOr<std::shared_ptr<Peer>> peer = FindPeer(task, AddressOf(task, step));
    if (!peer.ok()) return done(peer.status());
    thread_local proto::RecvTensorRequest request;  // packed before anything is called
    request.Clear();
    request.set_step_id(step);
    request.set_rendezvous_key(key);
    static const std::string method = absl::StrCat(kService, "RecvTensor");
    Channel& channel = *(*peer)->channel;
    const Way way = channel.way();
    const int64_t asked_ns = Nanos(options.clock->Now());
    std::shared_ptr<TransferTrace> trace = TraceOf(step);
    std::string traced_key = trace ? key : std::string();
    channel.Call(
        method, Pack(request), options.receive_timeout,
        [clock = options.clock, asked_ns, way, trace = std::move(trace), traced_key = std::move(traced_key),
         peer = *std::move(peer), done = std::move(done)](absl::StatusOr<Message> reply) {
          if (!reply.ok() && Bug(kZeroForLost)) {
            return done(Rendezvous::Value{Tensor::Scalar<int64_t>(0), false});
          }
          if (!reply.ok()) {
            return done(Annotate(reply.status(),
                                 absl::StrCat("asking ", peer->task, " over ", peer->channel->Describe(), ": ")));
          }
          const int64_t got_ns = Nanos(clock->Now());
          const int64_t bytes = peer->received ? peer->received->Received(way, reply->tensors, got_ns - asked_ns) : 0;
          if (trace) trace->Add({traced_key, asked_ns, got_ns, bytes, way});
          done(TensorOfAnswer(*std::move(reply)));
        });
  }

  static void StepToProto(const StepTable::View& v, proto::WorkerStateResponse::Step* step) {
    step->set_step_id(v.id);
    step->set_running_seconds(absl::ToDoubleSeconds(v.age));
    for (const std::string& key : v.waiting_for) step->add_waiting_for(key);
    step->set_completed(v.completed);
    for (const std::string& node : v.waiting_nodes) step->add_waiting_node(node);
    step->set_running_node(v.running_node);
  }

  absl::StatusOr<Message> State(const proto::WorkerStateRequest& request) {
    proto::WorkerStateResponse response;
    for (const StepTable::View& v : steps.List(request.step_id())) StepToProto(v, response.add_step());
    if (request.step_id_size() > 0) return Pack(response);
    const absl::Duration now = options.clock->Now();
    {
      absl::MutexLock lock(&mu);
      for (const auto& [handle, s] : sessions) {
        auto* view = response.add_session();
        view->set_handle(handle);
        view->set_graphs(s->num_graphs());
        view->set_idle_seconds(absl::ToDoubleSeconds(now - s->last_named));
      }
      if (!last_error.empty()) {
        response.set_last_error(last_error);
        response.set_last_error_seconds(absl::ToDoubleSeconds(now - last_error_at));
      }
    }
    for (const WireStats::Row& row : wire->List()) {
      auto* view = response.add_peer();
      view->set_task(row.from);
      view->set_transport(kWayNames[static_cast<int>(row.way)]);
      view->set_received_tensors(row.totals.tensors);
      view->set_received_bytes(row.totals.bytes);
      view->set_wait_seconds(1e-9 * static_cast<double>(row.totals.wait_ns));
    }
    response.set_incarnation(incarnation);
    response.set_uptime_seconds(absl::ToDoubleSeconds(now - born));
    const int64_t heard = heard_ns.load(std::memory_order_relaxed);
    response.set_heard_seconds(heard < 0 ? -1 : absl::ToDoubleSeconds(now - absl::Nanoseconds(heard)));
    response.set_steps_done(done.load());
    response.set_steps_failed(failed.load());
    response.set_refused_calls(refused.load());
    const AllocatorStats memory = device_list[0]->allocator()->stats();
    response.set_live_bytes(memory.live_bytes);
    response.set_peak_bytes(memory.peak_bytes);
    const TimeCounts counts = times.Counts();
    response.set_step_p50(counts.Percentile(0.5));
    response.set_step_p90(counts.Percentile(0.9));
    response.set_step_p99(counts.Percentile(0.99));
    CountsToProto(counts, response.mutable_step_times());
    CountsToProto(busy.Counts(), response.mutable_busy_times());
    AddStragglers(response.mutable_straggler());
    const std::string effective = GetEffectiveTime();
    if (!effective.empty() && !response.mutable_effective_time()->ParseFromString(effective)) {
      response.clear_effective_time();
    }
    return Pack(response);
  }

  absl::Status Here(const absl::Status& status) const {
    if (absl::StrContains(status.message(), options.task)) return status;
    return Annotate(status, absl::StrCat("on ", options.task, ": "));
  }

  template <typename Request>
  void Answer(absl::StatusOr<Message> (Impl::*method)(const Request&), const Message& message, const Reply& reply) {
    Request request;
    absl::Status valid = Unpack(message, &request);
    if (!valid.ok()) return reply(Here(valid));
    reply((this->*method)(request));
  }

  // What the worker does for `method`; runs on a thread that may block for planning.
  template <typename Request>
  void AnswerLater(absl::StatusOr<Message> (Impl::*method)(const Request&), Message message, Reply reply) {
    executor->Schedule([self = shared_from_this(), method, message = std::move(message), reply = std::move(reply)] {
      self->Answer(method, message, reply);
    });
  }

  const WorkerOptions options;
  const uint64_t incarnation;
  ThreadPool* pool = nullptr;
  std::unique_ptr<Executor> own_executor;
  Executor* executor = nullptr;
  std::unique_ptr<StepDriver> own_driver;
  StepDriver* driver = nullptr;
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<Device*> device_list;
  std::vector<std::unique_ptr<ResourceStore>> stores;  // outlive sessions that do not isolate their state
  std::vector<ResourceStore*> shared_stores;
  StepTable steps;
  RefPtr<ClusterCollectives> collectives;
  StepTimes times;
  StepMetrics step_metrics;
  StepTimes busy;  // without waiting
  const std::shared_ptr<WireStats> wire;
  const absl::Duration born;
  std::atomic<int64_t> heard_ns{-1};
  std::atomic<bool> tracing{false};
  absl::Mutex traces_mu;
  absl::flat_hash_map<int64_t, std::shared_ptr<TransferTrace>> traces ABSL_GUARDED_BY(traces_mu);
  std::atomic<int64_t> done{0};
  std::atomic<int64_t> failed{0};
  std::atomic<int64_t> refused{0};
  std::atomic<bool> some_have_clusters{false};
  absl::Mutex mu;
  bool closed ABSL_GUARDED_BY(mu) = false;
  std::string last_error ABSL_GUARDED_BY(mu);
  absl::Duration last_error_at ABSL_GUARDED_BY(mu);
  int running ABSL_GUARDED_BY(mu) = 0;
  Clock::TimerId sweep ABSL_GUARDED_BY(mu) = 0;
  std::atomic<bool> sweeping{false};
  absl::flat_hash_map<std::string, std::shared_ptr<WorkerSession>> sessions ABSL_GUARDED_BY(mu);
  absl::flat_hash_map<std::string, int64_t> lineages ABSL_GUARDED_BY(mu);  // the newest epoch of each
  absl::Mutex peers_mu;
  absl::flat_hash_map<std::string, std::shared_ptr<Peer>> peers ABSL_GUARDED_BY(peers_mu);
  absl::flat_hash_map<std::string, std::string> newest_addresses ABSL_GUARDED_BY(peers_mu);
};

constexpr char Worker::kService[];

Worker::Worker(WorkerOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

Worker::~Worker() { Shutdown(); }

void Worker::Handle(absl::string_view method, absl::Duration timeout, Message request, Reply reply, Way way) {
  Impl* w = impl_.get();
  if (method == "RecvTensor") {
    thread_local proto::RecvTensorRequest r;  // read before anything that it leads to
    absl::Status valid = Unpack(request, &r);
    return valid.ok() ? w->RecvTensor(r, std::move(reply)) : reply(w->Here(valid));
  }
  if (method == "SendTensors") {
    absl::StatusOr<Message> sent = w->SendTensors(std::move(request), way);
    return sent.ok() ? reply(std::move(sent)) : reply(w->Here(sent.status()));
  }
  if (method == "RunGraph") return w->RunGraph(std::move(request), way, std::move(reply));
  if (method == "CleanupGraph") return w->Answer(&Impl::Cleanup, request, reply);
  if (method == "GetStatus") return w->Answer(&Impl::GetStatus, request, reply);
  if (method == "CreateWorkerSession") return w->CreateSession(std::move(request), std::move(reply));
  if (method == "DeleteWorkerSession") return w->DeleteSession(std::move(request), std::move(reply));
  if (method == "RegisterGraph") return w->AnswerLater(&Impl::Register, std::move(request), std::move(reply));
  if (method == "DeregisterGraph") return w->AnswerLater(&Impl::Deregister, std::move(request), std::move(reply));
  if (method == "CleanupAll") return w->AnswerLater(&Impl::CleanupAll, std::move(request), std::move(reply));
  if (ClusterCollectives::Handles(method)) return w->collectives->Handle(method, request, std::move(reply));
  if (method == "WorkerState") return w->Answer(&Impl::State, request, reply);
  reply(Unimplemented(w->options.task, " has no call ", kService, method));
}

uint64_t Worker::incarnation() const { return impl_->incarnation; }

std::vector<DeviceAttributes> Worker::devices() const {
  std::vector<DeviceAttributes> list;
  for (Device* d : impl_->device_list) list.push_back(d->attributes());
  return list;
}

const std::shared_ptr<WireStats>& Worker::wire() const { return impl_->wire; }

Device* Worker::first_device() const { return impl_->device_list[0]; }

std::vector<std::pair<std::string, AllocatorStats>> Worker::memory() const {
  std::vector<std::pair<std::string, AllocatorStats>> all;
  for (Device* d : impl_->device_list) all.emplace_back(d->name(), d->allocator()->stats());
  return all;
}

Executor* Worker::executor() const { return impl_->executor; }

absl::StatusOr<std::shared_ptr<Channel>> Worker::PeerOf(const std::string& task) {
  ASSIGN_OR_RETURN(std::shared_ptr<Peer> peer, impl_->FindPeer(task, impl_->NewestAddressOf(task)));
  return peer->channel;
}

void Worker::Shutdown() {
  Clock::TimerId sweep = 0;
  std::vector<std::string> handles;
  {
    absl::MutexLock lock(&impl_->mu);
    if (impl_->closed) return;
    impl_->closed = true;
    sweep = impl_->sweep;
    for (const auto& [handle, s] : impl_->sessions) handles.push_back(handle);
  }
  if (sweep != 0) impl_->options.clock->CancelTimer(sweep);
  const absl::Status why = absl::UnavailableError(absl::StrCat(impl_->options.task, " shuts down"));
  for (const std::string& handle : handles) impl_->Forget(handle, why, [](absl::Status) {});
  impl_->steps.EndSession("", why);
  impl_->collectives->Shutdown(why);
  {
    absl::MutexLock lock(&impl_->peers_mu);
    impl_->peers.clear();
  }
  absl::MutexLock lock(&impl_->mu);
  auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(impl_->mu) { return impl_->running == 0; };
  impl_->mu.Await(absl::Condition(&idle));
}

}  // namespace sluice
