#include "runtime/session/session.h"

#include <unistd.h>

#include <atomic>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "core/base/status.h"
#include "core/graph/text.h"
#include "runtime/collective/local_collectives.h"
#include "runtime/device/cpu_device.h"
#include "runtime/session/partial_run.h"
#include "runtime/session/planner.h"
#include "runtime/session/step_stats.h"

namespace sluice {
namespace {

std::string KeyOf(const CallableSpec& spec) {
  return absl::StrCat(absl::StrJoin(spec.feeds, ","), ";", absl::StrJoin(spec.fetches, ","), ";",
                      absl::StrJoin(spec.targets, ","));
}

class LocalCallable final : public Callable {
 public:
  explicit LocalCallable(CallableSpec s) : spec(std::move(s)) {}

  const CallableSpec spec;
  // The newest plan. A step that counts itself in `running` first may use what it then loads.
  std::atomic<SessionPlan*> plan{nullptr};
  std::atomic<int> running{0};
  absl::Mutex mu;
  std::vector<std::unique_ptr<SessionPlan>> plans ABSL_GUARDED_BY(mu);  // the newest last
};

}  // namespace

struct Session::Impl {
  Impl(const Environment& e, const SessionOptions& o, Graph* g) : environment(e), options(o), graph(g) {
    if (options.own_pool) own_pool = std::make_unique<ThreadPool>(options.parallelism);
    pool = own_pool ? own_pool.get() : ProcessPool(options.parallelism);
    devices =
        MakeCpuDevices(absl::StrCat("/job:", options.job, "/replica:0/task:0"), std::max(1, options.cpu_devices), pool);
    setup.environment = &environment;
    setup.options = &options;
    setup.history = &history;
    setup.measured = &measured;
    setup.explain = options.log_placement;
    for (const auto& d : devices) {
      stores.push_back(std::make_unique<ResourceStore>());
      setup.devices.push_back(d.get());
      setup.resources.push_back(stores.back().get());
    }
    collectives = MakeRef<LocalCollectives>(static_cast<int>(devices.size()), pool, SystemClock(), CollectiveTimeout());
    InstallCollectives();
  }

  void InstallCollectives() {
    for (const auto& store : stores) Collectives::Install(collectives, store.get());
  }

  absl::StatusOr<SessionPlan*> Replan(LocalCallable& c) {
    absl::MutexLock lock(&c.mu);
    SessionPlan* current = c.plan.load();
    if (current != nullptr && current->mutations == graph->mutations()) return current;
    ASSIGN_OR_RETURN(std::unique_ptr<SessionPlan> made, MakeSessionPlan(setup, *graph, c.spec));
    if (options.log_placement) std::fprintf(stderr, "%s", made->placement.c_str());
    current = made.get();
    c.plans.push_back(std::move(made));
    c.plan.store(current);
    // Only this step is counted, so nobody is in an older plan, and nobody can come to it any more.
    if (c.running.load() == 1 && c.plans.size() > 1) c.plans.erase(c.plans.begin(), c.plans.end() - 1);
    return current;
  }

  absl::Status RunStep(LocalCallable& c, absl::Span<const Tensor> feeds, std::vector<Tensor>* fetches,
                       const RunOptions& run, RunMetadata* metadata) {
    if (ABSL_PREDICT_FALSE(closed.load())) return absl::CancelledError("the session has been closed");
    SessionPlan* plan = c.plan.load();
    if (ABSL_PREDICT_FALSE(plan == nullptr || plan->mutations != graph->mutations())) {
      ASSIGN_OR_RETURN(plan, Replan(c));
    }
    if (ABSL_PREDICT_FALSE(feeds.size() != plan->feeds.size())) {
      return InvalidArgument("the step takes ", plan->feeds.size(), " feeds, found ", feeds.size());
    }
    for (size_t i = 0; i < feeds.size(); ++i) RETURN_IF_ERROR(CheckFeed(plan->feeds[i], feeds[i]));
    // What the last step left there goes first: it may be the value of a variable, which is updated in place when
    // nobody holds it.
    for (Tensor& t : *fetches) t = Tensor();
    fetches->resize(plan->step->num_results());
    StepCall call;
    call.step_id = next_step.fetch_add(1, std::memory_order_relaxed);
    call.cancellation = run.cancellation;
    int64_t timeout = run.timeout_ms > 0 ? run.timeout_ms : options.operation_timeout_ms;
    if (timeout > 0) call.deadline = absl::Now() + absl::Milliseconds(timeout);
    if (ABSL_PREDICT_FALSE(metadata != nullptr)) return RunTraced(*plan, call, feeds, fetches, run, metadata);
    return RunPlan(*plan, call, feeds, fetches);
  }

