#include "distributed/master/master.h"

#include <atomic>
#include <map>
#include <random>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "core/base/status.h"
#include "distributed/master/master_session.h"
#include "distributed/proto/master.pb.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/testing/bugs.h"
#include "distributed/worker/worker.h"

namespace sluice {
namespace {

constexpr size_t kMaxSessions = 10'000;

}  // namespace

struct Master::Impl : public std::enable_shared_from_this<Master::Impl> {
  explicit Impl(MasterOptions o)
      : shared_options(std::make_shared<const MasterOptions>(std::move(o))), options(*shared_options) {
    std::random_device random;
    prefix = absl::StrCat("s", absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8), "_");
  }

  absl::StatusOr<std::shared_ptr<MasterSession>> Find(const std::string& handle) {
    absl::MutexLock lock(&mu);
    auto it = sessions.find(handle);
    if (it != sessions.end()) {
      it->second->Heard();
      return it->second;
    }
    return absl::AbortedError(absl::StrCat("session ", handle, " is not known to the master ", options.task,
                                           ": it was closed or the master has restarted; it must be created again"));
  }

  void Create(const proto::CreateSessionRequest& request, Reply reply) {
    const int version = request.protocol_version();
    if (version != 0 && version != kProtocolVersion) {
      return reply(FailedPrecondition("the client speaks version ", version, " of the protocol, the master ",
                                      options.task, " speaks ", kProtocolVersion,
                                      "; install the same version of Sluice for both"));
    }
    std::string handle;
    bool full = false;
    {
      absl::MutexLock lock(&mu);
      full = sessions.size() >= kMaxSessions;
      if (!closed && !full) handle = absl::StrCat(prefix, next++);
    }
    if (full) {
      return reply(ResourceExhausted("the master ", options.task, " has ", kMaxSessions,
                                     " sessions open, as many as it may: close some of them"));
    }
    if (handle.empty()) return reply(Closed());
    const int nodes = request.graph_def().node_size();
    MasterSession::Create(
        shared_options, handle, request, [self = shared_from_this()] { return self->Ended(); },
        [self = shared_from_this(), handle, nodes, reply](auto session) {
          reply(self->Add(handle, nodes, std::move(session)));
        });
  }

  absl::Status Ended() {
    absl::MutexLock lock(&mu);
    return closed ? Closed() : absl::OkStatus();
  }

  absl::StatusOr<Message> Add(const std::string& handle, int nodes,
                              absl::StatusOr<std::shared_ptr<MasterSession>> session) {
    if (!session.ok()) return session.status();
    {
      absl::MutexLock lock(&mu);
      if (!closed) {
        (*session)->Heard();
        sessions[handle] = *session;
        if (sweep == 0) ScheduleSweep();
        proto::CreateSessionResponse response;
        response.set_session_handle(handle);
        response.set_graph_version(nodes);
        response.set_protocol_version(kProtocolVersion);
        return Pack(response);
      }
    }
    (*session)->Close(Closed(), [] {});
    return Closed();
  }

