#include "distributed/master/master_session.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/base/recycled_memory.h"
#include "core/base/status.h"
#include "core/graph/function.h"
#include "core/graph/graph_def.h"
#include "distributed/master/wait_graph.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/testing/bugs.h"
#include "distributed/worker/worker.h"
#include "runtime/session/session_options.h"

namespace sluice {
namespace {

constexpr size_t kRememberedRequests = 10'000;
constexpr absl::Duration kPollPeriod = absl::Milliseconds(100);
constexpr absl::Duration kComplainPeriod = absl::Seconds(10);
constexpr absl::Duration kCloseTimeout = absl::Seconds(5);

std::string Method(absl::string_view name) { return absl::StrCat(Worker::kService, name); }

int64_t NewStepId() {
  thread_local std::mt19937_64 random{std::random_device()()};
  return static_cast<int64_t>((random() & ((uint64_t{1} << 56) - 1)) | uint64_t{1} << 56);
}

int64_t Nanos(absl::Duration d) { return absl::ToInt64Nanoseconds(d); }

// Makes `calls` at once; `done` gets the replies in their order.
struct TaskCall {
  Channel* channel = nullptr;
  std::string method;
  Message request;
  absl::Duration timeout;
};
void CallAll(std::vector<TaskCall> calls, std::function<void(std::vector<absl::StatusOr<Message>>)> done) {
  struct Shared {
    absl::Mutex mu;
    size_t open = 0;
    std::vector<absl::StatusOr<Message>> replies;
    std::function<void(std::vector<absl::StatusOr<Message>>)> done;
  };
  if (calls.empty()) return done({});
  auto shared = std::make_shared<Shared>();
  shared->open = calls.size();
  shared->replies.assign(calls.size(), absl::UnknownError("no reply"));
  shared->done = std::move(done);
  for (size_t i = 0; i < calls.size(); ++i) {
    calls[i].channel->Call(calls[i].method, std::move(calls[i].request), calls[i].timeout, [shared, i](auto reply) {
      {
        absl::MutexLock lock(&shared->mu);
        shared->replies[i] = std::move(reply);
        if (--shared->open > 0) return;
      }
      shared->done(std::move(shared->replies));
    });
  }
}

// device_filters: partial device names; a task passes when it is its own or one of them matches it.
bool Passes(const proto::ConfigProto& config, const std::string& task, const std::string& own) {
  if (config.device_filters().empty() || task == own) return true;
  absl::StatusOr<DeviceName> name = DeviceName::Parse(task);
  for (const std::string& filter : config.device_filters()) {
    absl::StatusOr<DeviceName> wanted = DeviceName::Parse(filter);
    if (wanted.ok() && name.ok() && wanted->Matches(*name)) return true;
  }
  return false;
}

// Adds nodes whose inputs may be nodes that the graph already has.
absl::Status ExtendGraph(const proto::GraphDef& def, Graph* graph) {
  absl::flat_hash_set<absl::string_view> fresh;
  for (const auto& n : def.node()) fresh.insert(n.name());
  ImportOptions import;
  for (const auto& n : def.node()) {
    for (const std::string& text : n.input()) {
      ASSIGN_OR_RETURN(ParsedInput in, ParseInputName(text));
      if (fresh.contains(in.node)) continue;
      Node* known = graph->Find(in.node);
      if (known == nullptr) return InvalidArgument("node '", n.name(), "': input '", text, "' is not in the graph");
      import.input_map[text] = Endpoint{known, in.control ? 0 : in.index};
    }
  }
  return ImportGraphDef(def, import, graph).status();
}

CallableSpec SpecOf(const proto::CallableOptions& options) {
  CallableSpec spec;
  spec.feeds.assign(options.feed().begin(), options.feed().end());
  spec.fetches.assign(options.fetch().begin(), options.fetch().end());
  spec.targets.assign(options.target().begin(), options.target().end());
  return spec;
}

}  // namespace

MasterSession::Plan::~Plan() {
  for (const TaskPart& part : parts) {
    proto::DeregisterGraphRequest request;
    request.set_session_handle(session);
    request.set_graph_handle(part.graph_handle);
    part.channel->Call(Method("DeregisterGraph"), Pack(request), kCloseTimeout, [](auto) {});
  }
}

MasterSession::MasterSession(std::shared_ptr<const MasterOptions> options, std::string handle,
                             const proto::ConfigProto& config, SessionOptions session)
    : shared_options_(std::move(options)),
      options_(*shared_options_),
      handle_(std::move(handle)),
      config_(config),
      session_options_(std::move(session)),
      step_metrics_(options_.metrics.get(), "master") {}

MasterSession::~MasterSession() {
  Clock::TimerId beat = 0;
  {
    absl::MutexLock lock(&mu_);
    beat = beat_;
  }
  if (beat != 0) options_.clock->CancelTimer(beat);
}

void MasterSession::Create(std::shared_ptr<const MasterOptions> options, std::string handle,
                           const proto::CreateSessionRequest& request, std::function<absl::Status()> ended,
                           Created done) {
  for (const std::string& filter : request.config().device_filters()) {
    absl::StatusOr<DeviceName> name = DeviceName::Parse(filter);
    if (!name.ok()) return done(Annotate(name.status(), absl::StrCat("device_filters has '", filter, "': ")));
  }
  absl::StatusOr<SessionOptions> session_options = SessionOptionsFromProto(request.config());
  if (!session_options.ok()) return done(session_options.status());
  std::shared_ptr<MasterSession> session(
      new MasterSession(options, std::move(handle), request.config(), *std::move(session_options)));
  auto graph = std::make_shared<Graph>(options->environment.ops);
  absl::Status imported = ImportGraphDef(request.graph_def(), ImportOptions(), graph.get()).status();
  if (!imported.ok()) return done(imported);
  {
    absl::MutexLock lock(&session->mu_);
    session->graph_ = std::move(graph);
    session->version_ = request.graph_def().node_size();
    session->heard_ = options->clock->Now();
  }
  absl::Status cluster = session->TakeCluster();
  if (!cluster.ok()) return done(cluster);
  auto meeting = std::make_shared<Meeting>();
  meeting->began = meeting->complained = options->clock->Now();
  const int64_t timeout = request.config().operation_timeout_in_ms();
  meeting->limit = timeout > 0 ? absl::Milliseconds(timeout) : options->join_timeout;
  // A client that knows the cluster of the moment comes back with newer addresses rather than wait for old ones.
  if (request.config().has_cluster_def()) meeting->limit = std::min(meeting->limit, options->heartbeat_timeout);
  for (const std::string& task : session->cluster_.tasks()) {
    if (Passes(request.config(), task, options->task)) meeting->missing[task] = "not asked yet";
  }
  meeting->ended = std::move(ended);
  meeting->done = std::move(done);
  session->Meet(std::move(meeting));
}

absl::Status MasterSession::TakeCluster() {
  if (!config_.has_cluster_def()) {
    cluster_ = options_.cluster;
    return absl::OkStatus();
  }
  if (options_.connect_to == nullptr) return Unimplemented("sessions of this master bring no cluster (cluster_def)");
  absl::StatusOr<Cluster> cluster = Cluster::FromProto(config_.cluster_def());
  if (!cluster.ok()) return Annotate(cluster.status(), "ConfigProto.cluster_def: ");
  cluster_ = *std::move(cluster);
  return Annotate(cluster_.Find(options_.task).status(), "ConfigProto.cluster_def lacks the task of this master: ");
}

absl::StatusOr<std::shared_ptr<Channel>> MasterSession::Connect(const std::string& task) const {
  if (!config_.has_cluster_def()) return options_.connect(task);
  ASSIGN_OR_RETURN(std::string address, cluster_.Find(task));
  return options_.connect_to(task, address);
}

void MasterSession::Meet(std::shared_ptr<Meeting> meeting) {
  if (absl::Status ended = meeting->ended(); !ended.ok()) return meeting->done(ended);
  std::vector<TaskCall> calls;
  auto asked = std::make_shared<std::vector<MasterTask>>();
  const absl::Duration sent = options_.clock->Now();
  const absl::Duration left = meeting->began + meeting->limit - options_.clock->Now();
  const absl::Duration timeout = std::max(absl::Milliseconds(100), std::min(absl::Seconds(2), left));
  for (const auto& [task, why] : meeting->missing) {
    absl::StatusOr<std::shared_ptr<Channel>> channel = Connect(task);
    if (!channel.ok()) return meeting->done(channel.status());
    MasterTask t;
    t.name = task;
    t.channel = *std::move(channel);
    calls.push_back({t.channel.get(), Method("GetStatus"), Pack(proto::GetStatusRequest()), timeout});
    asked->push_back(std::move(t));
  }
  CallAll(std::move(calls), [self = shared_from_this(), meeting, asked, sent](auto replies) {
    if (absl::Status ended = meeting->ended(); !ended.ok()) return meeting->done(ended);
    absl::Status met = self->Met(meeting.get(), std::move(*asked), std::move(replies), sent);
    if (!met.ok()) return meeting->done(met);
    if (meeting->missing.empty()) return self->CreateOnWorkers(meeting->done);
    self->options_.clock->RunAfter(kPollPeriod, [self, meeting] { self->Meet(meeting); });
  });
}

absl::Status MasterSession::Met(Meeting* meeting, std::vector<MasterTask> asked,
                                std::vector<absl::StatusOr<Message>> replies, absl::Duration sent) {
  for (size_t i = 0; i < replies.size(); ++i) {
    MasterTask& task = asked[i];
    proto::GetStatusResponse response;
    absl::Status status = replies[i].ok() ? Unpack(*replies[i], &response) : replies[i].status();
    if (!status.ok()) {
      meeting->missing[task.name] = absl::StrCat(task.channel->Describe(), ": ", status.message());
      continue;
    }
    if (response.protocol_version() != kProtocolVersion) {
      return FailedPrecondition(task.name, " (", task.channel->Describe(), ") speaks version ",
                                response.protocol_version(), " of the protocol between tasks, the master ",
                                options_.task, " speaks ", kProtocolVersion,
                                "; install the same version of Sluice for both");
    }
    task.incarnation = response.incarnation();
    task.heard = options_.clock->Now();
    // All are asked at once, so the way back seems as long as the slowest one's; heartbeats soon tell more.
    task.clock.Add(Nanos(sent), response.now_nanos(), response.now_nanos(), Nanos(task.heard));
    for (const auto& d : response.device_attributes()) {
      if (TaskOfDevice(d.name()) != task.name) {
        return InvalidArgument("the address of ", task.name, " (", task.channel->Describe(),
                               ") belongs to a task that calls its device ", d.name(),
                               ": the cluster specifications of the two differ");
      }
      DeviceAttributes a;
      a.name = d.name();
      a.type = d.device_type();
      a.memory_limit = d.memory_limit();
      a.incarnation = d.incarnation();
      a.description = d.physical_device_desc();
      task.devices.push_back(std::move(a));
    }
    meeting->missing.erase(task.name);
    const std::string name = task.name;
    tasks_[name] = std::move(task);
  }
  if (!meeting->missing.empty()) {
    const absl::Duration now = options_.clock->Now();
    const std::string list = absl::StrJoin(meeting->missing, ", ", [](std::string* out, const auto& m) {
      absl::StrAppend(out, m.first, " (", m.second, ")");
    });
    if (now - meeting->began >= meeting->limit) {
      return absl::UnavailableError(absl::StrCat("not every task of the cluster answered within ",
                                                 absl::FormatDuration(meeting->limit), "; missing: ", list,
                                                 ". Start them, or leave them out with ConfigProto.device_filters"));
    }
    if (now - meeting->complained >= kComplainPeriod) {
      meeting->complained = now;
      std::fprintf(stderr, "%s: session %s still waits for %s\n", options_.task.c_str(), handle_.c_str(), list.c_str());
    }
    return absl::OkStatus();
  }
  setup_.environment = &options_.environment;
  setup_.options = &session_options_;
  setup_.devices = {options_.local_device};
  setup_.history = &history_;
  auto add = [this](const std::string& task) {
    auto it = tasks_.find(task);
    if (it == tasks_.end()) return;
    setup_.cluster.insert(setup_.cluster.end(), it->second.devices.begin(), it->second.devices.end());
  };
  add(options_.task);  // its first device is the default
  for (const auto& [name, task] : tasks_) {
    if (name != options_.task) add(name);
  }
  return absl::OkStatus();
}

void MasterSession::CreateOnWorkers(Created done) {
  std::vector<TaskCall> calls;
  for (auto& [name, task] : tasks_) {
    proto::CreateWorkerSessionRequest request;
    request.set_session_handle(handle_);
    request.set_isolate_session_state(config_.isolate_session_state());
    request.set_incarnation(task.incarnation);
    request.set_protocol_version(kProtocolVersion);
    request.set_master_task(options_.task);
    request.set_lineage(config_.experimental().session_metadata().name());
    request.set_epoch(config_.experimental().session_metadata().version());
    if (config_.has_cluster_def()) *request.mutable_server_def()->mutable_cluster() = config_.cluster_def();
    calls.push_back({task.channel.get(), Method("CreateWorkerSession"), Pack(request), options_.control_timeout});
  }
  CallAll(std::move(calls), [self = shared_from_this(), done = std::move(done)](auto replies) {
    size_t i = 0;
    for (auto& [name, task] : self->tasks_) {
      const absl::Status& status = replies[i++].status();
      if (status.ok()) continue;
      absl::Status failed = Annotate(status, absl::StrCat("creating the session on ", name, ": "));
      return self->Close(failed, [done, failed] { done(failed); });  // where it was created
    }
    self->ScheduleBeat();
    done(self);
  });
}

absl::Status MasterSession::CheckUsable() const { return broken_; }

void MasterSession::Heard() {
  absl::MutexLock lock(&mu_);
  heard_ = options_.clock->Now();
}

bool MasterSession::IsAbandoned(absl::Duration ttl) const {
  absl::MutexLock lock(&mu_);
  return active_.empty() && options_.clock->Now() - heard_ > ttl;
}

absl::Status MasterSession::CheckFirst(int64_t request_id) {
  if (request_id == 0 || Bug(kDuplicateStepRuns)) return absl::OkStatus();
  if (!requests_.insert(request_id).second) {
    return absl::AbortedError(
        absl::StrCat("request ", request_id, " of session ", handle_, " came twice: a duplicate is not run"));
  }
  request_order_.push_back(request_id);
  if (request_order_.size() > kRememberedRequests) {
    requests_.erase(request_order_.front());
    request_order_.pop_front();
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> MasterSession::Extend(const proto::ExtendSessionRequest& request) {
  std::shared_ptr<Graph> graph;
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(CheckUsable());
    if (request.current_graph_version() != version_) {
      return absl::AbortedError(absl::StrCat("the graph of session ", handle_, " has version ", version_,
                                             ", the client extends ", request.current_graph_version()));
    }
    graph = graph_;
  }
  if (request.replace()) {
    auto fresh = std::make_shared<Graph>(options_.environment.ops);
    RETURN_IF_ERROR(ImportGraphDef(request.graph_def(), ImportOptions(), fresh.get()).status());
    absl::MutexLock lock(&mu_);
    graph_ = std::move(fresh);
    return version_ += request.graph_def().node_size() + 1;
  }
  {
    absl::MutexLock graph_lock(&graph->mu());
    RETURN_IF_ERROR(ExtendGraph(request.graph_def(), graph.get()));
  }
  absl::MutexLock lock(&mu_);
  return version_ += request.graph_def().node_size();
}

absl::StatusOr<std::shared_ptr<MasterSession::Signature>> MasterSession::FindSignature(CallableSpec spec,
                                                                                       int64_t* number) {
  std::string key = absl::StrCat(absl::StrJoin(spec.feeds, ","), ";", absl::StrJoin(spec.fetches, ","), ";",
                                 absl::StrJoin(spec.targets, ","), spec.partial ? ";partial" : "");
  RETURN_IF_ERROR(CheckUsable());
  auto [it, fresh] = callable_of_.emplace(std::move(key), next_callable_);
  *number = it->second;
  std::shared_ptr<Signature>& signature = callables_[it->second];
  if (fresh) {
    ++next_callable_;
    signature = std::make_shared<Signature>();
    signature->spec = std::move(spec);
  }
  return signature;
}

absl::StatusOr<int64_t> MasterSession::MakeCallable(const proto::CallableOptions& options) {
  absl::MutexLock lock(&mu_);
  int64_t number = 0;
  RETURN_IF_ERROR(FindSignature(SpecOf(options), &number).status());
  return number;
}

void MasterSession::ReleaseCallable(int64_t callable) {
  std::shared_ptr<Signature> dropped;
  absl::MutexLock lock(&mu_);
  auto it = callables_.find(callable);
  if (it == callables_.end()) return;
  dropped = std::move(it->second);
  callables_.erase(it);
  for (auto k = callable_of_.begin(); k != callable_of_.end(); ++k) {
    if (k->second != callable) continue;
    callable_of_.erase(k);
    break;
  }
}

bool MasterSession::IsCurrent(const Plan* plan) const {
  return plan != nullptr && plan->graph == graph_.get() && plan->mutations == graph_->mutations();
}

absl::StatusOr<std::shared_ptr<MasterSession::Plan>> MasterSession::Place(
    const CallableSpec& spec, std::map<std::string, proto::RegisterGraphRequest>* requests) {
  std::shared_ptr<Graph> graph;
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(CheckUsable());
    graph = graph_;
  }
  ASSIGN_OR_RETURN(PlacedStep placed, PlaceStep(setup_, *graph, spec));
  auto plan = std::make_shared<Plan>();
  plan->graph = graph.get();
  plan->mutations = placed.mutations;
  plan->feeds = std::move(placed.feeds);
  plan->placement = std::move(placed.placement);
  plan->num_results = spec.partial ? 0 : static_cast<int>(spec.fetches.size());
  plan->partial = std::move(placed.partial);
  plan->session = handle_;
  std::map<std::string, std::set<int>> arguments;
  for (Partition& part : placed.partitions) {
    std::string device = part.device.empty() ? setup_.cluster[0].name : part.device;
    const std::string task(TaskOfDevice(device));
    proto::PartitionDef* def = (*requests)[task].add_partition();
    def->set_device(device);
    RETURN_IF_ERROR(part.graph->functions().AddAll(placed.functions->functions()));
    ExportGraphDef(*part.graph, ExportOptions(), def->mutable_graph());
    for (Node* n : part.graph->nodes()) {
      if (n->op().name != "_Arg") continue;
      ASSIGN_OR_RETURN(int64_t index, n->info().Attr<int64_t>("index"));
      arguments[task].insert(static_cast<int>(index));
    }
  }
  for (auto& [name, request] : *requests) {
    auto it = tasks_.find(name);
    if (it == tasks_.end()) return Internal("nodes were placed on ", name, ", which is not part of the session");
    request.set_session_handle(handle_);
    request.set_num_arguments(spec.partial ? 0 : static_cast<int>(spec.feeds.size()));
    request.set_num_results(plan->num_results);
    request.set_incarnation(it->second.incarnation);
    TaskPart part;
    part.task = name;
    part.channel = it->second.channel;
    part.incarnation = it->second.incarnation;
    part.here = name == options_.task;
    part.arguments.assign(arguments[name].begin(), arguments[name].end());
    part.times = it->second.times.get();
    if (options_.wire) part.received = options_.wire->Of(name);
    plan->parts.push_back(std::move(part));
  }
  std::map<std::string, std::vector<int>> jobs;
  for (size_t i = 0; i < plan->parts.size(); ++i) {
    const std::string& task = plan->parts[i].task;
    jobs[task.substr(0, task.find("/replica:"))].push_back(static_cast<int>(i));
  }
  for (auto& [job, parts] : jobs) {
    if (parts.size() < 2) continue;
    std::vector<std::string> names;
    for (int p : parts) names.push_back(plan->parts[p].task);
    plan->peers.push_back({std::move(parts), std::make_unique<Stragglers>(std::move(names))});
  }
  return plan;
}

void MasterSession::MakePlan(const CallableSpec& spec, Planned done) {
  std::map<std::string, proto::RegisterGraphRequest> requests;
  absl::StatusOr<std::shared_ptr<Plan>> placed = Place(spec, &requests);
  if (!placed.ok()) return done(placed.status());
  std::shared_ptr<Plan> plan = *std::move(placed);
  std::vector<TaskCall> calls;
  size_t i = 0;
  for (const auto& [name, request] : requests) {
    calls.push_back({plan->parts[i++].channel.get(), Method("RegisterGraph"), Pack(request), options_.control_timeout});
  }
  CallAll(std::move(calls), [self = shared_from_this(), plan, done = std::move(done)](auto replies) {
    absl::Status failed;
    for (size_t i = 0; i < replies.size(); ++i) {
      TaskPart& part = plan->parts[i];
      proto::RegisterGraphResponse response;
      absl::Status status = replies[i].ok() ? Unpack(*replies[i], &response) : replies[i].status();
      if (!status.ok() && failed.ok()) {
        failed = Annotate(status, absl::StrCat("registering a graph on ", part.task, ": "));
      }
      part.graph_handle = response.graph_handle();
      absl::StrAppend(&plan->text, "# ", part.task, "\n", response.plan());
    }
    if (!failed.ok()) return done(failed);  // dropping the plan deregisters what was registered
    done(std::shared_ptr<const Plan>(plan));
  });
}

void MasterSession::Replan(std::shared_ptr<Signature> signature, Planned done) {
  std::shared_ptr<const Plan> current;
  {
    absl::MutexLock lock(&mu_);
    if (IsCurrent(signature->plan.get())) {
      current = signature->plan;
    } else {
      signature->waiting.push_back(std::move(done));
      if (signature->waiting.size() > 1) return;  // somebody makes it
    }
  }
  if (current) return done(std::move(current));
  options_.executor->Schedule([self = shared_from_this(), signature] {
    self->MakePlan(signature->spec, [self, signature](absl::StatusOr<std::shared_ptr<const Plan>> plan) {
      std::vector<Planned> waiting;
      std::shared_ptr<const Plan> old;  // dropped when the lock has been given up
      if (plan.ok() && self->session_options_.log_placement) {
        std::fprintf(stderr, "%s", (*plan)->placement.c_str());
      }
      {
        absl::MutexLock lock(&self->mu_);
        waiting.swap(signature->waiting);
        if (plan.ok()) {
          old = std::move(signature->plan);
          signature->plan = *plan;
        }
      }
      for (Planned& w : waiting) w(plan);
    });
  });
}

void MasterSession::Run(int64_t callable, TensorList feeds, const proto::RunOptions& run, int64_t request_id,
                        Reply reply) {
  std::shared_ptr<Signature> signature;
  std::shared_ptr<const Plan> plan;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    status = CheckUsable();
    if (status.ok()) status = CheckFirst(request_id);
    auto it = callables_.find(callable);
    if (status.ok() && it == callables_.end()) {
      status = NotFound("session ", handle_, " has no callable ", callable);
    } else if (status.ok() && it->second->spec.partial) {
      status = InvalidArgument("callable ", callable, " of session ", handle_, " is run in parts");
    } else if (status.ok()) {
      signature = it->second;
      if (IsCurrent(signature->plan.get())) plan = signature->plan;
    }
  }
  if (!status.ok()) return reply(status);
  if (plan) return StartStep(std::move(plan), std::move(feeds), run, request_id, std::move(reply));
  Replan(std::move(signature), [self = shared_from_this(), feeds = std::move(feeds), run, request_id,
                                reply = std::move(reply)](absl::StatusOr<std::shared_ptr<const Plan>> plan) {
    if (!plan.ok()) return reply(plan.status());
    self->StartStep(*std::move(plan), feeds, run, request_id, reply);
  });
}

