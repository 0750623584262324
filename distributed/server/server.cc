#include "distributed/server/server.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "core/base/metrics.h"
#include "core/base/status.h"
#include "distributed/client/remote_session.h"
#include "distributed/cluster/cluster.h"
#include "distributed/master/master.h"
#include "distributed/metrics/call_metrics.h"
#include "distributed/metrics/http_pages.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/rpc/in_process.h"
#include "distributed/rpc/watched_channel.h"
#include "distributed/testing/call_recorder.h"
#include "distributed/testing/history.h"
#include "distributed/testing/message_faults.h"
#include "distributed/transport/negotiate.h"
#include "runtime/collective/local_collectives.h"
#include "runtime/device/cpu_device.h"
#include "runtime/session/session_options.h"

namespace sluice {
namespace {

constexpr char kScheme[] = "grpc://";

// The servers of this process, by address.
struct LocalServers {
  absl::Mutex mu;
  std::map<std::string, InProcessServer*> servers ABSL_GUARDED_BY(mu);
};
LocalServers& Locals() {
  static LocalServers* locals = new LocalServers;
  return *locals;
}

// One name for the ways to say "this machine".
std::string Canonical(absl::string_view address) {
  const size_t colon = address.rfind(':');
  const absl::string_view host = address.substr(0, colon);
  if (host == "127.0.0.1" || host == "[::1]" || host == "0.0.0.0") {
    return absl::StrCat("localhost", address.substr(colon));
  }
  return std::string(address);
}

absl::StatusOr<std::string> ReadFile(const char* variable) {
  const char* path = std::getenv(variable);
  if (path == nullptr || *path == '\0') return std::string();
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in.good() && text.str().empty()) return NotFound(variable, ": the file '", path, "' cannot be read");
  return text.str();
}

// The task that keeps the groups of collectives: the one that the configuration names, else the first of those that
// are there as long as the cluster.
std::string LeaderOfGroups(const proto::ServerDef& def, const std::vector<std::string>& tasks) {
  const std::string& named = def.default_session_config().experimental().collective_group_leader();
  if (!named.empty()) return named;
  for (const char* job : {"chief", "master", "worker"}) {
    const std::string task = TaskName(job, 0);
    if (std::find(tasks.begin(), tasks.end(), task) != tasks.end()) return task;
  }
  return tasks.front();
}

// Which tasks share memory for collectives: those of one host, unless another way is prescribed. SLUICE_COLLECTIVE_HOST
// gives the host another name, for trying on one machine what several would do.
std::string HostOfCollectives() {
  const char* way = std::getenv("SLUICE_TRANSPORT");
  if (way != nullptr && *way != '\0' && absl::string_view(way) != "shm") return "";
  const char* host = std::getenv("SLUICE_COLLECTIVE_HOST");
  return absl::StrCat(HostIdentity(), " ", host == nullptr ? "" : host);
}

bool IsOn(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && absl::string_view(value) == "1";
}

// A positive number of seconds, or `otherwise` when the variable is not set.
absl::StatusOr<absl::Duration> SecondsFrom(const char* variable, absl::Duration otherwise) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return otherwise;
  double seconds = 0;
  if (!absl::SimpleAtod(value, &seconds) || !(seconds > 0)) {
    return InvalidArgument(variable, " is '", value, "'; wanted a positive number of seconds");
  }
  return absl::Seconds(seconds);
}

// The transport itself, unless SLUICE_MESSAGE_FAULTS asks for faults.
absl::StatusOr<std::shared_ptr<Transport>> WithFaults(std::shared_ptr<Transport> transport) {
  const char* faults = std::getenv("SLUICE_MESSAGE_FAULTS");
  if (faults == nullptr || *faults == '\0') return transport;
  ASSIGN_OR_RETURN(const MessageFaults parsed, ParseMessageFaults(faults));
  ASSIGN_OR_RETURN(HistorySink sink, HistoryFromEnvironment("messages"));
  std::fprintf(stderr, "SLUICE_MESSAGE_FAULTS: messages of this process are damaged on purpose (%s)\n", faults);
  return std::shared_ptr<Transport>(MakeFaultyTransport(std::move(transport), parsed, SystemClock(), std::move(sink)));
}

