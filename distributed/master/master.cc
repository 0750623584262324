#include "distributed/master/master.h"

#include <atomic>
#include <map>
#include <random>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "core/base/status.h"
#include "distributed/master/master_session.h"
#include "distributed/proto/master.pb.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/worker/worker.h"

namespace sluice {

struct Master::Impl : public std::enable_shared_from_this<Master::Impl> {
  explicit Impl(MasterOptions o) : options(std::move(o)) {
    std::random_device random;
    prefix = absl::StrCat("s", absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8), "_");
  }

  absl::StatusOr<std::shared_ptr<MasterSession>> Find(const std::string& handle) {
    absl::MutexLock lock(&mu);
    auto it = sessions.find(handle);
    if (it != sessions.end()) return it->second;
    return absl::AbortedError(absl::StrCat("session ", handle, " is not known to the master ", options.task,
                                           ": it was closed or the master has restarted; it must be created again"));
  }

  absl::StatusOr<Message> Create(const proto::CreateSessionRequest& request) {
    std::string handle;
    {
      absl::MutexLock lock(&mu);
      if (closed) return absl::UnavailableError(absl::StrCat("the master ", options.task, " shuts down"));
      handle = absl::StrCat(prefix, next++);
    }
    ASSIGN_OR_RETURN(std::shared_ptr<MasterSession> session, MasterSession::Create(&options, handle, request));
    proto::CreateSessionResponse response;
    response.set_session_handle(handle);
    response.set_graph_version(request.graph_def().node_size());
    absl::MutexLock lock(&mu);
    if (closed) return absl::UnavailableError(absl::StrCat("the master ", options.task, " shuts down"));
    sessions[handle] = std::move(session);
    return Pack(response);
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

  absl::StatusOr<Message> Describe(const proto::DescribeStepRequest& request) {
    ASSIGN_OR_RETURN(auto session, Find(request.session_handle()));
    ASSIGN_OR_RETURN(proto::DescribeStepResponse response, session->Describe(request.options()));
    return Pack(response);
  }

  absl::StatusOr<Message> CloseOne(const proto::CloseSessionRequest& request) {
    std::shared_ptr<MasterSession> session;
    {
      absl::MutexLock lock(&mu);
      auto it = sessions.find(request.session_handle());
      if (it == sessions.end()) return Pack(proto::CloseSessionResponse());  // closed already
      session = std::move(it->second);
      sessions.erase(it);
    }
    session->Close(absl::CancelledError("the session was closed"));
    return Pack(proto::CloseSessionResponse());
  }

  absl::StatusOr<Message> ListDevices(const proto::ListDevicesRequest& request) {
    ASSIGN_OR_RETURN(auto session, Find(request.session_handle()));
    proto::ListDevicesResponse response;
    session->ListDevices(&response);
    return Pack(response);
  }

  absl::StatusOr<Message> Reset(const proto::ResetRequest& request) {
    CloseAll(absl::AbortedError("the session was closed because a client reset the cluster"));
    std::vector<DeviceName> filters;
    for (const std::string& f : request.device_filters()) {
      absl::StatusOr<DeviceName> name = DeviceName::Parse(f);
      if (!name.ok()) return Annotate(name.status(), absl::StrCat("device_filters has '", f, "': "));
      filters.push_back(*name);
    }
    proto::CleanupAllRequest cleanup;
    for (const std::string& c : request.container()) cleanup.add_container(c);
    absl::Status failed;
    for (const std::string& task : options.cluster.tasks()) {
      ASSIGN_OR_RETURN(DeviceName name, DeviceName::Parse(task));
      bool wanted = filters.empty();
      for (const DeviceName& f : filters) wanted = wanted || f.Matches(name);
      if (!wanted) continue;
      ASSIGN_OR_RETURN(std::shared_ptr<Channel> channel, options.connect(task));
      absl::Status status = CallAndWait(*channel, absl::StrCat(Worker::kService, "CleanupAll"), Pack(cleanup),
                                        options.heartbeat_timeout)
                                .status();
      if (!status.ok() && failed.ok()) failed = Annotate(status, absl::StrCat("resetting ", task, ": "));
    }
    if (!failed.ok()) return failed;
    return Pack(proto::ResetResponse());
  }

  void CloseAll(const absl::Status& why) {
    std::map<std::string, std::shared_ptr<MasterSession>> all;
    {
      absl::MutexLock lock(&mu);
      all.swap(sessions);
    }
    for (const auto& [handle, session] : all) session->Close(why);
  }

  void RunStep(Message message, Reply reply) {
    proto::RunStepRequest request;
    absl::Status status = Unpack(message, &request);
    if (!status.ok()) return reply(status);
    auto session = Find(request.session_handle());
    if (!session.ok()) return reply(session.status());
    if (request.feed_size() != static_cast<int>(message.tensors.size())) {
      return reply(InvalidArgument("a step with ", message.tensors.size(), " tensors for ", request.feed_size(), " feeds"));
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
    proto::RunCallableRequest request;
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

  // On a thread that may block.
  template <typename Request>
  void AnswerLater(absl::StatusOr<Message> (Impl::*method)(const Request&), Message message, Reply reply) {
    options.pool->ScheduleBlocking([self = shared_from_this(), method, message = std::move(message),
                                    reply = std::move(reply)] { self->Answer(method, message, reply); });
  }

  const MasterOptions options;
  std::string prefix;
  absl::Mutex mu;
  bool closed ABSL_GUARDED_BY(mu) = false;
  int64_t next ABSL_GUARDED_BY(mu) = 1;
  std::map<std::string, std::shared_ptr<MasterSession>> sessions ABSL_GUARDED_BY(mu);
};

constexpr char Master::kService[];

Master::Master(MasterOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

Master::~Master() { Shutdown(); }

void Master::Handle(absl::string_view method, absl::Duration timeout, Message request, Reply reply) {
  Impl* m = impl_.get();
  if (method == "RunCallable") return m->RunCallable(std::move(request), std::move(reply));
  if (method == "RunStep") return m->RunStep(std::move(request), std::move(reply));
  if (method == "CancelStep") return m->Answer(&Impl::CancelStep, request, reply);
  if (method == "MakeCallable") return m->Answer(&Impl::MakeCallable, request, reply);
  if (method == "ListDevices") return m->Answer(&Impl::ListDevices, request, reply);
  if (method == "CreateSession") return m->AnswerLater(&Impl::Create, std::move(request), std::move(reply));
  if (method == "ExtendSession") return m->AnswerLater(&Impl::Extend, std::move(request), std::move(reply));
  if (method == "ReleaseCallable") return m->AnswerLater(&Impl::ReleaseCallable, std::move(request), std::move(reply));
  if (method == "DescribeStep") return m->AnswerLater(&Impl::Describe, std::move(request), std::move(reply));
  if (method == "CloseSession") return m->AnswerLater(&Impl::CloseOne, std::move(request), std::move(reply));
  if (method == "Reset") return m->AnswerLater(&Impl::Reset, std::move(request), std::move(reply));
  reply(Unimplemented("the master ", m->options.task, " has no call ", kService, method));
}

void Master::Shutdown() {
  {
    absl::MutexLock lock(&impl_->mu);
    impl_->closed = true;
  }
  impl_->CloseAll(absl::UnavailableError(absl::StrCat("the master ", impl_->options.task, " shuts down")));
}

}  // namespace sluice
