#include "distributed/transport/negotiate.h"

#include <sys/random.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "distributed/rpc/call.h"
#include "distributed/rpc/pending_calls.h"
#include "distributed/rpc/status_codec.h"
#include "distributed/transport/endpoints.pb.h"
#include "distributed/transport/inproc_transport.h"

namespace sluice {
namespace {

constexpr char kEndpointsMethod[] = "/sluice.Transport/Endpoints";
constexpr char kPingMethod[] = "/sluice.Transport/Ping";
constexpr absl::Duration kAskTimeout = absl::Seconds(5);
constexpr char kGrpcPrefix[] = "grpc:";  // of an address that gRPC connects to

std::string RandomHex(size_t bytes) {
  std::string out(bytes, '\0');
  SLUICE_CHECK(getrandom(&out[0], bytes, 0) == static_cast<ssize_t>(bytes));
  return absl::BytesToHexString(out);
}

std::string HostOf(absl::string_view address) { return std::string(address.substr(0, address.rfind(':'))); }

bool IsLoopback(absl::string_view host) {
  return host == "localhost" || host == "[::1]" || host == "::1" || absl::StartsWith(host, "127.");
}

class SetListener : public Listener {
 public:
  static absl::StatusOr<std::unique_ptr<Listener>> Make(const std::string& address, const TransportSetOptions& options,
                                                        Handler user) {
    auto self = std::make_unique<SetListener>();
    proto::Endpoints endpoints;
    endpoints.set_host(HostIdentity());
    endpoints.set_token(RandomHex(16));
    auto handler = [user = std::move(user)](const IncomingCall& call, Message request, Reply reply) {
      if (call.method == kPingMethod) return reply(Message());
      user(call, std::move(request), std::move(reply));
    };
    ASSIGN_OR_RETURN(self->inproc_, MakeInprocTransport()->Listen(absl::StrCat("inproc:", RandomHex(8)), handler));
    endpoints.set_instance(self->inproc_->address());
    SocketOptions sockets = options.sockets;
    sockets.token = endpoints.token();
    sockets.insecure_bind = options.grpc.insecure_bind;
    const auto offer = [&](const std::string& at, std::unique_ptr<Listener>* listener) {
      auto made = MakeSocketTransport(sockets)->Listen(at, handler);
      if (!made.ok()) return;  // gRPC stays
      *listener = *std::move(made);
      endpoints.add_addresses((*listener)->address());
    };
    offer(absl::StrCat("shm:@sluice-", RandomHex(8)), &self->unix_);
    const bool plain = options.grpc.certificate.empty();
    if (plain) {
      const std::string host = absl::StartsWith(address, "unix:") ? "localhost" : HostOf(address);
      offer(absl::StrCat("tcp:", host, ":0"), &self->tcp_);
    }
    GrpcOptions grpc = options.grpc;
    if (plain) {
      grpc.also_listen = absl::StrCat("unix-abstract:sluice-", RandomHex(8));
      endpoints.add_addresses(absl::StrCat(kGrpcPrefix, grpc.also_listen));
    }
    auto grpc_handler = [handler, told = endpoints.SerializeAsString()](const IncomingCall& call, Message request,
                                                                        Reply reply) {
      if (call.method == kEndpointsMethod) return reply(Message(told));
      handler(call, std::move(request), std::move(reply));
    };
    ASSIGN_OR_RETURN(self->grpc_, MakeGrpcTransport(grpc)->Listen(address, grpc_handler));
    return self;
  }

  const std::string& address() const override { return grpc_->address(); }

 private:
  // gRPC goes first: nobody is told of the others any more.
  std::unique_ptr<Listener> inproc_, unix_, tcp_, grpc_;
};

class SetChannel : public Channel {
 public:
  SetChannel(std::string address, const TransportSetOptions& options, std::shared_ptr<Channel> grpc)
      : state_(std::make_shared<State>(std::move(address), options, std::move(grpc))) {}

  ~SetChannel() override {
    std::shared_ptr<Channel> way, grpc;
    {
      absl::MutexLock lock(&state_->mu);
      state_->dropped = true;
      way = std::move(state_->way);
      grpc = std::move(state_->grpc);
      state_->waiting.clear();
    }
    state_->calls->FailAllLater(absl::StatusCode::kCancelled, "the caller dropped the channel");
  }

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    state_->Call(method, std::move(request), timeout, std::move(done));
  }

  std::string Describe() const override {
    absl::MutexLock lock(&state_->mu);
    return state_->way ? absl::StrCat(state_->address, " by ", state_->way->Describe()) : state_->grpc->Describe();
  }
  Way way() const override {
    absl::MutexLock lock(&state_->mu);
    if (state_->way) return state_->way->way();
    // A call waits for the way that is prescribed.
    for (int w = 0; w < kWays; ++w) {
      if (!state_->AnyWay() && state_->options.force == kWayNames[w]) return static_cast<Way>(w);
    }
    return state_->grpc->way();
  }

 private:
  struct Waiting {
    uint64_t id;
    std::string method;
    Message request;
  };

