// The answering side: a gRPC server whose every method goes to one handler.
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/health_check_service_interface.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"
#include "distributed/rpc/grpc_internal.h"
#include "distributed/rpc/status_codec.h"

namespace sluice {
namespace grpc_internal {
namespace {

absl::Duration TimeLeft(const grpc::GenericCallbackServerContext& context) {
  const gpr_timespec deadline = gpr_convert_clock_type(context.raw_deadline(), GPR_CLOCK_MONOTONIC);
  if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0) return absl::InfiniteDuration();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC));
  return absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec);
}

class Service;

// One call. gRPC deletes it through OnDone, which comes only after one Finish: whoever turns `finished` may finish it.
class ServerCall : public grpc::ServerGenericBidiReactor {
 public:
  ServerCall(Service* service, grpc::GenericCallbackServerContext* context);
  void OnReadDone(bool ok) override;
  void OnCancel() override { FinishOnce(finished_, grpc::Status(grpc::StatusCode::CANCELLED, "")); }
  void OnDone() override;

  static void* operator new(size_t bytes) { return TakeRecycled(bytes); }
  static void operator delete(void* p, size_t bytes) { GiveRecycled(p, bytes); }

  using Finished = std::shared_ptr<std::atomic<bool>>;
  void FinishOnce(Finished finished, const grpc::Status& status) {
    if (!finished->exchange(true)) Finish(status);
  }
  // REQUIRES: the caller turned `finished`.
  void Answer(absl::StatusOr<Message> reply) {
    if (!reply.ok()) return Finish(ToGrpcStatus(reply.status()));
    auto wire = ToWireForm(*reply);
    reply = Message();  // what was not sent by reference goes before the caller hears
    if (!wire.ok()) return Finish(ToGrpcStatus(wire.status()));
    if (wire->bytes > MaxBytes()) return Finish(ToGrpcStatus(Park(*std::move(wire))));
    Write(wire->ToByteBuffer());
  }

 private:
  size_t MaxBytes() const;
  absl::Status Park(WireForm reply);
  void Write(grpc::ByteBuffer bytes) {
    response_ = std::move(bytes);
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  }

  Service* const service_;
  grpc::GenericCallbackServerContext* const context_;
  const Finished finished_ = MakeRecycled<std::atomic<bool>>(false);
  grpc::ByteBuffer request_, response_;
};

// Answers once. A handler that lets its last copy go without an answer has failed.
class ReplyOnce {
 public:
  ReplyOnce(ServerCall* call, ServerCall::Finished finished) : call_(call), finished_(std::move(finished)) {}
  ~ReplyOnce() {
    if (!*finished_) Run(Internal("the task dropped the call without an answer"));
  }
  void Run(absl::StatusOr<Message> reply) {
    if (!finished_->exchange(true)) call_->Answer(std::move(reply));
  }

 private:
  ServerCall* const call_;  // not touched once finished
  const ServerCall::Finished finished_;
};

class Service : public grpc::CallbackGenericService {
 public:
  Service(sluice::Handler handler, const GrpcOptions& options)
      : handler_(std::move(handler)),
        services_(options.services),
        max_bytes_(std::min(options.max_message_bytes, kMaxGrpcMessageBytes)),
        parked_(std::make_shared<ParkedReplies>(std::min(max_bytes_, kPartBytes))) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    if (IsReflectionMethod(context->method())) return MakeReflectionCall(&open_, &services_);
    return new ServerCall(this, context);
  }
  const sluice::Handler& handler() const { return handler_; }
  OpenCalls* open() { return &open_; }
  size_t max_bytes() const { return max_bytes_; }
  ParkedReplies* parked() const { return parked_.get(); }
  IncomingRequests* incoming() const { return incoming_.get(); }

 private:
  const sluice::Handler handler_;  // gRPC's base class has a Handler of its own
  const std::vector<std::string> services_;
  const size_t max_bytes_;
  const std::shared_ptr<ParkedReplies> parked_;
  const std::shared_ptr<IncomingRequests> incoming_ = std::make_shared<IncomingRequests>();
  OpenCalls open_;
};

size_t ServerCall::MaxBytes() const { return service_->max_bytes(); }

absl::Status ServerCall::Park(WireForm reply) { return service_->parked()->Park(std::move(reply)); }

