#include "distributed/client/remote_session.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "core/base/clock.h"
#include "core/base/recycled_memory.h"
#include "core/base/status.h"
#include "core/graph/graph_def.h"
#include "core/graph/text.h"
#include "core/proto/config.pb.h"
#include "distributed/cluster/cluster.h"
#include "distributed/master/master.h"
#include "distributed/proto/master.pb.h"
#include "distributed/rpc/call.h"
#include "runtime/session/step_stats.h"

namespace sluice {
namespace {

// Of calls that make sessions, graphs and plans, when nobody says how long they may take: longer than a master waits
// for its tasks and for what they do, so that it is the master who says what went wrong.
constexpr absl::Duration kControlTimeout = absl::Minutes(5);
constexpr absl::Duration kCloseTimeout = absl::Seconds(15);
constexpr absl::Duration kKeepAlivePeriod = absl::Minutes(1);  // a tenth of what masters wait
// What a call has beyond its step's own time: more than the master adds for its tasks.
constexpr absl::Duration kSpareTime = absl::Milliseconds(900);
// Of steps without a timeout: a master that goes away ends the call long before.
constexpr absl::Duration kStepLimit = absl::Hours(24 * 30);

std::string Method(absl::string_view name) { return absl::StrCat(Master::kService, name); }

const std::string& RunMethod() {
  static const std::string* method = new std::string(Method("RunCallable"));
  return *method;
}

class RemoteCallable final : public Callable {
 public:
  CallableSpec spec;
  absl::Mutex mu;
  int64_t handle ABSL_GUARDED_BY(mu) = 0;  // of the master, 0 before it was asked
};

class RemoteSession final : public SessionBase {
 public:
  RemoteSession(std::shared_ptr<Channel> master, std::string config, Graph* graph)
      : master_(std::move(master)), config_(std::move(config)), graph_(*graph) {
    proto::ConfigProto parsed;
    if (parsed.ParseFromString(config_) && parsed.operation_timeout_in_ms() > 0) {
      control_timeout_ = absl::Milliseconds(parsed.operation_timeout_in_ms()) + kSpareTime;
    }
  }

  ~RemoteSession() override { (void)Close(); }

  absl::StatusOr<std::shared_ptr<Callable>> MakeCallable(const CallableSpec& spec) override {
    absl::MutexLock lock(&mu_);
    if (closed_) return absl::CancelledError("the session has been closed");
    std::shared_ptr<RemoteCallable>& callable = callables_[absl::StrCat(
        absl::StrJoin(spec.feeds, ","), ";", absl::StrJoin(spec.fetches, ","), ";", absl::StrJoin(spec.targets, ","))];
    if (!callable) {
      callable = std::make_shared<RemoteCallable>();
      callable->spec = spec;
    }
    return std::shared_ptr<Callable>(callable);
  }