void MasterSession::StartStep(std::shared_ptr<const Plan> plan, TensorList feeds, const proto::RunOptions& run,
                              int64_t request_id, Reply reply) {
  if (feeds.size() != plan->feeds.size()) {
    return reply(InvalidArgument("the step takes ", plan->feeds.size(), " feeds, found ", feeds.size()));
  }
  for (size_t i = 0; i < feeds.size(); ++i) {
    absl::Status fits = CheckFeed(plan->feeds[i], feeds[i]);
    if (!fits.ok()) return reply(fits);
  }
  ClusterStepCall call;
  call.session_handle = &plan->session;
  call.step_id = NewStepId();
  call.arguments = std::move(feeds);
  call.num_results = plan->num_results;
  const int64_t timeout = run.timeout_in_ms() > 0 ? run.timeout_in_ms() : config_.operation_timeout_in_ms();
  call.timeout = absl::Milliseconds(timeout);
  call.limit = options_.step_limit;
  call.trace = run.trace_level() != proto::RunOptions::NO_TRACE;
  call.partition_graphs = run.output_partition_graphs();
  call.clock = options_.clock;
  // `run` may belong to the caller's thread: it is not looked at after this.
  const int64_t id = call.step_id;
  const std::vector<TaskPart>* parts = &plan->parts;
  auto step = MakeRecycled<ClusterStep>(
      parts, std::move(call),
      [self = shared_from_this(), plan = std::move(plan), id, began = options_.clock->Now(),
       reply = std::move(reply)](ClusterStepResult result) {
        self->step_metrics_.Ended(result.status.code(), absl::ToDoubleSeconds(self->options_.clock->Now() - began));
        {
          absl::MutexLock lock(&self->mu_);
          self->active_.erase(id);
          self->heard_ = self->options_.clock->Now();  // it was waiting for this
          if (result.status.ok()) ++self->steps_done_;
        }
        if (!result.status.ok()) return reply(result.status);
        self->NoteTimes(*plan, result);
        Message message;
        message.tensors = std::move(result.results);
        if (!result.traces.empty() || !result.partition_graphs.empty()) {
          proto::RunStepResponse response;
          self->FillMetadata(*plan, &result, response.mutable_metadata());
          message.body = Pack(response).body;
        }
        reply(std::move(message));
      });
  absl::Status broken;
  {
    absl::MutexLock lock(&mu_);
    broken = CheckUsable();
    active_[id] = {step, request_id, true, options_.clock->Now()};
  }
  step_metrics_.Began();
  step->Start();
  if (!broken.ok()) step->Cancel(broken);
}