// Calls that count under their own name.
std::vector<std::string> CountedMethods() {
  std::vector<std::string> methods;
  for (const char* m : {"GetStatus", "CreateWorkerSession", "DeleteWorkerSession", "RegisterGraph", "DeregisterGraph",
                        "RunGraph", "CleanupGraph", "CleanupAll", "RecvTensor", "SendTensors", "WorkerState"}) {
    methods.push_back(absl::StrCat(Worker::kService, m));
  }
  for (const char* m :
       {"CreateSession", "ExtendSession", "RunStep", "PartialRunSetup", "MakeCallable", "RunCallable",
        "ReleaseCallable", "CancelStep", "DescribeStep", "KeepAlive", "CloseSession", "ListDevices", "Reset"}) {
    methods.push_back(absl::StrCat(Master::kService, m));
  }
  return methods;
}

// Of a training that this process drives; as of its last step.
void CollectEffectiveTime(const proto::EffectiveTime& time, sluice::MetricsText* out) {
  out->Family("sluice_training_seconds_total", "counter",
              "Where the time of the training that this process drives went: into steps that counted, or lost.");
  const std::pair<const char*, double> spent[] = {{"productive", time.productive()},
                                                  {"detecting", time.detect()},
                                                  {"restarting", time.restart()},
                                                  {"restoring", time.restore()},
                                                  {"reexecuting", time.reexecute()}};
  for (const auto& [what, seconds] : spent) out->Sample({{"spent", what}}, seconds);
  out->Family("sluice_training_wall_seconds_total", "counter",
              "Since the training began, with the time until its first session.");
  out->Sample({}, time.wall());
  out->Family("sluice_training_failures_total", "counter", "Losses of tasks that the training has survived.");
  out->Sample({}, static_cast<double>(time.failures()));
}