  struct State : std::enable_shared_from_this<State> {
    State(std::string a, const TransportSetOptions& o, std::shared_ptr<Channel> g)
        : address(std::move(a)),
          options(o),
          calls(std::make_shared<PendingCalls>(absl::StrCat("the task at ", address))),
          grpc(std::move(g)) {}

    void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) {
      std::shared_ptr<Channel> by;
      bool ask = false;
      uint64_t watched = 0;  // the attempt that found a way which cannot say that it was lost
      {
        absl::MutexLock lock(&mu);
        if (!inproc.empty() && !IsInprocListener(inproc)) Forget();
        ask = phase == kUnknown;
        if (ask) phase = kAsking;
        by = way ? way : grpc;
        if (way && way_is_grpc) watched = used_attempt;
        if (phase == kAsking && !AnyWay()) {  // no other way will do
          by = nullptr;
          waiting.push_back({calls->Add(method, timeout, std::move(done)), method, std::move(request)});
        }
      }
      if (ask) Ask();
      if (by == nullptr) return;
      if (watched == 0) return by->Call(method, std::move(request), timeout, std::move(done));
      by->Call(method, std::move(request), timeout,
               [weak = weak_from_this(), watched, done = std::move(done)](absl::StatusOr<Message> reply) {
                 if (absl::IsUnavailable(reply.status()) && reply.status().GetPayload(kTransportPayload).has_value()) {
                   if (auto self = weak.lock()) self->Lost(watched);
                 }
                 done(std::move(reply));
               });
    }

    // gRPC will do while another way is looked for, and when there is none.
    bool AnyWay() const { return options.force.empty() || options.force == "grpc"; }

    void Ask() {
      std::shared_ptr<Channel> by;
      {
        absl::MutexLock lock(&mu);
        by = grpc;
      }
      if (!by) return;
      by->Call(kEndpointsMethod, Message(), kAskTimeout, [weak = weak_from_this()](absl::StatusOr<Message> reply) {
        auto self = weak.lock();
        if (!self) return;
        proto::Endpoints endpoints;
        if (!reply.ok()) {
          // A peer that knows no such method is a gRPC server of another kind.
          return self->Settle(nullptr, 0,
                              reply.status().code() == absl::StatusCode::kUnimplemented ? kSettled : kUnknown,
                              reply.status());
        }
        if (!Unpack(*reply, &endpoints).ok()) return self->Settle(nullptr, 0, kSettled, Internal("no endpoints"));
        self->Try(std::make_shared<std::vector<Candidate>>(self->Candidates(endpoints)), 0);
      });
    }

    struct Candidate {
      std::string address;
      std::string token;
    };

    std::vector<Candidate> Candidates(const proto::Endpoints& endpoints) const {
      std::vector<Candidate> out;
      const auto wanted = [this](absl::string_view kind) { return options.force.empty() || options.force == kind; };
      if (wanted("inproc") && IsInprocListener(endpoints.instance())) out.push_back({endpoints.instance(), ""});
      const bool same_host = endpoints.host() == HostIdentity();
      for (const std::string& at : endpoints.addresses()) {
        if (!absl::StartsWith(at, "shm:") || !same_host) continue;
        if (wanted("shm")) out.push_back({at, endpoints.token()});
        if (options.force == "unix") out.push_back({absl::StrCat("unix:", at.substr(4)), endpoints.token()});
      }
      for (const std::string& at : endpoints.addresses()) {
        if (!absl::StartsWith(at, "tcp:") || !wanted("tcp")) continue;
        // The host by which we know the task; what it binds may be 0.0.0.0.
        const bool by_name = !absl::StartsWith(address, "unix:");
        const std::string host = by_name ? HostOf(address) : "localhost";
        if (IsLoopback(HostOf(at.substr(4))) && !IsLoopback(host)) continue;
        out.push_back({absl::StrCat("tcp:", host, at.substr(at.rfind(':'))), endpoints.token()});
      }
      for (const std::string& at : endpoints.addresses()) {
        if (absl::StartsWith(at, kGrpcPrefix) && same_host && wanted("grpc")) out.push_back({at, ""});
      }
      return out;
    }

    // The first candidate from `index` on that answers.
    void Try(std::shared_ptr<std::vector<Candidate>> candidates, size_t index) {
      if (index == candidates->size()) {
        return Settle(nullptr, 0, kSettled,
                      FailedPrecondition("the task offers no way by '", options.force, "' from here"));
      }
      const Candidate& candidate = (*candidates)[index];
      SocketOptions sockets = options.sockets;
      sockets.token = candidate.token;
      sockets.peer = address;
      uint64_t attempt;
      {
        absl::MutexLock lock(&mu);
        attempt = ++attempts;
        inproc = absl::StartsWith(candidate.address, "inproc:") ? candidate.address : "";
      }
      auto lost = [weak = weak_from_this(), attempt] {
        if (auto self = weak.lock()) self->Lost(attempt);
      };
      absl::string_view at = candidate.address;
      auto made = absl::ConsumePrefix(&at, kGrpcPrefix) ? MakeGrpcTransport(options.grpc)->Connect(std::string(at))
                  : absl::StartsWith(at, "inproc:")     ? MakeInprocTransport()->Connect(candidate.address)
                                                        : ConnectSocket(candidate.address, sockets, lost);
      const bool is_grpc = at.size() < candidate.address.size();
      if (!made.ok()) return Try(std::move(candidates), index + 1);
      std::shared_ptr<Channel> channel = *std::move(made);
      Channel* raw = channel.get();
      raw->Call(kPingMethod, Message(), kAskTimeout,
                [weak = weak_from_this(), channel = std::move(channel), candidates = std::move(candidates), index,
                 attempt, is_grpc](absl::StatusOr<Message> reply) mutable {
                  auto self = weak.lock();
                  if (!self) return;
                  if (!reply.ok()) return self->Try(std::move(candidates), index + 1);
                  self->Settle(std::move(channel), attempt, kSettled, absl::OkStatus(), is_grpc);
                });
    }