// --- Partial runs ---

void MasterSession::SetUpPartialRun(const proto::PartialRunSetupRequest& request, Reply reply) {
  CallableSpec spec;
  spec.feeds.assign(request.feed().begin(), request.feed().end());
  spec.fetches.assign(request.fetch().begin(), request.fetch().end());
  spec.targets.assign(request.target().begin(), request.target().end());
  spec.partial = true;
  absl::Status status = CheckPartialSpec(spec);
  std::shared_ptr<Signature> signature;
  if (status.ok()) {
    absl::MutexLock lock(&mu_);
    status = CheckFirst(request.request_id());
    // Those that have ended by an error stay to say so, as long as there is room.
    for (auto it = partial_runs_.begin(); it != partial_runs_.end() && partial_runs_.size() >= kMaxPartialRuns;) {
      it = it->second->over() ? partial_runs_.erase(it) : std::next(it);
    }
    if (status.ok() && partial_runs_.size() >= kMaxPartialRuns) {
      status = ResourceExhausted("session ", handle_, " has ", partial_runs_.size(),
                                 " partial runs open, as many as it may: finish some of them first");
    }
    int64_t number = 0;
    auto found = FindSignature(spec, &number);
    if (status.ok()) status = found.status();
    if (status.ok()) signature = *std::move(found);
  }
  if (!status.ok()) return reply(status);
  Replan(signature, [self = shared_from_this(), spec = std::move(spec), id = request.request_id(),
                     reply = std::move(reply)](absl::StatusOr<std::shared_ptr<const Plan>> plan) {
    if (!plan.ok()) return reply(plan.status());
    self->StartPartialRun(*std::move(plan), spec, id, reply);
  });
}

