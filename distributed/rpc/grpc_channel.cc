// The calling side: one gRPC channel, with the calls that are under way.
#include <grpcpp/generic/generic_stub.h>

#include <unordered_set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "distributed/rpc/grpc_internal.h"
#include "distributed/rpc/status_codec.h"

namespace sluice {
namespace grpc_internal {

gpr_timespec DeadlineAfter(absl::Duration timeout) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(absl::ToInt64Nanoseconds(timeout), GPR_TIMESPAN));
}

namespace {

grpc::ChannelArguments Arguments(const GrpcOptions& options) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  args.SetMaxSendMessageSize(-1);
  args.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 64 * 1024);
  // A silent peer is found dead within ten seconds.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_HTTP2_MIN_SENT_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  // A task that comes back is found within a second.
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  args.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
  // One connection for each channel: a peer's restart is seen by its own channel only.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Calls are never repeated behind the caller's back, nor sent through a proxy of the environment.
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 4 << 20);
  args.SetInt(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 4 << 20);
  args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 20);
  if (!options.server_name.empty()) args.SetSslTargetNameOverride(options.server_name);
  return args;
}

class GrpcChannel : public Channel {
 public:
  GrpcChannel(std::string address, std::shared_ptr<grpc::Channel> channel, bool tls)
      : state_(std::make_shared<State>(std::move(address), std::move(channel), tls)) {}

  ~GrpcChannel() override {
    std::unordered_set<std::shared_ptr<Pending>> calls;
    {
      absl::MutexLock lock(&state_->mu);
      state_->dropped = true;
      calls = state_->calls;
    }
    for (const auto& call : calls) call->context.TryCancel();
  }

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    auto bytes = ToByteBuffer(request);
    if (!bytes.ok()) {
      SystemClock()->RunAfter(absl::ZeroDuration(), [done, status = bytes.status()] { done(status); });
      return;
    }
    auto call = std::make_shared<Pending>();
    call->method = method;
    call->timeout = timeout;
    call->done = std::move(done);
    call->request = *std::move(bytes);
    call->context.set_deadline(DeadlineAfter(timeout));
    {
      absl::MutexLock lock(&state_->mu);
      state_->calls.insert(call);
    }
    Pending* raw = call.get();
    state_->stub.UnaryCall(&raw->context, method, grpc::StubOptions(), &raw->request, &raw->response,
                           [state = state_, call = std::move(call)](grpc::Status status) {
                             bool dropped;
                             {
                               absl::MutexLock lock(&state->mu);
                               state->calls.erase(call);
                               dropped = state->dropped;
                             }
                             Reply done = std::move(call->done);
                             if (status.ok()) {
                               done(FromByteBuffer(&call->response));
                             } else {
                               done(state->Explain(status, *call, dropped));
                             }
                           });
  }

  std::string Describe() const override { return absl::StrCat("grpc ", state_->address); }

 private:
  struct Pending {
    grpc::ClientContext context;
    grpc::ByteBuffer request, response;
    std::string method;
    absl::Duration timeout;
    Reply done;
  };

  // Outlives the channel until the last call has ended.
  struct State {
    State(std::string a, std::shared_ptr<grpc::Channel> c, bool t)
        : address(std::move(a)), tls(t), stub(std::move(c)) {}

    // What gRPC said, as the error of this call.
    absl::Status Explain(const grpc::Status& status, const Pending& call, bool was_dropped) const {
      absl::Status from_handler;
      if (DecodeStatus(status.error_details(), &from_handler)) return from_handler;
      const std::string what = absl::StrCat(call.method, " to the task at ", address);
      switch (status.error_code()) {
        case grpc::StatusCode::DEADLINE_EXCEEDED:
          return TransportError(absl::StatusCode::kDeadlineExceeded,
                                absl::StrCat(what, " did not end within ", absl::FormatDuration(call.timeout)));
        case grpc::StatusCode::CANCELLED:
          if (was_dropped) {
            return TransportError(absl::StatusCode::kCancelled, absl::StrCat(what, ": the caller dropped the channel"));
          }
          return TransportError(absl::StatusCode::kUnavailable, absl::StrCat(what, ": the task shut down"));
        case grpc::StatusCode::UNAVAILABLE: {
          std::string cure;
          if (tls &&
              (absl::StrContains(status.error_message(), "andshake") ||
               absl::StrContains(status.error_message(), "Ssl") || absl::StrContains(status.error_message(), "SSL"))) {
            cure =
                " (TLS: is the certificate of either side expired, made for another name, or not signed by the other's "
                "root "
                "certificates, and does the task speak TLS?)";
          }
          return TransportError(absl::StatusCode::kUnavailable, absl::StrCat(what, ": ", status.error_message(), cure));
        }
        default:
          return TransportError(static_cast<absl::StatusCode>(status.error_code()),
                                absl::StrCat(what, ": ", status.error_message()));
      }
    }

    const std::string address;
    const bool tls;
    grpc::GenericStub stub;
    absl::Mutex mu;
    std::unordered_set<std::shared_ptr<Pending>> calls ABSL_GUARDED_BY(mu);
    bool dropped ABSL_GUARDED_BY(mu) = false;
  };

  const std::shared_ptr<State> state_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Channel>> MakeChannel(const std::string& address, const GrpcOptions& options) {
  RETURN_IF_ERROR(CheckAddress(address));
  ASSIGN_OR_RETURN(auto credentials, ClientCredentials(options));
  auto channel = grpc::CreateCustomChannel(address, credentials, Arguments(options));
  return std::make_shared<GrpcChannel>(address, std::move(channel), !options.root_certificates.empty());
}

}  // namespace grpc_internal
}  // namespace sluice
