// The calling side: connects when there is something to say, and again after the peer was lost.
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "distributed/rpc/status_codec.h"
#include "distributed/transport/handshake.h"
#include "distributed/transport/socket_transport.h"

namespace sluice {
namespace {

class SocketChannel : public Channel {
 public:
  SocketChannel(std::string address, SocketOptions options, std::function<void()> on_lost)
      : state_(std::make_shared<State>(std::move(address), std::move(options), std::move(on_lost))) {}

  ~SocketChannel() override { state_->Drop(); }

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    state_->Call(method, std::move(request), timeout, std::move(done));
  }
  std::string Describe() const override { return state_->address; }

 private:
  struct Pending {
    Reply done;
    std::string method;
    absl::Duration timeout;
    absl::Duration deadline;
    uint64_t generation;
  };
  struct Waiting {
    uint64_t id;
    std::string method;
    Message request;
  };

  // Outlives the channel until its thread has ended.
  struct State : std::enable_shared_from_this<State> {
    State(std::string a, SocketOptions o, std::function<void()> lost)
        : address(std::move(a)), options(std::move(o)), on_lost(std::move(lost)) {}

    void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) {
      std::shared_ptr<Connection> connection;
      uint64_t id;
      {
        absl::MutexLock lock(&mu);
        id = next_id++;
        const absl::Duration deadline = SystemClock()->Now() + timeout;
        pending.emplace(id, Pending{std::move(done), method, timeout, deadline, generation});
        deadlines.emplace(deadline, id);
        if (deadline < armed) Arm(deadline);
        connection = established;
        if (!connection) {
          waiting.push_back({id, method, std::move(request)});
          if (!running) {
            running = true;
            std::thread([self = shared_from_this()] { self->Run(); }).detach();
          }
          return;
        }
      }
      SendRequest(connection.get(), id, timeout, method, std::move(request));
    }

    void SendRequest(Connection* connection, uint64_t id, absl::Duration timeout, const std::string& method,
                     Message request) {
      const absl::Status sent = connection->Send(FrameKind::kRequest, id, timeout, method, std::move(request));
      if (sent.ok()) return;
      // On the clock's thread: a callback never runs within Call.
      SystemClock()->RunAfter(absl::ZeroDuration(), [self = shared_from_this(), id, sent] {
        self->End(id, [&](const Pending& call) { return self->Error(sent.code(), call, sent.message()); });
      });
    }

    absl::Status Error(absl::StatusCode code, const Pending& call, absl::string_view what) const {
      return TransportError(code, absl::StrCat(call.method, " to the task at ", address, ": ", what));
    }

    template <typename MakeResult>
    void End(uint64_t id, const MakeResult& result) {
      Pending call;
      {
        absl::MutexLock lock(&mu);
        auto it = pending.find(id);
        if (it == pending.end()) return;
        call = std::move(it->second);
        deadlines.erase({call.deadline, id});
        pending.erase(it);
      }
      Reply done = std::move(call.done);
      done(result(call));
    }

    void Arm(absl::Duration deadline) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      armed = deadline;
      SystemClock()->RunAfter(deadline - SystemClock()->Now(), [weak = weak_from_this(), deadline] {
        if (auto self = weak.lock()) self->OnTimer(deadline);
      });
    }

    // One timer for the earliest deadline; calls that end earlier leave it alone.
    void OnTimer(absl::Duration which) {
      std::vector<uint64_t> expired;
      {
        absl::MutexLock lock(&mu);
        const absl::Duration now = SystemClock()->Now();
        for (auto it = deadlines.begin(); it != deadlines.end() && it->first <= now; ++it)
          expired.push_back(it->second);
        if (armed == which) {
          armed = absl::InfiniteDuration();
          for (const auto& d : deadlines) {
            if (d.first > now) {
              Arm(d.first);
              break;
            }
          }
        }
      }
      for (uint64_t id : expired) {
        End(id, [&](const Pending& call) {
          return Error(absl::StatusCode::kDeadlineExceeded, call,
                       absl::StrCat("did not end within ", absl::FormatDuration(call.timeout)));
        });
      }
    }

    // Ends every call that was made before `before`.
    void EndAll(uint64_t before, absl::StatusCode code, absl::string_view what) {
      std::vector<uint64_t> ids;
      {
        absl::MutexLock lock(&mu);
        for (const auto& [id, call] : pending) {
          if (call.generation < before) ids.push_back(id);
        }
      }
      for (uint64_t id : ids) {
        End(id, [&](const Pending& call) { return Error(code, call, what); });
      }
    }