void MasterSession::StartPartialRun(std::shared_ptr<const Plan> plan, const CallableSpec& spec, int64_t request_id,
                                    Reply reply) {
  ClusterStepCall call;
  call.session_handle = &plan->session;
  call.step_id = NewStepId();
  call.limit = options_.step_limit;
  call.in_parts = true;
  call.clock = options_.clock;
  const int64_t id = call.step_id;
  auto run = std::make_shared<PartialStep>(spec, &plan->partial, &plan->feeds, &plan->parts, handle_, id,
                                           options_.clock, plan);
  step_metrics_.Began();
  auto step = std::make_shared<ClusterStep>(
      &plan->parts, std::move(call),
      [self = shared_from_this(), plan, run, id, began = options_.clock->Now()](ClusterStepResult result) {
        self->step_metrics_.Ended(result.status.code(), absl::ToDoubleSeconds(self->options_.clock->Now() - began));
        {
          absl::MutexLock lock(&self->mu_);
          self->active_.erase(id);
          self->heard_ = self->options_.clock->Now();
        }
        run->Ended(result.status);
      });
  std::string handle;
  absl::Status broken;
  {
    absl::MutexLock lock(&mu_);
    handle = absl::StrCat(handle_, "/partial_run_", next_partial_run_++);
    broken = CheckUsable();
    Active& active = active_[id];
    active.step = step;
    active.request_id = request_id;
    if (broken.ok()) partial_runs_[handle] = run;
  }
  run->Start(handle, step, options_.partial_run_limit);
  if (!broken.ok()) {
    step->Cancel(broken);
    return reply(broken);
  }
  proto::PartialRunSetupResponse response;
  response.set_partial_run_handle(handle);
  reply(Pack(response));
}