  void ScheduleSweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    sweep = options.clock->RunAfter(options.client_ttl / 4, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Sweep();
    });
  }

  // Closes the sessions whose client is gone.
  void Sweep() {
    std::vector<std::shared_ptr<MasterSession>> abandoned;
    {
      absl::MutexLock lock(&mu);
      if (closed) return;
      for (auto it = sessions.begin(); it != sessions.end();) {
        if (it->second->IsAbandoned(options.client_ttl) && !Bug(kClientsForgotten)) {
          abandoned.push_back(std::move(it->second));
          it = sessions.erase(it);
        } else {
          ++it;
        }
      }
      ScheduleSweep();
    }
    for (const auto& session : abandoned) {
      session->Close(
          absl::AbortedError(absl::StrCat("the client of session ", session->handle(), " has not been heard of for ",
                                          absl::FormatDuration(options.client_ttl))),
          [] {});
    }
  }

  absl::StatusOr<Message> KeepAlive(const proto::KeepAliveRequest& request) {
    RETURN_IF_ERROR(Find(request.session_handle()).status());
    return Pack(proto::KeepAliveResponse());
  }

  absl::Status Closed() const {
    return absl::UnavailableError(absl::StrCat("the master ", options.task, " shuts down"));
  }

  absl::StatusOr<Message> Extend(const proto::ExtendSessionRequest& request) {
    ASSIGN_OR_RETURN(auto session, Find(request.session_handle()));
    ASSIGN_OR_RETURN(int64_t version, session->Extend(request));
    proto::ExtendSessionResponse response;
    response.set_new_graph_version(version);
    return Pack(response);
  }

  absl::StatusOr<Message> MakeCallable(const proto::MakeCallableRequest& request) {
    ASSIGN_OR_RETURN(auto session, Find(request.session_handle()));
    ASSIGN_OR_RETURN(int64_t handle, session->MakeCallable(request.options()));
    proto::MakeCallableResponse response;
    response.set_handle(handle);
    return Pack(response);
  }

  absl::StatusOr<Message> ReleaseCallable(const proto::ReleaseCallableRequest& request) {
    ASSIGN_OR_RETURN(auto session, Find(request.session_handle()));
    session->ReleaseCallable(request.handle());
    return Pack(proto::ReleaseCallableResponse());
  }

  absl::StatusOr<Message> CancelStep(const proto::CancelStepRequest& request) {
    ASSIGN_OR_RETURN(auto session, Find(request.session_handle()));
    session->CancelStep(request.request_id());
    return Pack(proto::CancelStepResponse());
  }

  void Describe(const proto::DescribeStepRequest& request, Reply reply) {
    auto session = Find(request.session_handle());
    if (!session.ok()) return reply(session.status());
    (*session)->Describe(request.options(), [reply](absl::StatusOr<proto::DescribeStepResponse> response) {
      if (!response.ok()) return reply(response.status());
      reply(Pack(*response));
    });
  }

  void SetUpPartialRun(const proto::PartialRunSetupRequest& request, Reply reply) {
    auto session = Find(request.session_handle());
    if (!session.ok()) return reply(session.status());
    (*session)->SetUpPartialRun(request, std::move(reply));
  }

  void CloseOne(const proto::CloseSessionRequest& request, Reply reply) {
    std::shared_ptr<MasterSession> session;
    {
      absl::MutexLock lock(&mu);
      auto it = sessions.find(request.session_handle());
      if (it != sessions.end()) {
        session = std::move(it->second);
        sessions.erase(it);
      }
    }
    auto closed = [reply] { reply(Pack(proto::CloseSessionResponse())); };
    if (!session) return closed();  // closed already
    session->Close(absl::CancelledError("the session was closed"), closed);
  }

  absl::StatusOr<Message> State(const proto::MasterStateRequest&) {
    std::vector<std::shared_ptr<MasterSession>> all;
    {
      absl::MutexLock lock(&mu);
      for (const auto& [handle, session] : sessions) all.push_back(session);
    }
    proto::MasterView view;
    for (const auto& session : all) session->View(&view);
    return Pack(view);
  }

  absl::StatusOr<Message> ListDevices(const proto::ListDevicesRequest& request) {
    ASSIGN_OR_RETURN(auto session, Find(request.session_handle()));
    proto::ListDevicesResponse response;
    session->ListDevices(&response);
    return Pack(response);
  }

  void Reset(const proto::ResetRequest& request, Reply reply) {
    std::vector<DeviceName> filters;
    for (const std::string& f : request.device_filters()) {
      absl::StatusOr<DeviceName> name = DeviceName::Parse(f);
      if (!name.ok()) return reply(Annotate(name.status(), absl::StrCat("device_filters has '", f, "': ")));
      filters.push_back(*name);
    }
    auto tasks = std::make_shared<std::vector<std::string>>();
    for (const std::string& task : options.cluster.tasks()) {
      absl::StatusOr<DeviceName> name = DeviceName::Parse(task);
      bool wanted = filters.empty();
      for (const DeviceName& f : filters) wanted = wanted || (name.ok() && f.Matches(*name));
      if (wanted) tasks->push_back(task);
    }
    auto cleanup = std::make_shared<proto::CleanupAllRequest>();
    for (const std::string& c : request.container()) cleanup->add_container(c);
    CloseAll(absl::AbortedError("the session was closed because a client reset the cluster"),
             [self = shared_from_this(), tasks, cleanup, reply] {
               self->ResetNext(tasks, cleanup, absl::OkStatus(), reply);
             });
  }

  // Asks one task after the other; all of them, even when one fails.
  void ResetNext(std::shared_ptr<std::vector<std::string>> tasks, std::shared_ptr<proto::CleanupAllRequest> cleanup,
                 const absl::Status& failed, Reply reply) {
    if (absl::Status ended = Ended(); !ended.ok()) return reply(ended);
    if (tasks->empty()) {
      if (!failed.ok()) return reply(failed);
      return reply(Pack(proto::ResetResponse()));
    }
    const std::string task = tasks->back();
    tasks->pop_back();
    auto next = [self = shared_from_this(), tasks, cleanup, failed, reply, task](absl::StatusOr<Message> answer) {
      absl::Status first = failed;
      if (!answer.ok() && first.ok()) first = Annotate(answer.status(), absl::StrCat("resetting ", task, ": "));
      self->ResetNext(tasks, cleanup, first, reply);
    };
    absl::StatusOr<std::shared_ptr<Channel>> channel = options.connect(task);
    if (!channel.ok()) return next(channel.status());
    (*channel)->Call(absl::StrCat(Worker::kService, "CleanupAll"), Pack(*cleanup), options.heartbeat_timeout,
                     [next, keep = *channel](absl::StatusOr<Message> answer) { next(std::move(answer)); });
  }

  void CloseAll(const absl::Status& why, std::function<void()> done) {
    std::map<std::string, std::shared_ptr<MasterSession>> all;
    {
      absl::MutexLock lock(&mu);
      all.swap(sessions);
    }
    if (all.empty()) return done();
    auto open = std::make_shared<std::atomic<size_t>>(all.size());
    for (const auto& [handle, session] : all) {
      session->Close(why, [open, done] {
        if (open->fetch_sub(1) == 1) done();
      });
    }
  }

  void RunStep(Message message, Reply reply) {
    proto::RunStepRequest request;
    absl::Status status = Unpack(message, &request);
    if (!status.ok()) return reply(status);
    auto session = Find(request.session_handle());
    if (!session.ok()) return reply(session.status());
    if (request.feed_size() != static_cast<int>(message.tensors.size())) {
      return reply(
          InvalidArgument("a step with ", message.tensors.size(), " tensors for ", request.feed_size(), " feeds"));
    }
    if (!request.partial_run_handle().empty()) {
      return (*session)->RunPart(request, std::move(message.tensors), std::move(reply));
    }
    proto::CallableOptions options;
    *options.mutable_feed() = request.feed();
    *options.mutable_fetch() = request.fetch();
    *options.mutable_target() = request.target();
    absl::StatusOr<int64_t> callable = (*session)->MakeCallable(options);
    if (!callable.ok()) return reply(callable.status());
    (*session)->Run(*callable, std::move(message.tensors), request.options(), request.request_id(), std::move(reply));
  }

  void RunCallable(Message message, Reply reply) {
    // Kept by the thread, with the memory of its fields, and read before the step begins, which may lead back here.
    thread_local proto::RunCallableRequest request;
    absl::Status status = Unpack(message, &request);
    if (!status.ok()) return reply(status);
    auto session = Find(request.session_handle());
    if (!session.ok()) return reply(session.status());
    (*session)->Run(request.handle(), std::move(message.tensors), request.options(), request.request_id(),
                    std::move(reply));
  }

  template <typename Request>
  void Answer(absl::StatusOr<Message> (Impl::*method)(const Request&), const Message& message, const Reply& reply) {
    Request request;
    absl::Status valid = Unpack(message, &request);
    if (!valid.ok()) return reply(valid);
    reply((this->*method)(request));
  }

  // Off the caller's thread: importing and planning take their time.
  template <typename Request>
  void Later(void (Impl::*method)(const Request&, Reply), const Message& message, Reply reply) {
    auto request = std::make_shared<Request>();
    absl::Status valid = Unpack(message, request.get());
    if (!valid.ok()) return reply(valid);
    options.executor->Schedule(
        [self = shared_from_this(), method, request, reply = std::move(reply)] { ((*self).*method)(*request, reply); });
  }

  void ExtendLater(const proto::ExtendSessionRequest& request, Reply reply) { reply(Extend(request)); }

  const std::shared_ptr<const MasterOptions> shared_options;
  const MasterOptions& options;
  std::string prefix;
  absl::Mutex mu;
  bool closed ABSL_GUARDED_BY(mu) = false;
  int64_t next ABSL_GUARDED_BY(mu) = 1;
  Clock::TimerId sweep ABSL_GUARDED_BY(mu) = 0;
  std::map<std::string, std::shared_ptr<MasterSession>> sessions ABSL_GUARDED_BY(mu);
};

