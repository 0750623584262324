// The calling side: one gRPC channel, with the calls that are under way.
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <unordered_set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "core/base/clock.h"
#include "core/base/recycled_memory.h"
#include "core/base/shared_function.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "distributed/rpc/call.h"
#include "distributed/rpc/grpc_internal.h"
#include "distributed/rpc/status.pb.h"
#include "distributed/rpc/status_codec.h"
#include "distributed/rpc/tls_diagnosis.h"

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

// What is wrong with the TLS of a peer, by its address and what we show and trust: channels come and go while one is
// waited for.
struct Finding {
  bool looking = false;
  absl::Time looked = absl::InfinitePast();
  std::string found;                           // empty: nothing
  std::vector<std::function<void()>> waiting;  // for who looks, to tell their callers
};
struct Findings {
  absl::Mutex mu;
  std::map<std::string, Finding> by_key ABSL_GUARDED_BY(mu);
};
Findings& FindingsOfProcess() {
  static auto* findings = new Findings;
  return *findings;
}

class GrpcChannel : public Channel {
 public:
  GrpcChannel(std::string address, std::shared_ptr<grpc::Channel> channel, const GrpcOptions& options)
      : state_(std::make_shared<State>(std::move(address), std::move(channel), options)) {}

  ~GrpcChannel() override {
    Calls calls;
    {
      absl::MutexLock lock(&state_->mu);
      state_->dropped = true;
      calls = state_->calls;
    }
    for (const auto& call : calls) call->context.TryCancel();
  }

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    auto wire = ToWireForm(request);
    absl::Status refused = wire.status();
    if (wire.ok() && wire->bytes > kMaxMessageBytes) {
      refused = TransportError(absl::StatusCode::kResourceExhausted,
                               absl::StrCat("a request of ", wire->bytes, " bytes: a call carries at most ",
                                            kMaxMessageBytes, "; send the tensors in several calls"));
    }
    if (!refused.ok()) {
      SystemClock()->RunAfter(absl::ZeroDuration(), [done, refused] { done(refused); });
      return;
    }
    Ended ended = [state = state_, done = std::move(done)](const absl::Status& status, Pending& call) {
      if (status.ok()) return done(FromByteBuffer(&call.response));
      absl::optional<absl::Cord> offer = status.GetPayload(kPartsPayload);
      if (!offer.has_value()) return done(status);
      state->FetchParts(std::string(*offer), call, done);
    };
    if (wire->bytes > state_->max_bytes) return state_->SendParts(method, *std::move(wire), timeout, std::move(ended));
    state_->Start(method, wire->ToByteBuffer(), timeout, std::move(ended), method);
  }

  std::string Describe() const override { return absl::StrCat("grpc ", state_->address); }
  Way way() const override { return Way::kGrpc; }

 private:
  struct Pending;
  // OK, or the error as callers see it.
  using Ended = SharedFunction<void(const absl::Status& status, Pending& call)>;

  struct Pending {
    grpc::ClientContext context;
    grpc::ByteBuffer request, response;
    Bytes method;
    absl::Duration timeout, deadline;
    absl::Time began;
    Ended ended;
  };

  // A request that goes in parts.
  struct Upload {
    WireForm request;  // until all of it has gone
    std::string method;
    uint64_t id = 0, bytes = 0, part_bytes = 0;
    absl::Duration deadline;
    Ended ended;
    absl::Mutex mu;
    uint64_t next ABSL_GUARDED_BY(mu) = 0;
    size_t open ABSL_GUARDED_BY(mu) = 0;
    bool failed ABSL_GUARDED_BY(mu) = false;
  };

  // A reply that comes in parts.
  struct Fetch {
    uint64_t id = 0, bytes = 0, part_bytes = 0;
    Bytes method;
    absl::Duration deadline;
    Reply done;
    absl::Mutex mu;
    uint64_t next ABSL_GUARDED_BY(mu) = 0;
    size_t open ABSL_GUARDED_BY(mu) = 0;
    bool failed ABSL_GUARDED_BY(mu) = false;
    std::map<uint64_t, grpc::ByteBuffer> parts ABSL_GUARDED_BY(mu);  // by offset
  };
  static constexpr size_t kPartsAtOnce = 2;

  using Calls =
      std::unordered_set<std::shared_ptr<Pending>, std::hash<std::shared_ptr<Pending>>,
                         std::equal_to<std::shared_ptr<Pending>>, RecyclingAllocator<std::shared_ptr<Pending>>>;

  // Outlives the channel until the last call has ended.
  struct State : std::enable_shared_from_this<State> {
    State(std::string a, std::shared_ptr<grpc::Channel> c, const GrpcOptions& o)
        : address(std::move(a)),
          options(o),
          tls(!o.root_certificates.empty()),
          finding_key(absl::StrCat(address, "\n", o.server_name, "\n", o.root_certificates, o.certificate)),
          max_bytes(std::min(o.max_message_bytes, kMaxGrpcMessageBytes)),
          stub(std::move(c)) {}

    // The connection failed in a way that TLS may explain.
    bool MayBeTls(const grpc::Status& status) const {
      if (status.error_code() != grpc::StatusCode::UNAVAILABLE || !status.error_details().empty()) return false;
      return !absl::StrContains(status.error_message(), "onnection refused") &&
             !absl::StrContains(status.error_message(), "DNS resolution failed") &&
             !absl::StrContains(status.error_message(), "eepalive");
    }

    // `named`: the call in errors.
    void Start(const std::string& method, grpc::ByteBuffer request, absl::Duration timeout, Ended ended,
               absl::string_view named) {
      auto call = MakeRecycled<Pending>();
      call->method = Bytes(named);
      call->timeout = timeout;
      call->deadline = SystemClock()->Now() + timeout;
      call->began = absl::Now();
      call->ended = std::move(ended);
      call->request = std::move(request);
      call->context.set_deadline(DeadlineAfter(timeout));
      bool gone = false;
      {
        absl::MutexLock lock(&mu);
        calls.insert(call);
        gone = dropped;
      }
      if (gone) call->context.TryCancel();  // the next part of something whose caller has gone
      Pending* raw = call.get();
      using OnStatus = SharedFunction<void(grpc::Status)>;
      stub.UnaryCall(&raw->context, method, grpc::StubOptions(), &raw->request, &raw->response,
                     OnStatus::ExactlyOnce([state = shared_from_this(), call = std::move(call)](grpc::Status status) {
                       bool was_dropped;
                       {
                         absl::MutexLock lock(&state->mu);
                         state->calls.erase(call);
                         was_dropped = state->dropped;
                       }
                       Ended ended = std::move(call->ended);
                       if (status.ok()) return ended(absl::OkStatus(), *call);
                       if (!was_dropped && state->MayBeTls(status)) return ExplainLater(state, status, call, ended);
                       ended(state->Explain(status, *call, was_dropped), *call);
                     }));
    }

    void SendParts(const std::string& method, WireForm request, absl::Duration timeout, Ended ended) {
      auto upload = std::make_shared<Upload>();
      upload->bytes = request.bytes;
      upload->request = std::move(request);
      upload->method = method;
      upload->id = NewPartsId();
      upload->part_bytes = std::min(max_bytes, kPartBytes);
      upload->deadline = SystemClock()->Now() + timeout;
      upload->ended = std::move(ended);
      SendNext(upload);
    }

    void SendNext(const std::shared_ptr<Upload>& upload) {
      while (true) {
        uint64_t offset = 0, bytes = 0;
        {
          absl::MutexLock lock(&upload->mu);
          const uint64_t left = upload->bytes - upload->next;
          if (upload->failed || left == 0 || upload->open == kPartsAtOnce) return;
          ++upload->open;
          offset = upload->next;
          bytes = std::min(upload->part_bytes, left);
          upload->next += bytes;
        }
        Start(
            kGiveMethod, PartOfRequest(upload->request, upload->id, offset, bytes), TimeLeft(upload->deadline),
            [state = shared_from_this(), upload](const absl::Status& status, Pending& call) {
              state->Sent(upload, status, call);
            },
            upload->method);
      }
    }

    void Sent(const std::shared_ptr<Upload>& upload, const absl::Status& status, Pending& call) {
      bool all = false;
      {
        absl::MutexLock lock(&upload->mu);
        if (upload->failed) return;
        --upload->open;
        upload->failed = !status.ok();
        all = upload->next == upload->bytes && upload->open == 0;
      }
      if (!status.ok()) return upload->ended(status, call);
      if (!all) return SendNext(upload);
      proto::WholeRequest whole;  // nobody else comes any more
      whole.set_id(upload->id);
      whole.set_bytes(upload->bytes);
      whole.set_method(upload->method);
      upload->request = WireForm();
      Start(kWholeMethod, ToWireForm(Pack(whole))->ToByteBuffer(), TimeLeft(upload->deadline), std::move(upload->ended),
            upload->method);
    }

    static absl::Duration TimeLeft(absl::Duration deadline) {
      return std::max(deadline - SystemClock()->Now(), absl::Milliseconds(1));
    }

    void FetchParts(const std::string& offered, const Pending& call, Reply done) {
      proto::PartsOffer offer;
      if (!offer.ParseFromString(offered) || offer.part_bytes() == 0 || offer.bytes() > kMaxMessageBytes) {
        return done(
            TransportError(absl::StatusCode::kInternal,
                           absl::StrCat("the task at ", address, " offers a reply in parts that make no sense")));
      }
      auto fetch = std::make_shared<Fetch>();
      fetch->id = offer.id();
      fetch->bytes = offer.bytes();
      fetch->part_bytes = offer.part_bytes();
      fetch->deadline = call.deadline;
      fetch->method = call.method;
      fetch->done = std::move(done);
      FetchNext(fetch);
    }

    void FetchNext(const std::shared_ptr<Fetch>& fetch) {
      while (true) {
        proto::PartRequest part;
        {
          absl::MutexLock lock(&fetch->mu);
          if (fetch->failed || fetch->next == fetch->bytes || fetch->open == kPartsAtOnce) return;
          ++fetch->open;
          part.set_id(fetch->id);
          part.set_offset(fetch->next);
          part.set_bytes(std::min(fetch->part_bytes, fetch->bytes - fetch->next));
          fetch->next += part.bytes();
        }
        Start(kPartMethod, ToWireForm(Pack(part))->ToByteBuffer(), TimeLeft(fetch->deadline),
              [state = shared_from_this(), fetch, offset = part.offset(), bytes = part.bytes()](
                  const absl::Status& status, Pending& call) { state->Fetched(fetch, offset, bytes, status, call); },
              {fetch->method.data(), fetch->method.size()});
      }
    }

    void Fetched(const std::shared_ptr<Fetch>& fetch, uint64_t offset, uint64_t bytes, absl::Status status,
                 Pending& call) {
      if (status.ok() && call.response.Length() != bytes) {
        status = TransportError(absl::StatusCode::kInternal, absl::StrCat("a part of ", call.response.Length(),
                                                                          " bytes came, ", bytes, " were wanted"));
      }
      bool all = false;
      {
        absl::MutexLock lock(&fetch->mu);
        if (fetch->failed) return;
        --fetch->open;
        if (status.ok()) {
          fetch->parts[offset].Swap(&call.response);
          all = fetch->next == fetch->bytes && fetch->open == 0;
        } else {
          fetch->failed = true;
        }
      }
      if (!status.ok()) return fetch->done(status);
      if (!all) return FetchNext(fetch);
      std::vector<grpc::Slice> slices, part;
      absl::MutexLock lock(&fetch->mu);  // nobody else comes any more
      for (auto& [at, buffer] : fetch->parts) {
        const grpc::Status dumped = buffer.Dump(&part);
        if (!dumped.ok()) return fetch->done(Internal("gRPC could not hand over a message: ", dumped.error_message()));
        std::move(part.begin(), part.end(), std::back_inserter(slices));
        part.clear();
        buffer.Clear();
      }
      fetch->done(FromSlices(slices));
    }

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
        case grpc::StatusCode::UNAVAILABLE:
          return TransportError(absl::StatusCode::kUnavailable, absl::StrCat(what, ": ", status.error_message()));
        default:
          return TransportError(static_cast<absl::StatusCode>(status.error_code()),
                                absl::StrCat(what, ": ", status.error_message()));
      }
    }

    const std::string address;
    const GrpcOptions options;
    const bool tls;
    const std::string finding_key;
    const size_t max_bytes;
    grpc::GenericStub stub;
    absl::Mutex mu;
    Calls calls ABSL_GUARDED_BY(mu);
    bool dropped ABSL_GUARDED_BY(mu) = false;
  };

  // Looks what is wrong with the TLS of the two, within the call's time, and then answers.
  static void ExplainLater(std::shared_ptr<State> state, grpc::Status status, std::shared_ptr<Pending> call,
                           Ended ended) {
    const absl::Duration left = call->began + call->timeout - absl::Now();
    const absl::Duration limit = std::min(state->tls ? absl::Seconds(2) : absl::Milliseconds(500), left);
    Findings& findings = FindingsOfProcess();
    bool look = false;
    {
      absl::MutexLock lock(&findings.mu);
      if (findings.by_key.size() > 1000) {
        for (auto it = findings.by_key.begin(); it != findings.by_key.end();) {
          it = it->second.looking ? std::next(it) : findings.by_key.erase(it);
        }
      }
      Finding& f = findings.by_key[state->finding_key];
      // One looks at a time, and others take what it finds.
      look = limit > absl::Milliseconds(20) && !f.looking && absl::Now() - f.looked > absl::Seconds(5);
      f.looking = f.looking || look;
    }
    auto answer = [state, status = std::move(status), call, ended = std::move(ended)] {
      absl::Status error = state->Explain(status, *call, false);
      std::string why;
      {
        absl::MutexLock lock(&FindingsOfProcess().mu);
        const Finding& f = FindingsOfProcess().by_key[state->finding_key];
        if (absl::Now() - f.looked < absl::Seconds(30)) why = f.found;
      }
      if (why.empty()) return ended(error, *call);
      ended(
          TransportError(absl::StatusCode::kUnavailable, absl::StrCat(call->method, " to the task at ", state->address,
                                                                      ": ", why, " [", error.message(), "]")),
          *call);
    };
    if (!look) {
      absl::MutexLock lock(&findings.mu);
      Finding& f = findings.by_key[state->finding_key];
      if (f.looking && limit > absl::Milliseconds(20)) {
        f.waiting.push_back(std::move(answer));
        return;
      }
    }
    if (!look) return answer();
    static ThreadPool* const pool = new ThreadPool(1);  // lives as long as the process
    pool->ScheduleBlocking([state, limit, answer = std::move(answer)] {
      std::string why = DiagnoseTls(state->address, state->options, limit);
      std::vector<std::function<void()>> waiting;
      {
        absl::MutexLock lock(&FindingsOfProcess().mu);
        Finding& f = FindingsOfProcess().by_key[state->finding_key];
        waiting.swap(f.waiting);
        f.looking = false;
        f.looked = absl::Now();
        f.found = std::move(why);
      }
      answer();
      for (const auto& tell : waiting) tell();
    });
  }

  const std::shared_ptr<State> state_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Channel>> MakeChannel(const std::string& address, const GrpcOptions& options) {
  RETURN_IF_ERROR(CheckAddress(address));
  ASSIGN_OR_RETURN(auto credentials, ClientCredentials(options));
  auto channel = grpc::CreateCustomChannel(address, credentials, Arguments(options));
  return std::make_shared<GrpcChannel>(address, std::move(channel), options);
}

}  // namespace grpc_internal
}  // namespace sluice