void MasterSession::RunPart(const proto::RunStepRequest& request, TensorList feeds, Reply reply) {
  const std::string& handle = request.partial_run_handle();
  std::shared_ptr<PartialStep> run;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    auto it = partial_runs_.find(handle);
    status = CheckUsable();
    if (status.ok()) status = CheckFirst(request.request_id());
    if (status.ok() && it == partial_runs_.end()) status = NoPartialRun(handle);
    if (status.ok() && request.target_size() > 0) {
      status = InvalidArgument("a part of a partial run has targets: they belong into its set-up");
    }
    if (status.ok()) {
      run = it->second;
      auto active = active_.find(run->id());
      if (active != active_.end()) active->second.request_id = request.request_id();
    }
  }
  if (!status.ok()) return reply(status);
  const int64_t timeout =
      request.options().timeout_in_ms() > 0 ? request.options().timeout_in_ms() : config_.operation_timeout_in_ms();
  const std::vector<std::string> names(request.feed().begin(), request.feed().end());
  const std::vector<std::string> fetches(request.fetch().begin(), request.fetch().end());
  run->Run(names, std::move(feeds), fetches, absl::Milliseconds(timeout),
           [self = shared_from_this(), run, handle, reply = std::move(reply)](absl::StatusOr<TensorList> values) {
             {
               absl::MutexLock lock(&self->mu_);
               self->heard_ = self->options_.clock->Now();
               if (run->finished()) self->partial_runs_.erase(handle);
             }
             if (!values.ok()) return reply(values.status());
             Message message;
             message.tensors = *std::move(values);
             reply(std::move(message));
           });
}