ServerCall::ServerCall(Service* service, grpc::GenericCallbackServerContext* context)
    : service_(service), context_(context) {
  const auto end = [this, finished = finished_](const grpc::Status& status) {
    if (!finished->exchange(true)) Finish(status);  // else the call may be gone
  };
  if (service_->open()->Add(this, end)) {
    StartRead(&request_);
  } else {
    FinishOnce(finished_, ShuttingDown());
  }
}

void ServerCall::OnReadDone(bool ok) {
  if (*finished_) return;
  if (!ok) {
    return FinishOnce(finished_, ToGrpcStatus(InvalidArgument(context_->method(), ": the call carried no message")));
  }
  if (context_->method() == kPartMethod) {
    auto part = service_->parked()->Take(&request_);
    if (finished_->exchange(true)) return;
    return part.ok() ? Write(*std::move(part)) : Finish(ToGrpcStatus(part.status()));
  }
  auto reply = MakeRecycled<ReplyOnce>(this, finished_);
  if (context_->method() == kGiveMethod) {
    absl::Status taken = service_->incoming()->Add(&request_);
    request_.Clear();
    return taken.ok() ? reply->Run(Message()) : reply->Run(taken);
  }
  const bool in_parts = context_->method() == kWholeMethod;
  std::string method;  // of a request that came in parts
  auto request = in_parts ? service_->incoming()->Take(&request_, &method) : FromByteBuffer(&request_);
  request_.Clear();
  if (!request.ok()) {
    return reply->Run(Annotate(request.status(), absl::StrCat(context_->method(), ": ")));
  }
  IncomingCall call;
  call.method = in_parts ? absl::string_view(method) : absl::string_view(context_->method());
  call.timeout = TimeLeft(*context_);
  call.way = Way::kGrpc;
  service_->handler()(call, *std::move(request),
                      [reply = std::move(reply)](absl::StatusOr<Message> answer) { reply->Run(std::move(answer)); });
}

void ServerCall::OnDone() {
  service_->open()->Remove(this);
  delete this;
}

// "host" of "host:port", without the brackets of IPv6.
absl::string_view Host(absl::string_view address) {
  absl::string_view host = address.substr(0, address.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return host;
}

bool IsLoopback(absl::string_view address) {
  if (absl::StartsWith(address, "unix:")) return true;
  const absl::string_view host = Host(address);
  return host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

// A host may stand for several addresses ("localhost": ::1 and 127.0.0.1). gRPC is content when it can bind one of
// them, and the same port of another one may belong to another process, which callers would then reach. So all must be
// free.

// Why `address` cannot be bound at `where`, with the cure; OK when it can.
absl::Status ProbeBindAt(const std::string& address, const sockaddr* where, socklen_t size) {
  const int fd = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::OkStatus();
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (where->sa_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  const int error = bind(fd, where, size) == 0 ? 0 : errno;
  close(fd);
  switch (error) {
    case EADDRINUSE:
      return absl::AlreadyExistsError(
          absl::StrCat("cannot listen on ", address,
                       ": the port is in use by another process; stop that one (see `ss -ltnp 'sport = :",
                       address.substr(address.rfind(':') + 1), "'`), or choose another port (0 takes any free one)"));
    case EACCES:
      return absl::PermissionDeniedError(
          absl::StrCat("cannot listen on ", address, ": ports below 1024 need privileges"));
    case EADDRNOTAVAIL:
      if (where->sa_family == AF_INET6) return absl::OkStatus();  // a machine without IPv6
      return InvalidArgument("cannot listen on ", address, ": the address belongs to no interface of this machine");
    default:
      return absl::OkStatus();
  }
}

// The same at every address that `address` stands for.
absl::Status ProbeBind(const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return absl::OkStatus();
  const std::string port = address.substr(address.rfind(':') + 1);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  // gRPC takes "localhost" for both loopback addresses, whatever the machine's table of hosts says.
  std::vector<std::string> hosts = {std::string(Host(address))};
  if (hosts[0] == "localhost") hosts = {"127.0.0.1", "::1"};
  for (const std::string& host : hosts) {
    addrinfo* found = nullptr;
    if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
      return InvalidArgument("cannot listen on ", address, ": the host name does not resolve (", gai_strerror(error),
                             ")");
    }
    absl::Status status;
    for (const addrinfo* a = found; a != nullptr && status.ok(); a = a->ai_next) {
      status = ProbeBindAt(address, a->ai_addr, a->ai_addrlen);
    }
    freeaddrinfo(found);
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

// A port that is free on every address of the host of `address`, or 0 (leave it to gRPC).
int PickPort(const std::string& address) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in any = {};
    any.sin_family = AF_INET;
    socklen_t size = sizeof any;
    const bool bound = fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&any), size) == 0 &&
                       getsockname(fd, reinterpret_cast<sockaddr*>(&any), &size) == 0;
    if (fd >= 0) close(fd);
    if (!bound) return 0;
    const int port = ntohs(any.sin_port);
    if (ProbeBind(absl::StrCat(address.substr(0, address.rfind(':')), ":", port)).ok()) return port;
  }
  return 0;
}