constexpr char Master::kService[];

Master::Master(MasterOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

Master::~Master() { Shutdown(); }

void Master::Handle(absl::string_view method, absl::Duration timeout, Message request, Reply reply) {
  Impl* m = impl_.get();
  if (method == "RunCallable") return m->RunCallable(std::move(request), std::move(reply));
  if (method == "RunStep") return m->RunStep(std::move(request), std::move(reply));
  if (method == "KeepAlive") return m->Answer(&Impl::KeepAlive, request, reply);
  if (method == "CancelStep") return m->Answer(&Impl::CancelStep, request, reply);
  if (method == "MakeCallable") return m->Answer(&Impl::MakeCallable, request, reply);
  if (method == "ListDevices") return m->Answer(&Impl::ListDevices, request, reply);
  if (method == "MasterState") return m->Answer(&Impl::State, request, reply);
  if (method == "ReleaseCallable") return m->Answer(&Impl::ReleaseCallable, request, reply);
  if (method == "PartialRunSetup") return m->Later(&Impl::SetUpPartialRun, request, std::move(reply));
  if (method == "CreateSession") return m->Later(&Impl::Create, request, std::move(reply));
  if (method == "ExtendSession") return m->Later(&Impl::ExtendLater, request, std::move(reply));
  if (method == "DescribeStep") return m->Later(&Impl::Describe, request, std::move(reply));
  if (method == "CloseSession") return m->Later(&Impl::CloseOne, request, std::move(reply));
  if (method == "Reset") return m->Later(&Impl::Reset, request, std::move(reply));
  reply(Unimplemented("the master ", m->options.task, " has no call ", kService, method));
}

int Master::num_sessions() const {
  absl::MutexLock lock(&impl_->mu);
  return static_cast<int>(impl_->sessions.size());
}

void Master::StartShutdown(std::function<void()> done) {
  Clock::TimerId sweep = 0;
  {
    absl::MutexLock lock(&impl_->mu);
    impl_->closed = true;
    std::swap(sweep, impl_->sweep);
  }
  if (sweep != 0) impl_->options.clock->CancelTimer(sweep);
  impl_->CloseAll(impl_->Closed(), std::move(done));
}

void Master::Shutdown() {
  auto over = std::make_shared<absl::Notification>();
  StartShutdown([over] { over->Notify(); });
  over->WaitForNotification();  // closing takes a bounded time
}

}  // namespace sluice