// --- Seeing it ---

void MasterSession::NoteTimes(const Plan& plan, const ClusterStepResult& result) {
  for (size_t i = 0; i < plan.parts.size(); ++i) {
    if (result.busy_seconds[i] >= 0) plan.parts[i].times->Add(result.busy_seconds[i]);
  }
  for (const Plan::Peers& peers : plan.peers) {
    absl::InlinedVector<double, 16> seconds;
    for (int p : peers.parts) seconds.push_back(result.busy_seconds[p]);
    if (peers.stragglers->Add(seconds) == 0) continue;
    for (const Stragglers::Straggler& s : peers.stragglers->Named()) {
      std::fprintf(stderr, "%s: session %s: %s\n", options_.task.c_str(), handle_.c_str(),
                   sluice::Describe(s, "its part of a step").c_str());
    }
  }
}

std::vector<Stragglers::Straggler> MasterSession::StragglersOf(const Plan& plan) const {
  std::vector<Stragglers::Straggler> all;
  for (const Plan::Peers& peers : plan.peers) {
    for (Stragglers::Straggler& s : peers.stragglers->Named()) all.push_back(std::move(s));
  }
  return all;
}

void MasterSession::FillMetadata(const Plan& plan, ClusterStepResult* result, proto::RunMetadata* metadata) {
  for (const std::string& graph : result->partition_graphs) metadata->add_partition_graphs()->ParseFromString(graph);
  if (result->traces.empty()) return;
  std::vector<Stragglers::Straggler> stragglers = StragglersOf(plan);
  const int64_t now = Nanos(options_.clock->Now());
  {
    absl::MutexLock lock(&mu_);
    for (size_t i = 0; i < result->traces.size(); ++i) {
      MasterTask& task = tasks_.find(result->traces[i].task)->second;
      const ReplyTimes& t = result->reply_times[i];
      task.clock.Add(t.sent, t.received, t.replied, t.got);
      result->traces[i].clock = task.clock.At(now);
    }
    for (const auto& [name, task] : tasks_) {
      for (const proto::StragglerView& s : task.stragglers) stragglers.push_back({s.name(), s.seconds(), s.median()});
    }
  }
  MergeParts(options_.task, absl::ToUnixNanos(absl::Now()) - now, std::move(result->traces), stragglers,
             metadata->mutable_step_stats());
}

