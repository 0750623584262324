// The calling side: connects when there is something to say, and again after the peer was lost.
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/status.h"
#include "distributed/rpc/pending_calls.h"
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
  Way way() const override {
    const std::string& a = state_->address;
    return absl::StartsWith(a, "shm:")    ? Way::kSharedMemory
           : absl::StartsWith(a, "unix:") ? Way::kUnixSocket
                                          : Way::kTcp;
  }

 private:
  struct Waiting {
    uint64_t id;
    std::string method;
    Message request;
  };

  // Outlives the channel until its thread has ended.
  struct State : std::enable_shared_from_this<State> {
    State(std::string a, SocketOptions o, std::function<void()> lost)
        : address(std::move(a)),
          options(std::move(o)),
          on_lost(std::move(lost)),
          calls(std::make_shared<PendingCalls>(
              absl::StrCat("the task at ", options.peer, options.peer.empty() ? "" : " by ", address))) {}

    void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) {
      std::shared_ptr<Connection> connection;
      uint64_t id;
      {
        absl::MutexLock lock(&mu);  // the call belongs to the connection that is there now
        id = calls->Add(method, timeout, std::move(done));
        connection = established;
        if (!connection) {
          uint64_t bytes = request.body.size();
          for (const Tensor& t : request.tensors) bytes += t.IsValid() ? t.num_bytes() : 0;
          if (!waiting.empty() && waiting_bytes + bytes > options.connection.max_queued_bytes) {
            return calls->FailLater(id, absl::StatusCode::kResourceExhausted,
                                    absl::StrCat(waiting_bytes, " bytes wait for the connection to the peer already"));
          }
          waiting_bytes += bytes;
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
      if (!sent.ok()) calls->FailLater(id, sent.code(), sent.message());
    }

    void Drop() {
      std::shared_ptr<Connection> connection;
      {
        absl::MutexLock lock(&mu);
        dropped = true;
        connection = established;
      }
      if (connection) connection->Close();
      calls->FailAllLater(absl::StatusCode::kCancelled, "the caller dropped the channel");
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
      {
        absl::MutexLock lock(&mu);
        ready.swap(waiting);
        waiting_bytes = 0;
        if (connection.ok()) {
          established = *connection;
          if (dropped) established->Close();
        } else {
          running = false;
          calls->BeginGeneration();
        }
      }
      if (!connection.ok()) {
        const bool refused = connection.status().code() == absl::StatusCode::kPermissionDenied;
        return calls->FailEarlier(refused ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kUnavailable,
                                  connection.status().message());
      }
      for (Waiting& w : ready) {
        absl::Duration left;
        if (!calls->TimeLeft(w.id, &left)) continue;
        SendRequest(connection->get(), w.id, left, w.method, std::move(w.request));
      }
      ready.clear();
      const absl::Status why = (*connection)->ReadLoop([this](IncomingFrame frame) { OnFrame(std::move(frame)); });
      bool was_dropped;
      {
        absl::MutexLock lock(&mu);
        established = nullptr;
        running = false;
        was_dropped = dropped;
        calls->BeginGeneration();
      }
      if (on_lost) on_lost();
      if (was_dropped) {
        calls->FailEarlier(absl::StatusCode::kCancelled, "the caller dropped the channel");
      } else {
        calls->FailEarlier(absl::StatusCode::kUnavailable, why.message());
      }
    }

    void OnFrame(IncomingFrame frame) {
      if (frame.header.kind == FrameKind::kReply) return calls->End(frame.header.call, std::move(frame.message));
      if (frame.header.kind != FrameKind::kError) return;
      absl::Status status;
      if (frame.message.ok() && DecodeStatus(frame.message->body, &status)) {
        return calls->End(frame.header.call, status);
      }
      calls->Fail(frame.header.call, absl::StatusCode::kInternal,
                  "the task answered with an error that cannot be read");
    }

    const std::string address;
    const SocketOptions options;
    const std::function<void()> on_lost;
    const std::shared_ptr<PendingCalls> calls;
    absl::Mutex mu;
    std::shared_ptr<Connection> established ABSL_GUARDED_BY(mu);
    bool running ABSL_GUARDED_BY(mu) = false;
    bool dropped ABSL_GUARDED_BY(mu) = false;
    std::vector<Waiting> waiting ABSL_GUARDED_BY(mu);
    uint64_t waiting_bytes ABSL_GUARDED_BY(mu) = 0;
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