// What workers and masters count for themselves, in the words of Prometheus.
void CollectState(const std::string& task, const proto::WorkerStateResponse& state, int master_sessions,
                  const std::vector<std::pair<std::string, AllocatorStats>>& memory, sluice::MetricsText* out) {
  out->Family("sluice_task_info", "gauge", "Always 1; says which task this is.");
  out->Sample({{"task", task}}, 1);
  out->Family("sluice_sessions_open", "gauge", "Sessions that are open.");
  out->Sample({{"role", "master"}}, master_sessions);
  out->Sample({{"role", "worker"}}, state.session_size());
  out->Family("sluice_steps_known", "gauge", "Steps that run here, or hold tensors for other tasks.");
  out->Sample({}, state.step_size());
  out->Family("sluice_refused_calls_total", "counter",
              "Calls that were refused: of a former life of a task, an old epoch, a session or step that has ended.");
  out->Sample({}, static_cast<double>(state.refused_calls()));
  const auto pair = [&](const proto::WorkerStateResponse::Peer& p) {
    return MetricLabels{{"from", p.task()}, {"to", task}, {"transport", p.transport()}};
  };
  out->Family("sluice_received_tensors_total", "counter", "Tensors that came from other tasks.");
  for (const auto& p : state.peer()) out->Sample(pair(p), static_cast<double>(p.received_tensors()));
  out->Family("sluice_received_tensor_bytes_total", "counter",
              "Their bytes. A transfer is counted once, by the task that receives it.");
  for (const auto& p : state.peer()) out->Sample(pair(p), static_cast<double>(p.received_bytes()));
  if (state.has_effective_time()) CollectEffectiveTime(state.effective_time(), out);
  out->Family("sluice_memory_bytes", "gauge",
              "Memory of devices: in use, most ever in use, held from the system, limit (0: none).");
  for (const auto& [device, m] : memory) {
    const std::pair<const char*, int64_t> uses[] = {
        {"live", m.live_bytes}, {"peak", m.peak_bytes}, {"reserved", m.reserved_bytes}, {"limit", m.limit_bytes}};
    for (const auto& [use, bytes] : uses) out->Sample({{"device", device}, {"use", use}}, static_cast<double>(bytes));
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<Transport>> DefaultTransport() {
  static absl::Mutex mu(absl::kConstInit);
  static std::shared_ptr<Transport>* shared = nullptr;
  absl::MutexLock lock(&mu);
  if (shared == nullptr) {
    TransportSetOptions set;
    GrpcOptions& options = set.grpc;
    ASSIGN_OR_RETURN(options.root_certificates, ReadFile("SLUICE_TLS_ROOT"));
    ASSIGN_OR_RETURN(options.certificate, ReadFile("SLUICE_TLS_CERT"));
    ASSIGN_OR_RETURN(options.private_key, ReadFile("SLUICE_TLS_KEY"));
    options.require_client_certificate = IsOn("SLUICE_TLS_MUTUAL");
    options.insecure_bind = IsOn("SLUICE_INSECURE_BIND");
    options.services = {"sluice.proto.MasterService", "sluice.proto.WorkerService"};
    ASSIGN_OR_RETURN(std::shared_ptr<Transport> made, WithFaults(MakeTransportSet(std::move(set))));
    shared = new std::shared_ptr<Transport>(std::move(made));  // outlives every server
  }
  return *shared;
}

namespace {

// How to reach the tasks of a cluster. Callers may outlive the server.
struct Peers {
  std::string task;
  std::shared_ptr<Channel> self;
  Cluster cluster;
  std::shared_ptr<Transport> transport;
  Clock* clock;

  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& to) const {
    if (to == task) return self;
    ASSIGN_OR_RETURN(std::string address, cluster.Find(to));
    return ConnectTo(to, address);
  }

  absl::StatusOr<std::shared_ptr<Channel>> ConnectTo(const std::string& to, const std::string& address) const {
    if (to == task) return self;
    WatchOptions watch;
    watch.name = to;
    return ConnectWatched(*transport, address, clock, std::move(watch));
  }
};

}  // namespace

struct Server::Impl {
  std::string task;
  std::string target;
  Cluster cluster;
  ServerOptions options;
  std::shared_ptr<Metrics> metrics = std::make_shared<Metrics>();
  std::shared_ptr<CallMetrics> calls = std::make_shared<CallMetrics>(metrics, CountedMethods());
  std::unique_ptr<Worker> worker;
  std::unique_ptr<Master> master;
  std::unique_ptr<InProcessServer> local;
  std::shared_ptr<Channel> self;
  std::unique_ptr<Listener> listener;
  std::atomic<bool> started{false};
  absl::Mutex mu;
  bool stopped ABSL_GUARDED_BY(mu) = false;
  std::unique_ptr<HttpPages> pages ABSL_GUARDED_BY(mu);

  std::string Text() const {
    proto::WorkerStateResponse state;
    worker->Handle("WorkerState", absl::Seconds(1), Pack(proto::WorkerStateRequest()),
                   [&state](absl::StatusOr<Message> reply) {  // at once
                     if (reply.ok()) (void)Unpack(*reply, &state);
                   });
    sluice::MetricsText out;
    CollectState(task, state, master->num_sessions(), worker->memory(), &out);
    return absl::StrCat(metrics->Text(), out.Take(), ProcessMetrics().Text());
  }

  void Handle(const IncomingCall& call, Message request, Reply reply) {
    absl::string_view method = call.method;
    reply = calls->Count(method, request, std::move(reply));
    if (!started.load(std::memory_order_acquire)) {
      return reply(absl::UnavailableError(absl::StrCat(task, " is not running (not started yet, or stopped)")));
    }
    if (absl::ConsumePrefix(&method, Worker::kService)) {
      return worker->Handle(method, call.timeout, std::move(request), std::move(reply), call.way);
    }
    if (absl::ConsumePrefix(&method, Master::kService)) {
      return master->Handle(method, call.timeout, std::move(request), std::move(reply));
    }
    reply(Unimplemented(task, " has no call ", call.method));
  }
};

absl::StatusOr<std::unique_ptr<Server>> Server::Make(const proto::ServerDef& def, ServerOptions options) {
  auto impl = std::make_shared<Impl>();
  if (options.clock == nullptr) options.clock = SystemClock();
  if (options.transport == nullptr) {
    ASSIGN_OR_RETURN(options.transport, DefaultTransport());
  }
  if (!def.protocol().empty() && def.protocol() != "grpc") {
    return InvalidArgument("the protocol '", def.protocol(), "' is not known; wanted 'grpc'");
  }
  ASSIGN_OR_RETURN(impl->cluster, Cluster::FromProto(def.cluster()));
  impl->task = TaskName(def.job_name(), def.task_index());
  ASSIGN_OR_RETURN(std::string address, impl->cluster.Find(impl->task));
  if (def.port() != 0) address = absl::StrCat(address.substr(0, address.rfind(':')), ":", def.port());
  ASSIGN_OR_RETURN(SessionOptions session, SessionOptionsFromProto(def.default_session_config()));
  impl->options = options;
  Impl* i = impl.get();
  Handler handler = [i](const IncomingCall& call, Message request, Reply reply) {
    i->Handle(call, std::move(request), std::move(reply));
  };
  ASSIGN_OR_RETURN(HistorySink history, HistoryFromEnvironment(impl->task));
  if (history) handler = RecordCalls(std::move(handler), std::move(history));
  auto listener = options.transport->Listen(address, handler);
  if (!listener.ok()) return Annotate(listener.status(), absl::StrCat(impl->task, ": "));
  impl->listener = *std::move(listener);
  // The port that was bound, when the specification left it open.
  impl->cluster.addresses[impl->task] = impl->listener->address();
  impl->target = absl::StrCat(kScheme, impl->listener->address());
  impl->local = std::make_unique<InProcessServer>(impl->listener->address(), handler, options.clock);
  impl->self = impl->local->Connect();

  auto peers =
      std::make_shared<const Peers>(Peers{impl->task, impl->self, impl->cluster, options.transport, options.clock});
  auto connect = [peers](const std::string& task) { return peers->Connect(task); };
  auto connect_to = [peers](const std::string& task, const std::string& address) {
    return peers->ConnectTo(task, address);
  };
  WorkerOptions worker;
  worker.task = impl->task;
  worker.environment = options.environment;
  worker.session = session;
  worker.connect = connect;
  worker.connect_to = connect_to;
  worker.clock = options.clock;
  ASSIGN_OR_RETURN(worker.session_ttl, SecondsFrom("SLUICE_SESSION_TTL", worker.session_ttl));
  worker.orphan_ttl = worker.session_ttl;
  worker.tasks = impl->cluster.tasks();
  worker.collective_leader = LeaderOfGroups(def, worker.tasks);
  worker.host = HostOfCollectives();
  worker.collective_timeout = CollectiveTimeout();
  worker.metrics = impl->metrics;
  impl->worker = std::make_unique<Worker>(std::move(worker));
  MasterOptions master;
  master.task = impl->task;
  master.cluster = impl->cluster;
  master.environment = options.environment;
  master.session = session;
  master.local_device = impl->worker->first_device();
  master.connect = connect;
  master.connect_to = connect_to;
  master.clock = options.clock;
  master.metrics = impl->metrics;
  master.wire = impl->worker->wire();
  master.executor = impl->worker->executor();
  master.heartbeat_timeout = options.heartbeat_timeout;
  master.join_timeout = options.join_timeout;
  master.partial_run_limit = options.partial_run_limit;
  if (options.watchdog_timeout != absl::InfiniteDuration()) {
    master.watchdog_timeout = options.watchdog_timeout;
  } else if (const char* text = std::getenv("SLUICE_WATCHDOG_SECONDS"); text != nullptr) {
    double seconds = 0;
    if (!absl::SimpleAtod(text, &seconds) || !(seconds >= 0)) {
      return InvalidArgument("SLUICE_WATCHDOG_SECONDS='", text, "': wanted a number of seconds, 0 for no watchdog");
    }
    master.watchdog_timeout = absl::Seconds(seconds);
  }
  impl->master = std::make_unique<Master>(std::move(master));
  std::unique_ptr<Server> server(new Server);
  server->impl_ = std::move(impl);
  return server;
}

Server::~Server() { Stop(); }

void Server::Start() {
  {
    absl::MutexLock lock(&Locals().mu);
    Locals().servers[Canonical(impl_->listener->address())] = impl_->local.get();
  }
  impl_->started.store(true, std::memory_order_release);
}

void Server::Stop() {
  {
    absl::MutexLock lock(&impl_->mu);
    if (impl_->stopped) return;
    impl_->stopped = true;
  }
  {
    absl::MutexLock lock(&Locals().mu);
    auto it = Locals().servers.find(Canonical(impl_->listener->address()));
    if (it != Locals().servers.end() && it->second == impl_->local.get()) Locals().servers.erase(it);
  }
  std::unique_ptr<HttpPages> pages;
  {
    absl::MutexLock lock(&impl_->mu);
    pages = std::move(impl_->pages);
  }
  pages.reset();  // waits for the page that is being made
  impl_->master->Shutdown();
  impl_->worker->Shutdown();
  impl_->started.store(false, std::memory_order_release);
  impl_->listener.reset();
  impl_->local.reset();
}

absl::StatusOr<std::string> Server::ServeMetrics(const std::string& address) {
  Impl* i = impl_.get();
  absl::MutexLock lock(&i->mu);
  if (i->stopped) return absl::UnavailableError(absl::StrCat(i->task, " was stopped"));
  if (i->pages) return FailedPrecondition(i->task, " serves its metrics at ", i->pages->address(), " already");
  HttpLimits limits;
  limits.insecure_bind = IsOn("SLUICE_INSECURE_BIND");
  std::map<std::string, HttpPage> pages;
  pages["/metrics"] = {"text/plain; version=0.0.4; charset=utf-8", [i] { return i->Text(); }};
  pages["/healthz"] = {"text/plain; charset=utf-8", [i] { return std::string(i->started ? "ok\n" : "not started\n"); }};
  absl::StatusOr<std::unique_ptr<HttpPages>> made = HttpPages::Listen(address, std::move(pages), limits);
  if (!made.ok()) return Annotate(made.status(), absl::StrCat(i->task, " cannot serve metrics: "));
  i->pages = *std::move(made);
  return i->pages->address();
}

std::string Server::metrics_address() const {
  absl::MutexLock lock(&impl_->mu);
  return impl_->pages ? impl_->pages->address() : "";
}

std::string Server::MetricsText() const { return impl_->Text(); }

bool Server::Join(absl::Duration timeout) {
  absl::MutexLock lock(&impl_->mu);
  return impl_->mu.AwaitWithTimeout(absl::Condition(&impl_->stopped), timeout);
}

const std::string& Server::target() const { return impl_->target; }
const std::string& Server::address() const { return impl_->cluster.addresses.find(impl_->task)->second; }
const std::string& Server::task() const { return impl_->task; }

absl::StatusOr<std::shared_ptr<Channel>> ConnectToMaster(const std::string& target) {
  absl::string_view address = target;
  if (!absl::ConsumePrefix(&address, kScheme) || !absl::StrContains(address, ':')) {
    return InvalidArgument("the target '", target, "' is not of the form grpc://host:port");
  }
  {
    absl::MutexLock lock(&Locals().mu);
    auto it = Locals().servers.find(Canonical(address));
    if (it != Locals().servers.end()) return it->second->Connect();
  }
  ASSIGN_OR_RETURN(std::shared_ptr<Transport> transport, DefaultTransport());
  WatchOptions watch;
  watch.name = absl::StrCat("the master at ", target);
  return ConnectWatched(*transport, std::string(address), SystemClock(), std::move(watch));
}

absl::StatusOr<std::unique_ptr<SessionBase>> NewRemoteSession(const std::string& target, std::string config,
                                                              Graph* graph) {
  ASSIGN_OR_RETURN(std::shared_ptr<Channel> channel, ConnectToMaster(target));
  return MakeRemoteSession(std::move(channel), std::move(config), graph);
}

}  // namespace sluice