void MasterSession::View(proto::MasterView* view) const {
  auto* session = view->add_session();
  session->set_handle(handle_);
  std::vector<std::shared_ptr<const Plan>> plans;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = options_.clock->Now();
    session->set_running_steps(static_cast<int>(active_.size()));
    session->set_steps_done(steps_done_);
    session->set_stuck(stuck_);
    for (const auto& [name, task] : tasks_) {
      auto* t = session->add_task();
      t->set_name(name);
      t->set_heard_seconds(absl::ToDoubleSeconds(now - task.heard));
      t->set_lost(task.lost);
      const ClockOffset::Estimate clock = task.clock.At(Nanos(now));
      t->set_clock_offset_nanos(clock.offset_ns);
      t->set_clock_error_nanos(clock.error_ns);
      const TimeCounts busy = task.times->Counts();
      t->set_busy_p50(busy.Percentile(0.5));
      t->set_busy_p90(busy.Percentile(0.9));
      t->set_busy_p99(busy.Percentile(0.99));
      for (const proto::StragglerView& s : task.stragglers) *view->add_straggler() = s;
    }
    for (const auto& [id, signature] : callables_) {
      if (signature->plan) plans.push_back(signature->plan);
    }
  }
  for (const auto& plan : plans) {
    for (const Stragglers::Straggler& s : StragglersOf(*plan)) {
      auto* v = view->add_straggler();
      v->set_name(s.name);
      v->set_what("its part of a step");
      v->set_seconds(s.seconds);
      v->set_median(s.median);
    }
  }
}

void MasterSession::CancelStep(int64_t request_id) {
  std::vector<std::shared_ptr<ClusterStep>> steps;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, active] : active_) {
      if (active.request_id == request_id) steps.push_back(active.step);
    }
  }
  for (const auto& step : steps) step->Cancel(absl::CancelledError("the step was cancelled"));
}

void MasterSession::Describe(const proto::CallableOptions& options,
                             std::function<void(absl::StatusOr<proto::DescribeStepResponse>)> done) {
  MakePlan(SpecOf(options), [done = std::move(done)](absl::StatusOr<std::shared_ptr<const Plan>> plan) {
    if (!plan.ok()) return done(plan.status());
    proto::DescribeStepResponse response;
    response.set_placement((*plan)->placement);
    response.set_plan((*plan)->text);
    done(std::move(response));
  });
}

void MasterSession::ListDevices(proto::ListDevicesResponse* response) const {
  for (const auto& [name, task] : tasks_) {
    for (const DeviceAttributes& d : task.devices) {
      auto* a = name == options_.task ? response->add_local_device() : response->add_remote_device();
      a->set_name(d.name);
      a->set_device_type(d.type);
      a->set_memory_limit(d.memory_limit);
      a->set_incarnation(d.incarnation);
      a->set_physical_device_desc(d.description);
    }
  }
}

void MasterSession::Break(const absl::Status& why) {
  std::vector<std::shared_ptr<ClusterStep>> steps;
  {
    absl::MutexLock lock(&mu_);
    if (!broken_.ok()) return;
    broken_ = why;
    for (const auto& [id, active] : active_) steps.push_back(active.step);
  }
  for (const auto& step : steps) step->Cancel(why);
}

void MasterSession::Close(const absl::Status& why, std::function<void()> done) {
  Break(why);
  std::map<int64_t, std::shared_ptr<Signature>> callables;
  std::map<std::string, std::shared_ptr<PartialStep>> partial_runs;
  {
    absl::MutexLock lock(&mu_);
    partial_runs.swap(partial_runs_);
    callables.swap(callables_);
    callable_of_.clear();
  }
  for (const auto& [handle, run] : partial_runs) run->End(why);
  std::vector<TaskCall> calls;
  for (auto& [name, task] : tasks_) {
    proto::DeleteWorkerSessionRequest request;
    request.set_session_handle(handle_);
    calls.push_back({task.channel.get(), Method("DeleteWorkerSession"), Pack(request), kCloseTimeout});
  }
  // A worker that does not hear it forgets the session in its own time.
  CallAll(std::move(calls), [self = shared_from_this(), done = std::move(done)](auto) { done(); });
}

// --- Heartbeats ---

void MasterSession::ScheduleBeat() {
  absl::MutexLock lock(&mu_);
  if (!broken_.ok()) return;
  beat_ = options_.clock->RunAfter(options_.heartbeat_period, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Beat();
  });
}