  absl::Status RunCallable(Callable& given, absl::Span<const Tensor> feeds, std::vector<Tensor>* fetches,
                           const RunOptions& run, RunMetadata* metadata) override {
    auto& callable = static_cast<RemoteCallable&>(given);
    if (feeds.size() != callable.spec.feeds.size()) {
      return InvalidArgument("the step takes ", callable.spec.feeds.size(), " feeds, found ", feeds.size());
    }
    // What the last step left there goes first: it may be the value of a variable of this process, which is updated in
    // place when nobody holds it.
    for (Tensor& t : *fetches) t = Tensor();
    const absl::Duration limit = run.timeout_ms > 0 ? absl::Milliseconds(run.timeout_ms) + kSpareTime : kStepLimit;
    const absl::Duration control = std::min(limit, control_timeout_);
    RETURN_IF_ERROR(Sync(control));
    ASSIGN_OR_RETURN(int64_t handle, HandleOf(callable, control));
    // Kept by the thread, with the memory of its fields; packed before anything is called.
    thread_local proto::RunCallableRequest request;
    request.Clear();
    request.set_handle(handle);
    request.set_session_handle(handle_);
    const int64_t request_id = next_request_.fetch_add(1);
    request.set_request_id(request_id);
    if (run.timeout_ms > 0) request.mutable_options()->set_timeout_in_ms(run.timeout_ms);
    if (run.trace) request.mutable_options()->set_trace_level(proto::RunOptions::FULL_TRACE);
    if (run.partition_graphs) request.mutable_options()->set_output_partition_graphs(true);
    Message message = Pack(request);
    message.tensors.assign(feeds.begin(), feeds.end());
    ASSIGN_OR_RETURN(Message reply,
                     CallCancellable(RunMethod(), std::move(message), request_id, limit, run.cancellation));
    if (reply.tensors.size() != callable.spec.fetches.size()) {
      return Internal("the master answered with ", reply.tensors.size(), " tensors for ", callable.spec.fetches.size(),
                      " fetches");
    }
    fetches->assign(std::make_move_iterator(reply.tensors.begin()), std::make_move_iterator(reply.tensors.end()));
    if (metadata != nullptr && !reply.body.empty()) {
      proto::RunStepResponse response;
      RETURN_IF_ERROR(Unpack(reply, &response));
      StepStatsFromProto(response.metadata().step_stats(), &metadata->stats);
      for (const auto& graph : response.metadata().partition_graphs()) {
        metadata->partition_graphs.push_back(graph.SerializeAsString());
      }
      metadata->message = response.metadata().SerializeAsString();
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> SetUpPartialRun(const CallableSpec& spec) override {
    RETURN_IF_ERROR(Sync(control_timeout_));
    proto::PartialRunSetupRequest request;
    request.set_session_handle(handle_);
    for (const std::string& f : spec.feeds) request.add_feed(f);
    for (const std::string& f : spec.fetches) request.add_fetch(f);
    for (const std::string& t : spec.targets) request.add_target(t);
    request.set_request_id(next_request_.fetch_add(1));
    ASSIGN_OR_RETURN(auto response, Ask<proto::PartialRunSetupResponse>(*master_, Method("PartialRunSetup"), request,
                                                                        control_timeout_));
    return response.partial_run_handle();
  }

  absl::Status PartialRun(const std::string& handle, absl::Span<const std::pair<std::string, Tensor>> feeds,
                          absl::Span<const std::string> fetches, std::vector<Tensor>* results,
                          const RunOptions& run) override {
    RETURN_IF_ERROR(CheckOpen());
    proto::RunStepRequest request;
    request.set_session_handle(handle_);
    request.set_partial_run_handle(handle);
    request.set_request_id(next_request_.fetch_add(1));
    if (run.timeout_ms > 0) request.mutable_options()->set_timeout_in_ms(run.timeout_ms);
    for (const auto& [name, value] : feeds) request.add_feed(name);
    for (const std::string& f : fetches) request.add_fetch(f);
    Message message = Pack(request);
    for (const auto& [name, value] : feeds) message.tensors.push_back(value);
    const absl::Duration limit = run.timeout_ms > 0 ? absl::Milliseconds(run.timeout_ms) + kSpareTime : kStepLimit;
    ASSIGN_OR_RETURN(Message reply, CallCancellable(Method("RunStep"), std::move(message), request.request_id(), limit,
                                                    run.cancellation));
    if (reply.tensors.size() != fetches.size()) {
      return Internal("the master answered with ", reply.tensors.size(), " tensors for ", fetches.size(), " fetches");
    }
    results->assign(std::make_move_iterator(reply.tensors.begin()), std::make_move_iterator(reply.tensors.end()));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<DeviceAttributes>> ListDevices() override {
    RETURN_IF_ERROR(Sync(control_timeout_));
    proto::ListDevicesRequest request;
    request.set_session_handle(handle_);
    ASSIGN_OR_RETURN(auto response,
                     Ask<proto::ListDevicesResponse>(*master_, Method("ListDevices"), request, control_timeout_));
    std::vector<DeviceAttributes> devices;
    auto add = [&](const auto& list) {
      for (const auto& d : list) {
        devices.push_back({d.name(), d.device_type(), d.memory_limit(), d.incarnation(), d.physical_device_desc()});
      }
    };
    add(response.local_device());
    add(response.remote_device());
    return devices;
  }

  absl::StatusOr<std::string> ExplainPlacement(const CallableSpec& spec) override {
    ASSIGN_OR_RETURN(proto::DescribeStepResponse response, Describe(spec));
    return response.placement();
  }

  absl::StatusOr<std::string> DumpPlan(const CallableSpec& spec) override {
    ASSIGN_OR_RETURN(proto::DescribeStepResponse response, Describe(spec));
    return response.plan();
  }

  absl::Status Close() override {
    {
      absl::MutexLock lock(&mu_);
      if (closed_) return absl::OkStatus();
      closed_ = true;
    }
    absl::MutexLock lock(&sync_mu_);
    if (handle_.empty()) return absl::OkStatus();
    alive_->store(false);
    proto::CloseSessionRequest request;
    request.set_session_handle(handle_);
    return CallAndWait(*master_, Method("CloseSession"), Pack(request), kCloseTimeout).status();
  }

  absl::Status Reset(const std::vector<std::string>& containers) override {
    return ResetCluster(*master_, containers, {});
  }

 private:
  // Brings the master's graph up to ours; each call for it gets `limit`.
  absl::Status Sync(absl::Duration limit) {
    if (synced_version_.load(std::memory_order_acquire) == CurrentVersion()) return CheckOpen();
    absl::MutexLock lock(&sync_mu_);
    RETURN_IF_ERROR(CheckOpen());
    proto::GraphDef def;
    int64_t version = 0, mutations = 0;
    int nodes = 0;
    bool replace = false;
    {
      absl::ReaderMutexLock graph_lock(&graph_.mu());
      version = graph_.version();
      mutations = graph_.mutations();
      nodes = graph_.num_node_ids();
      replace = !handle_.empty() && mutations != sent_mutations_;
      ExportOptions options;
      options.from_id = handle_.empty() || replace ? 0 : sent_nodes_;
      ExportGraphDef(graph_, options, &def);
    }
    if (handle_.empty()) {
      proto::CreateSessionRequest request;
      request.set_protocol_version(kProtocolVersion);
      *request.mutable_graph_def() = std::move(def);
      if (!config_.empty() && !request.mutable_config()->ParseFromString(config_))
        return InvalidArgument("these bytes are not a serialised ConfigProto");
      ASSIGN_OR_RETURN(auto response,
                       Ask<proto::CreateSessionResponse>(*master_, Method("CreateSession"), request, limit));
      if (response.protocol_version() != kProtocolVersion) {
        return FailedPrecondition("the master (", master_->Describe(), ") speaks version ", response.protocol_version(),
                                  " of the protocol, this client ", kProtocolVersion,
                                  "; install the same version of Sluice for both");
      }
      handle_ = response.session_handle();
      graph_version_ = response.graph_version();
      KeepAlive(master_, handle_, alive_);
    } else if (replace || def.node_size() > 0) {
      proto::ExtendSessionRequest request;
      request.set_session_handle(handle_);
      request.set_current_graph_version(graph_version_);
      request.set_replace(replace);
      *request.mutable_graph_def() = std::move(def);
      ASSIGN_OR_RETURN(auto response,
                       Ask<proto::ExtendSessionResponse>(*master_, Method("ExtendSession"), request, limit));
      graph_version_ = response.new_graph_version();
    }
    sent_nodes_ = nodes;
    sent_mutations_ = mutations;
    synced_version_.store(version * 1'000'003 + mutations, std::memory_order_release);
    return absl::OkStatus();
  }

  int64_t CurrentVersion() const {
    absl::ReaderMutexLock lock(&graph_.mu());
    return graph_.version() * 1'000'003 + graph_.mutations();
  }

  absl::Status CheckOpen() {
    absl::MutexLock lock(&mu_);
    return closed_ ? absl::CancelledError("the session has been closed") : absl::OkStatus();
  }

  // Tells the master from time to time that this process is there, until the session is closed.
  static void KeepAlive(std::shared_ptr<Channel> master, const std::string& handle,
                        std::shared_ptr<std::atomic<bool>> alive) {
    SystemClock()->RunAfter(kKeepAlivePeriod, [master, handle, alive] {
      if (!alive->load()) return;
      proto::KeepAliveRequest request;
      request.set_session_handle(handle);
      master->Call(Method("KeepAlive"), Pack(request), kCloseTimeout, [](auto) {});
      KeepAlive(master, handle, alive);
    });
  }

  static proto::CallableOptions OptionsOf(const CallableSpec& spec) {
    proto::CallableOptions options;
    for (const std::string& f : spec.feeds) options.add_feed(f);
    for (const std::string& f : spec.fetches) options.add_fetch(f);
    for (const std::string& t : spec.targets) options.add_target(t);
    return options;
  }

  absl::StatusOr<int64_t> HandleOf(RemoteCallable& callable, absl::Duration limit) {
    absl::MutexLock lock(&callable.mu);
    if (callable.handle != 0) return callable.handle;
    proto::MakeCallableRequest request;
    request.set_session_handle(handle_);
    *request.mutable_options() = OptionsOf(callable.spec);
    ASSIGN_OR_RETURN(auto response, Ask<proto::MakeCallableResponse>(*master_, Method("MakeCallable"), request, limit));
    callable.handle = response.handle();
    return callable.handle;
  }

  absl::StatusOr<proto::DescribeStepResponse> Describe(const CallableSpec& spec) {
    RETURN_IF_ERROR(Sync(control_timeout_));
    proto::DescribeStepRequest request;
    request.set_session_handle(handle_);
    *request.mutable_options() = OptionsOf(spec);
    return Ask<proto::DescribeStepResponse>(*master_, Method("DescribeStep"), request, control_timeout_);
  }

  // Waits for the reply; the caller's cancellation ends the step on the master, which then answers.
  absl::StatusOr<Message> CallCancellable(const std::string& method, Message message, int64_t request_id,
                                          absl::Duration limit, CancellationToken* cancellation) {
    struct Waiting {
      absl::Notification done;
      absl::StatusOr<Message> reply{Message()};
    };
    auto waiting = MakeRecycled<Waiting>();
    master_->Call(method, std::move(message), limit, [waiting](absl::StatusOr<Message> reply) {
      waiting->reply = std::move(reply);
      waiting->done.Notify();
    });
    int64_t callback = 0;
    if (cancellation != nullptr) {
      auto cancel = [this, request_id] {
        proto::CancelStepRequest request;
        request.set_session_handle(handle_);
        request.set_request_id(request_id);
        master_->Call(Method("CancelStep"), Pack(request), kCloseTimeout, [](auto) {});
      };
      callback = cancellation->Register(cancel);
      if (callback == 0) cancel();
    }
    waiting->done.WaitForNotification();
    if (callback != 0) cancellation->Unregister(callback);
    return std::move(waiting->reply);
  }

  const std::shared_ptr<Channel> master_;
  const std::shared_ptr<std::atomic<bool>> alive_ = std::make_shared<std::atomic<bool>>(true);
  const std::string config_;
  absl::Duration control_timeout_ = kControlTimeout;  // or ConfigProto.operation_timeout_in_ms
  Graph& graph_;
  std::atomic<int64_t> next_request_{1};
  std::atomic<int64_t> synced_version_{-1};
  absl::Mutex sync_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  std::string handle_;         // written once under sync_mu_, before synced_version_
  int64_t graph_version_ = 0;  // of the master's graph; guarded by sync_mu_
  int sent_nodes_ = 0;         // guarded by sync_mu_
  int64_t sent_mutations_ = 0;
  absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_map<std::string, std::shared_ptr<RemoteCallable>> callables_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::unique_ptr<SessionBase> MakeRemoteSession(std::shared_ptr<Channel> master, std::string config, Graph* graph) {
  return std::make_unique<RemoteSession>(std::move(master), std::move(config), graph);
}

absl::Status ResetCluster(Channel& master, const std::vector<std::string>& containers,
                          const std::vector<std::string>& device_filters) {
  proto::ResetRequest request;
  for (const std::string& c : containers) request.add_container(c);
  for (const std::string& f : device_filters) request.add_device_filters(f);
  return CallAndWait(master, Method("Reset"), Pack(request), kControlTimeout).status();
}

}  // namespace sluice