  absl::Status RunPlan(SessionPlan& plan, const StepCall& call, absl::Span<const Tensor> feeds,
                       std::vector<Tensor>* fetches) {
    Step* step = plan.step->Take();
    absl::Status status = step->Run(call, feeds, nullptr, fetches->data());
    plan.step->GiveBack(step);
    return status;
  }

  absl::Status RunTraced(SessionPlan& plan, StepCall call, absl::Span<const Tensor> feeds, std::vector<Tensor>* fetches,
                         const RunOptions& run, RunMetadata* metadata) {
    if (run.partition_graphs) {
      for (const auto& p : plan.step->partitions()) metadata->partition_graphs.push_back(SerializedGraph(*p->graph));
    }
    if (!run.trace) return RunPlan(plan, call, feeds, fetches);
    StepTrace trace;
    absl::Time began = absl::Now();
    call.trace = &trace;
    absl::Status status = RunPlan(plan, call, feeds, fetches);
    metadata->stats = CollectStats(&trace, began, setup.devices);
    if ((options.cost_aware_placement || options.late_receives) && status.ok()) Measure(metadata->stats);
    return status;
  }

  void Measure(const StepStats& stats) {
    for (const DeviceStats& d : stats.devices) {
      absl::StatusOr<DeviceName> name = DeviceName::Parse(d.device);
      if (!name.ok() || !name->type) continue;
      for (const NodeStats& n : d.nodes)
        measured.Record(n.name, *name->type, static_cast<double>(n.end_ns - n.start_ns));
    }
  }

  absl::StatusOr<std::string> SetUpPartialRun(CallableSpec spec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (closed.load()) return absl::CancelledError("the session has been closed");
    spec.partial = true;
    RETURN_IF_ERROR(MakeRoom());
    RETURN_IF_ERROR(CheckPartialSpec(spec));
    std::shared_ptr<SessionPlan>& known = partial_plans[KeyOf(spec)];
    if (!known || known->mutations != graph->mutations()) {
      ASSIGN_OR_RETURN(known, MakeSessionPlan(setup, *graph, spec));
    }
    const std::string handle = absl::StrCat("partial_run_", next_partial_run++);
    auto run = std::make_shared<LocalPartialRun>(handle, std::move(spec), known);
    partial_runs[handle] = run;
    ++partial_threads;
    run->Start(next_step.fetch_add(1, std::memory_order_relaxed), pool, options.partial_run_limit, [this] {
      absl::MutexLock lock(&mu);
      --partial_threads;
    });
    return handle;
  }

  // Room for one more: forgets those that have ended by an error.
  absl::Status MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (partial_runs.size() < kMaxPartialRuns) return absl::OkStatus();
    for (auto it = partial_runs.begin(); it != partial_runs.end();) {
      it = it->second->over() ? partial_runs.erase(it) : std::next(it);
    }
    if (partial_runs.size() < kMaxPartialRuns) return absl::OkStatus();
    return ResourceExhausted("the session has ", partial_runs.size(),
                             " partial runs open, as many as it may: finish some of them first");
  }

  const Environment environment;
  const SessionOptions options;
  Graph* const graph;
  std::unique_ptr<ThreadPool> own_pool;
  ThreadPool* pool = nullptr;
  std::vector<std::unique_ptr<Device>> devices;
  std::vector<std::unique_ptr<ResourceStore>> stores;
  RefPtr<LocalCollectives> collectives;
  PlacementHistory history;
  MeasuredCosts measured;
  PlannerSetup setup;
  std::atomic<bool> closed{false};
  std::atomic<int64_t> next_step{1};
  absl::Mutex mu;
  absl::flat_hash_map<std::string, std::shared_ptr<LocalCallable>> callables ABSL_GUARDED_BY(mu);
  int partial_threads ABSL_GUARDED_BY(mu) = 0;
  int64_t next_partial_run ABSL_GUARDED_BY(mu) = 1;
  absl::flat_hash_map<std::string, std::shared_ptr<SessionPlan>> partial_plans ABSL_GUARDED_BY(mu);
  std::map<std::string, std::shared_ptr<LocalPartialRun>> partial_runs ABSL_GUARDED_BY(mu);  // by handle
};

Session::Session(const Environment& environment, const SessionOptions& options, Graph* graph)
    : impl_(std::make_unique<Impl>(environment, options, graph)) {}