void MasterSession::Beat() {
  std::vector<MasterTask*> ask;
  {
    absl::MutexLock lock(&mu_);
    for (auto& [name, task] : tasks_) {
      if (task.asked) continue;
      task.asked = true;
      ask.push_back(&task);
    }
  }
  proto::GetStatusRequest request;
  request.add_session_handle(handle_);
  for (MasterTask* task : ask) {
    task->channel->Call(Method("GetStatus"), Pack(request), options_.heartbeat_timeout,
                        [weak = weak_from_this(), name = task->name, sent = options_.clock->Now()](auto reply) {
                          if (auto self = weak.lock()) self->BeatAnswered(name, std::move(reply), sent);
                        });
  }
  Watch();
  ScheduleBeat();
}

void MasterSession::Watch() {
  const absl::Duration limit = options_.watchdog_timeout;
  std::vector<int64_t> old;
  {
    absl::MutexLock lock(&mu_);
    const absl::Duration now = options_.clock->Now();
    if (limit <= absl::ZeroDuration() || now - watched_ < limit / 8) return;
    watched_ = now;
    for (const auto& [id, active] : active_) {
      if (active.watched && now - active.since >= limit / 4) old.push_back(id);
    }
  }
  if (old.empty()) return;
  std::sort(old.begin(), old.end());
  proto::WorkerStateRequest request;
  for (int64_t id : old) request.add_step_id(id);
  std::vector<TaskCall> calls;
  for (const auto& [name, task] : tasks_) {
    calls.push_back({task.channel.get(), Method("WorkerState"), Pack(request), options_.heartbeat_timeout});
  }
  CallAll(std::move(calls), [weak = weak_from_this(), old](auto replies) {
    if (auto self = weak.lock()) self->Watched(old, std::move(replies));
  });
}

void MasterSession::Watched(const std::vector<int64_t>& steps, std::vector<absl::StatusOr<Message>> replies) {
  std::map<int64_t, std::vector<TaskWaits>> waits;
  size_t i = 0;
  for (const auto& [name, task] : tasks_) {
    const absl::StatusOr<Message>& reply = replies[i++];
    proto::WorkerStateResponse response;
    absl::Status status = reply.ok() ? Unpack(*reply, &response) : reply.status();
    for (int64_t id : steps) {
      TaskWaits w;
      w.task = name;
      w.error = std::string(status.message());
      for (const auto& step : response.step()) {
        if (step.step_id() != id) continue;
        w.known = true;
        w.step = step;
      }
      waits[id].push_back(std::move(w));
    }
  }
  for (const auto& [id, tasks] : waits) {
    int64_t completed = 0;
    for (const TaskWaits& w : tasks) completed += w.step.completed();
    std::string report;
    {
      absl::MutexLock lock(&mu_);
      auto it = active_.find(id);
      if (it == active_.end()) continue;
      Active& active = it->second;
      const absl::Duration now = options_.clock->Now();
      if (active.completed >= 0 && active.completed != completed) {
        active.since = now;
        active.reported = false;
      }
      active.completed = completed;
      if (active.reported || now - active.since < options_.watchdog_timeout) continue;
      active.reported = true;
      report = absl::StrCat("step ", id, " of session ", handle_, " has completed no operation for ",
                            absl::FormatDuration(absl::Trunc(now - active.since, absl::Milliseconds(100))), ":\n",
                            DescribeWaits(tasks));
      stuck_ = report;
    }
    std::fprintf(stderr, "%s: %s\n", options_.task.c_str(), report.c_str());
  }
}

void MasterSession::BeatAnswered(const std::string& name, absl::StatusOr<Message> reply, absl::Duration sent) {
  const absl::Duration got = options_.clock->Now();
  MasterTask& task = tasks_.find(name)->second;
  proto::GetStatusResponse response;
  const bool understood = reply.ok() && Unpack(*reply, &response).ok();
  {
    absl::MutexLock lock(&mu_);
    task.asked = false;
    task.lost = reply.ok() ? std::string() : std::string(reply.status().message());
    if (understood) {
      task.heard = got;
      task.clock.Add(Nanos(sent), response.now_nanos(), response.now_nanos(), Nanos(got));
      task.stragglers.assign(response.straggler().begin(), response.straggler().end());
    }
  }
  if (!reply.ok()) {
    if (options_.metrics) {
      options_.metrics
          ->CounterOf("sluice_heartbeats_missed_total", "Heartbeats that a task did not answer.", {{"task", name}})
          .Add();
    }
    return LoseTask(name, absl::UnavailableError(absl::StrCat("task ", name, " does not answer heartbeats over ",
                                                              task.channel->Describe(), " (", reply.status().message(),
                                                              "); it is taken for lost")));
  }
  if (!understood) return;
  if (response.incarnation() != task.incarnation) {
    return Break(absl::AbortedError(absl::StrCat(
        name, " has restarted: its incarnation is ", absl::Hex(response.incarnation(), absl::kZeroPad16), ", session ",
        handle_, " met ", absl::Hex(task.incarnation, absl::kZeroPad16), "; the session must be created again")));
  }
  if (!response.unknown_session().empty()) {
    Break(absl::AbortedError(absl::StrCat(name, " no longer knows session ", handle_,
                                          ": it ran out of its time; the session must be created again")));
  }
}

void MasterSession::LoseTask(const std::string& task, const absl::Status& why) {
  std::vector<std::shared_ptr<ClusterStep>> steps;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [id, active] : active_) steps.push_back(active.step);
  }
  for (const auto& step : steps) step->LoseTask(task, why);
}

}  // namespace sluice