    void Settle(std::shared_ptr<Channel> found, uint64_t attempt, int next, const absl::Status& why_not,
                bool is_grpc = false) {
      std::vector<Waiting> ready;
      std::shared_ptr<Channel> by;
      {
        absl::MutexLock lock(&mu);
        if (dropped) return;
        // With a way prescribed, the next call asks again; so it does when the way was lost meanwhile.
        phase = (found && attempt > lost_attempt) || (!found && AnyWay()) ? next : kUnknown;
        way = attempt > lost_attempt ? found : nullptr;
        way_is_grpc = way != nullptr && is_grpc;
        used_attempt = attempt;
        by = std::move(found);
        ready.swap(waiting);
      }
      for (Waiting& w : ready) {
        absl::Duration left;
        if (!calls->TimeLeft(w.id, &left)) continue;
        if (!by) {
          calls->Fail(w.id, absl::StatusCode::kUnavailable, why_not.message());
          continue;
        }
        by->Call(w.method, std::move(w.request), left,
                 [calls = calls, id = w.id](absl::StatusOr<Message> reply) { calls->End(id, std::move(reply)); });
      }
    }

    void Lost(uint64_t attempt) {
      absl::MutexLock lock(&mu);
      lost_attempt = std::max(lost_attempt, attempt);
      if (way && used_attempt == attempt) Forget();
    }

    // Back to gRPC; the next call asks again.
    void Forget() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      retired = std::move(way);  // kept: its calls end with the reason, not as dropped ones
      way = nullptr;
      inproc.clear();
      if (phase == kSettled) phase = kUnknown;
    }

    enum { kUnknown, kAsking, kSettled };

    const std::string address;
    const TransportSetOptions options;
    const std::shared_ptr<PendingCalls> calls;  // those that wait for a way
    absl::Mutex mu;
    std::shared_ptr<Channel> grpc ABSL_GUARDED_BY(mu);
    int phase ABSL_GUARDED_BY(mu) = kUnknown;
    bool dropped ABSL_GUARDED_BY(mu) = false;
    std::shared_ptr<Channel> way ABSL_GUARDED_BY(mu);  // null: gRPC at the task's address
    bool way_is_grpc ABSL_GUARDED_BY(mu) = false;      // by a UNIX socket
    std::shared_ptr<Channel> retired ABSL_GUARDED_BY(mu);
    std::string inproc ABSL_GUARDED_BY(mu);     // the listener in this process that `way` leads to
    uint64_t attempts ABSL_GUARDED_BY(mu) = 0;  // to find a way; each may be lost
    uint64_t used_attempt ABSL_GUARDED_BY(mu) = 0;
    uint64_t lost_attempt ABSL_GUARDED_BY(mu) = 0;
    std::vector<Waiting> waiting ABSL_GUARDED_BY(mu);
  };

  const std::shared_ptr<State> state_;
};

class TransportSet : public Transport {
 public:
  explicit TransportSet(TransportSetOptions options)
      : options_(std::move(options)), grpc_(MakeGrpcTransport(options_.grpc)) {}

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address, Handler handler) override {
    return SetListener::Make(address, options_, std::move(handler));
  }

  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) override {
    for (const char* known : {"", "inproc", "shm", "unix", "tcp", "grpc"}) {
      if (options_.force != known) continue;
      ASSIGN_OR_RETURN(auto grpc, grpc_->Connect(address));
      return std::make_shared<SetChannel>(address, options_, std::move(grpc));
    }
    return InvalidArgument("no transport is called '", options_.force,
                           "' (SLUICE_TRANSPORT): wanted inproc, shm, unix, tcp or grpc");
  }

 private:
  const TransportSetOptions options_;
  const std::unique_ptr<Transport> grpc_;
};

}  // namespace

std::unique_ptr<Transport> MakeTransportSet(TransportSetOptions options) {
  const char* forced = std::getenv("SLUICE_TRANSPORT");
  if (options.force.empty() && forced != nullptr) options.force = forced;
  return std::make_unique<TransportSet>(std::move(options));
}

std::string HostIdentity() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  char space[64] = {};
  if (boot.empty() || readlink("/proc/self/ns/net", space, sizeof space - 1) <= 0) return RandomHex(16);  // like nobody
  return absl::StrCat(boot, " ", space);
}

}  // namespace sluice