class GrpcListener : public Listener {
 public:
  GrpcListener(Handler handler, const GrpcOptions& options) : service_(std::move(handler), options) {}

  ~GrpcListener() override {
    if (!server_) return;
    if (auto* health = server_->GetHealthCheckService()) health->Shutdown();
    service_.open()->Close();
    // Every call has its answer: what is left is to write them out.
    server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(500, GPR_TIMESPAN)));
  }

  absl::Status Start(const std::string& wanted, const GrpcOptions& options) {
    RETURN_IF_ERROR(CheckAddress(wanted));
    const bool any_port = !absl::StartsWith(wanted, "unix:") && absl::EndsWith(wanted, ":0");
    const std::string address =
        any_port ? absl::StrCat(wanted.substr(0, wanted.rfind(':')), ":", PickPort(wanted)) : wanted;
    ASSIGN_OR_RETURN(auto credentials, ServerCredentials(options));
    if (options.certificate.empty() && !options.insecure_bind && !IsLoopback(address)) {
      return FailedPrecondition(
          "refusing to listen on ", address,
          ": other machines would reach it without TLS. Give certificates, listen on localhost, or "
          "allow it explicitly (insecure_bind) on a network that you trust");
    }
    RETURN_IF_ERROR(ProbeBind(address));
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.SetMaxSendMessageSize(-1);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 64 * 1024);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 4 << 20);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 4 << 20);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 20);
    int port = 0;
    builder.AddListeningPort(address, credentials, &port);
    if (!options.also_listen.empty() && options.certificate.empty()) {
      builder.AddListeningPort(options.also_listen, credentials);
    }
    builder.RegisterCallbackGenericService(&service_);
    server_ = builder.BuildAndStart();
    const bool is_unix = absl::StartsWith(address, "unix:");
    if (!server_ || (port == 0 && !is_unix)) {
      server_.reset();
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", address, ": gRPC could not bind it; is it in use by another process?"));
    }
    address_ = is_unix ? address : absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
    return absl::OkStatus();
  }

  const std::string& address() const override { return address_; }

 private:
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace

grpc::Status ShuttingDown() {
  return ToGrpcStatus(TransportError(absl::StatusCode::kUnavailable, "the task is shutting down"));
}

bool OpenCalls::Add(const grpc::ServerGenericBidiReactor* call, End end) {
  absl::MutexLock lock(&mu_);
  calls_.emplace(call, std::move(end));
  return !closing_;
}

void OpenCalls::Remove(const grpc::ServerGenericBidiReactor* call) {
  absl::MutexLock lock(&mu_);
  calls_.erase(call);
}

void OpenCalls::Close() {
  std::vector<End> ends;
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
    for (const auto& [call, end] : calls_) ends.push_back(end);
  }
  for (const End& end : ends) end(ShuttingDown());
}

absl::StatusOr<std::unique_ptr<Listener>> MakeListener(const std::string& address, const GrpcOptions& options,
                                                       Handler handler) {
  absl::Status status;
  for (int attempt = 0; attempt < 3; ++attempt) {
    auto listener = std::make_unique<GrpcListener>(handler, options);
    status = listener->Start(address, options);
    if (status.ok()) return listener;
    // Somebody was quicker to take the free port that was picked.
    if (!absl::EndsWith(address, ":0") || absl::IsInvalidArgument(status)) break;
  }
  return status;
}

}  // namespace grpc_internal
}  // namespace sluice