    void Drop() {
      std::shared_ptr<Connection> connection;
      {
        absl::MutexLock lock(&mu);
        dropped = true;
        connection = established;
      }
      if (connection) connection->Close();
      SystemClock()->RunAfter(absl::ZeroDuration(), [self = shared_from_this()] {
        self->EndAll(UINT64_MAX, absl::StatusCode::kCancelled, "the caller dropped the channel");
      });
    }

    bool IsDropped() {
      absl::MutexLock lock(&mu);
      return dropped;
    }

    absl::StatusOr<std::shared_ptr<Connection>> Establish() {
      const bool shared_memory = absl::StartsWith(address, "shm:");
      const std::string at = shared_memory ? absl::StrCat("unix:", address.substr(4)) : address;
      ASSIGN_OR_RETURN(Socket socket, ConnectTo(at, options.connect_timeout, [this] { return IsDropped(); }));
      TuneStream(socket.fd(), absl::StartsWith(at, "tcp:"));
      HandshakeOptions handshake;
      handshake.token = options.token;
      handshake.arena_bytes = options.arena_bytes;
      handshake.timeout = options.handshake_timeout;
      ASSIGN_OR_RETURN(Arenas arenas, ClientHandshake(socket.fd(), handshake, shared_memory));
      return std::make_shared<Connection>(std::move(socket), std::move(arenas.out), std::move(arenas.in),
                                          options.connection);
    }

    // The channel's thread: lives from the first call until the connection is lost.
    void Run() {
      auto connection = Establish();
      std::vector<Waiting> ready;
      uint64_t next;
      {
        absl::MutexLock lock(&mu);
        ready = std::move(waiting);
        waiting.clear();
        if (connection.ok() && !dropped) {
          established = *connection;
        } else {
          running = false;
        }
        next = ++generation;
        if (connection.ok() && dropped) (*connection)->Close();
      }
      if (!connection.ok()) {
        const absl::StatusCode code = connection.status().code() == absl::StatusCode::kPermissionDenied
                                          ? absl::StatusCode::kPermissionDenied
                                          : absl::StatusCode::kUnavailable;
        return EndAll(next, code, connection.status().message());
      }
      for (Waiting& w : ready) {
        absl::Duration left;
        {
          absl::MutexLock lock(&mu);
          auto it = pending.find(w.id);
          if (it == pending.end()) continue;  // its time is over
          left = std::max(it->second.deadline - SystemClock()->Now(), absl::Milliseconds(1));
        }
        SendRequest(connection->get(), w.id, left, w.method, std::move(w.request));
      }
      ready.clear();
      const absl::Status why = (*connection)->ReadLoop([this](IncomingFrame frame) { OnFrame(std::move(frame)); });
      {
        absl::MutexLock lock(&mu);
        established = nullptr;
        running = false;
        next = ++generation;
      }
      if (on_lost) on_lost();
      EndAll(next, IsDropped() ? absl::StatusCode::kCancelled : absl::StatusCode::kUnavailable,
             IsDropped() ? "the caller dropped the channel" : why.message());
    }

    void OnFrame(IncomingFrame frame) {
      if (frame.header.kind == FrameKind::kReply) {
        return End(frame.header.call, [&](const Pending&) { return std::move(frame.message); });
      }
      if (frame.header.kind != FrameKind::kError) return;
      End(frame.header.call, [&](const Pending& call) -> absl::Status {
        absl::Status status;
        if (frame.message.ok() && DecodeStatus(frame.message->body, &status)) return status;
        return Error(absl::StatusCode::kInternal, call, "the task answered with an error that cannot be read");
      });
    }

    const std::string address;
    const SocketOptions options;
    const std::function<void()> on_lost;
    absl::Mutex mu;
    std::shared_ptr<Connection> established ABSL_GUARDED_BY(mu);
    bool running ABSL_GUARDED_BY(mu) = false;
    bool dropped ABSL_GUARDED_BY(mu) = false;
    uint64_t next_id ABSL_GUARDED_BY(mu) = 1;
    uint64_t generation ABSL_GUARDED_BY(mu) = 0;
    std::unordered_map<uint64_t, Pending> pending ABSL_GUARDED_BY(mu);
    std::vector<Waiting> waiting ABSL_GUARDED_BY(mu);
    std::set<std::pair<absl::Duration, uint64_t>> deadlines ABSL_GUARDED_BY(mu);
    absl::Duration armed ABSL_GUARDED_BY(mu) = absl::InfiniteDuration();
  };

  const std::shared_ptr<State> state_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Channel>> ConnectSocket(const std::string& address, SocketOptions options,
                                                       std::function<void()> on_lost) {
  RETURN_IF_ERROR(
      CheckSocketAddress(absl::StartsWith(address, "shm:") ? absl::StrCat("unix:", address.substr(4)) : address));
  return std::make_shared<SocketChannel>(address, std::move(options), std::move(on_lost));
}

}  // namespace sluice