Session::~Session() { (void)Close(); }

absl::StatusOr<std::shared_ptr<Callable>> Session::MakeCallable(const CallableSpec& spec) {
  if (impl_->closed.load()) return absl::CancelledError("the session has been closed");
  absl::MutexLock lock(&impl_->mu);
  std::shared_ptr<LocalCallable>& callable = impl_->callables[KeyOf(spec)];
  if (!callable) callable = std::make_shared<LocalCallable>(spec);
  return std::shared_ptr<Callable>(callable);
}

absl::Status Session::RunCallable(Callable& given, absl::Span<const Tensor> feeds, std::vector<Tensor>* fetches,
                                  const RunOptions& options, RunMetadata* metadata) {
  auto& callable = static_cast<LocalCallable&>(given);
  callable.running.fetch_add(1);
  absl::Status status = impl_->RunStep(callable, feeds, fetches, options, metadata);
  callable.running.fetch_sub(1);
  return status;
}

absl::StatusOr<std::string> Session::SetUpPartialRun(const CallableSpec& spec) {
  absl::MutexLock lock(&impl_->mu);
  return impl_->SetUpPartialRun(spec);
}

absl::Status Session::PartialRun(const std::string& handle, absl::Span<const std::pair<std::string, Tensor>> feeds,
                                 absl::Span<const std::string> fetches, std::vector<Tensor>* results,
                                 const RunOptions& options) {
  std::shared_ptr<LocalPartialRun> run;
  {
    absl::MutexLock lock(&impl_->mu);
    auto it = impl_->partial_runs.find(handle);
    if (it == impl_->partial_runs.end()) return NoPartialRun(handle);
    run = it->second;
  }
  const int64_t timeout = options.timeout_ms > 0 ? options.timeout_ms : impl_->options.operation_timeout_ms;
  absl::Status status = run->Run(feeds, fetches, results, absl::Milliseconds(timeout), options.cancellation);
  if (run->finished()) {
    absl::MutexLock lock(&impl_->mu);
    impl_->partial_runs.erase(handle);
  }
  return status;
}

absl::StatusOr<std::vector<DeviceAttributes>> Session::ListDevices() {
  std::vector<DeviceAttributes> list;
  for (const auto& d : impl_->devices) list.push_back(d->attributes());
  return list;
}

absl::StatusOr<std::string> Session::ExplainPlacement(const CallableSpec& spec) {
  PlannerSetup setup = impl_->setup;
  setup.explain = true;
  ASSIGN_OR_RETURN(std::unique_ptr<SessionPlan> plan, MakeSessionPlan(setup, *impl_->graph, spec));
  return plan->placement;
}

absl::StatusOr<std::string> Session::DumpPlan(const CallableSpec& spec) {
  ASSIGN_OR_RETURN(std::unique_ptr<SessionPlan> plan, MakeSessionPlan(impl_->setup, *impl_->graph, spec));
  return plan->Dump();
}

absl::Status Session::Close() {
  impl_->closed.store(true);
  std::vector<std::shared_ptr<LocalCallable>> callables;
  {
    absl::MutexLock lock(&impl_->mu);
    for (const auto& [key, callable] : impl_->callables) callables.push_back(callable);
  }
  const absl::Status why = absl::CancelledError("the session was closed");
  std::map<std::string, std::shared_ptr<LocalPartialRun>> partial_runs;
  {
    absl::MutexLock lock(&impl_->mu);
    partial_runs = impl_->partial_runs;  // their handles stay, to say why they have ended
  }
  for (const auto& [handle, run] : partial_runs) run->End(why);
  {
    auto none = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(impl_->mu) { return impl_->partial_threads == 0; };
    absl::MutexLock lock(&impl_->mu);
    impl_->mu.Await(absl::Condition(&none));
  }
  for (const auto& c : callables) {
    // Again and again, since a step that saw the session open may begin late.
    for (int i = 0; c->running.load() > 0; ++i) {
      if (c->mu.TryLock()) {
        for (const auto& plan : c->plans) plan->step->CancelAll(why);
        c->mu.Unlock();
      }
      usleep(i < 10 ? 100 : 1000);
    }
  }
  return absl::OkStatus();
}

absl::Status Session::Reset(const std::vector<std::string>& containers) {
  for (const auto& store : impl_->stores) {
    if (containers.empty()) store->Clear();
    for (const std::string& c : containers) store->EraseContainer(c);
  }
  impl_->InstallCollectives();
  return absl::OkStatus();
}

}  // namespace sluice
