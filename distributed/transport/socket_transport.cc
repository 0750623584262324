#include "distributed/transport/socket_transport.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/recycled_memory.h"
#include "core/base/status.h"
#include "distributed/rpc/status_codec.h"
#include "distributed/transport/handshake.h"

namespace sluice {
namespace {

// Answers once. A handler that lets its last copy go without an answer has failed.
class ReplyOnce {
 public:
  ReplyOnce(std::weak_ptr<Connection> connection, uint64_t call) : connection_(std::move(connection)), call_(call) {}
  ~ReplyOnce() {
    if (!done_) Run(Internal("the task dropped the call without an answer"));
  }

  void Run(absl::StatusOr<Message> reply) {
    if (done_.exchange(true)) return;
    auto connection = connection_.lock();
    if (!connection) return;
    absl::Status status = reply.status();
    if (status.ok()) {
      status = connection->Send(FrameKind::kReply, call_, absl::ZeroDuration(), "", *std::move(reply));
      if (status.ok()) return;
    }
    connection->Send(FrameKind::kError, call_, absl::ZeroDuration(), "", Message(EncodeStatus(status))).IgnoreError();
  }

 private:
  const std::weak_ptr<Connection> connection_;
  const uint64_t call_;
  std::atomic<bool> done_{false};
};

class SocketListener : public Listener {
 public:
  SocketListener(BoundSocket bound, std::string address, Handler handler, SocketOptions options)
      : bound_(std::move(bound)),
        address_(std::move(address)),
        handler_(std::move(handler)),
        options_(std::move(options)),
        wake_(eventfd(0, EFD_CLOEXEC)),
        acceptor_([this] { Accept(); }) {}

  ~SocketListener() override {
    {
      absl::MutexLock lock(&mu_);
      closing_ = true;
    }
    const uint64_t one = 1;
    (void)!write(wake_.fd(), &one, sizeof one);
    acceptor_.join();
    if (absl::StartsWith(bound_.address, "unix:/")) unlink(bound_.address.c_str() + 5);
    std::list<Peer> peers;
    {
      absl::MutexLock lock(&mu_);
      peers.swap(peers_);
    }
    for (Peer& p : peers) {
      std::shared_ptr<Connection> connection;
      {
        absl::MutexLock lock(&p.shared->mu);
        p.shared->closing = true;
        connection = p.shared->connection;
        if (!connection && p.shared->fd >= 0) shutdown(p.shared->fd, SHUT_RDWR);  // it is still greeting
      }
      if (connection) {
        connection->Flush(absl::Milliseconds(200));
        connection->Close();
      }
    }
    for (Peer& p : peers) p.thread.join();
  }

  const std::string& address() const override { return address_; }

 private:
  struct Shared {
    absl::Mutex mu;
    std::shared_ptr<Connection> connection ABSL_GUARDED_BY(mu);
    int fd ABSL_GUARDED_BY(mu) = -1;  // while greeting
    bool closing ABSL_GUARDED_BY(mu) = false;
    std::atomic<bool> ended{false};
  };
  struct Peer {
    std::shared_ptr<Shared> shared;
    std::thread thread;
  };

  void Accept() {
    while (true) {
      pollfd p[2] = {{bound_.socket.fd(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}};
      if (poll(p, 2, -1) < 0 && errno != EINTR) return;
      if (p[1].revents != 0) return;
      if ((p[0].revents & POLLIN) == 0) continue;
      Socket socket(accept4(bound_.socket.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      Sweep();
      if (socket.fd() < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) usleep(10000);  // others may close some
        continue;
      }
      absl::MutexLock lock(&mu_);
      if (closing_ || peers_.size() >= static_cast<size_t>(options_.max_connections)) continue;
      auto shared = std::make_shared<Shared>();
      {
        absl::MutexLock shared_lock(&shared->mu);
        shared->fd = socket.fd();
      }
      std::thread thread([this, shared, s = std::move(socket)]() mutable { Serve(shared, std::move(s)); });
      peers_.push_back({std::move(shared), std::move(thread)});
    }
  }

  // Joins the threads of peers that went.
  void Sweep() {
    std::list<Peer> gone;
    {
      absl::MutexLock lock(&mu_);
      for (auto it = peers_.begin(); it != peers_.end();) {
        auto next = std::next(it);
        if (it->shared->ended) gone.splice(gone.end(), peers_, it);
        it = next;
      }
    }
    for (Peer& p : gone) p.thread.join();
  }

  void Serve(const std::shared_ptr<Shared>& shared, Socket socket) {
    const bool is_unix = absl::StartsWith(bound_.address, "unix:");
    TuneStream(socket.fd(), !is_unix);
    HandshakeOptions handshake;
    handshake.token = options_.token;
    handshake.arena_bytes = options_.arena_bytes;
    handshake.timeout = options_.handshake_timeout;
    auto arenas = ServerHandshake(socket.fd(), handshake, is_unix);
    // As the caller sees it (SocketChannel::way), who offers memory when its address says so.
    const Way way = !is_unix ? Way::kTcp : arenas.ok() && arenas->in ? Way::kSharedMemory : Way::kUnixSocket;
    std::shared_ptr<Connection> connection;
    {
      absl::MutexLock lock(&shared->mu);
      shared->fd = -1;
      if (arenas.ok() && !shared->closing) {
        connection = std::make_shared<Connection>(std::move(socket), std::move(arenas->out), std::move(arenas->in),
                                                  options_.connection);
        shared->connection = connection;
      }
    }
    if (connection) {
      connection->ReadLoop([&](IncomingFrame frame) { OnFrame(connection, way, std::move(frame)); }).IgnoreError();
      absl::MutexLock lock(&shared->mu);
      shared->connection = nullptr;
    }
    shared->ended = true;
  }

  void OnFrame(const std::shared_ptr<Connection>& connection, Way way, IncomingFrame frame) {
    if (frame.header.kind != FrameKind::kRequest) return connection->Close();
    auto reply = MakeRecycled<ReplyOnce>(connection, frame.header.call);
    if (!frame.message.ok()) return reply->Run(Annotate(frame.message.status(), absl::StrCat(frame.method, ": ")));
    IncomingCall call;
    call.method = frame.method;
    call.way = way;
    if (frame.header.timeout_ns > 0) call.timeout = absl::Nanoseconds(frame.header.timeout_ns);
    handler_(call, *std::move(frame.message),
             [reply = std::move(reply)](absl::StatusOr<Message> answer) { reply->Run(std::move(answer)); });
  }

  const BoundSocket bound_;
  const std::string address_;
  const Handler handler_;
  const SocketOptions options_;
  const Socket wake_;
  absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::list<Peer> peers_ ABSL_GUARDED_BY(mu_);
  std::thread acceptor_;  // last: it uses the others
};

class SocketTransport : public Transport {
 public:
  explicit SocketTransport(SocketOptions options) : options_(std::move(options)) {}

  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address, Handler handler) override {
    const bool shared_memory = absl::StartsWith(address, "shm:");
    const std::string at = shared_memory ? absl::StrCat("unix:", address.substr(4)) : address;
    RETURN_IF_ERROR(CheckSocketAddress(at));
    if (!options_.insecure_bind && IsReachableFromOutside(at)) {
      return FailedPrecondition("refusing to listen on ", address,
                                ": other machines would reach it without encryption. Use gRPC with TLS, listen on "
                                "localhost, or allow it explicitly (insecure_bind) on a network that you trust");
    }
    ASSIGN_OR_RETURN(BoundSocket bound, BindAndListen(at));
    std::string real = shared_memory ? address : bound.address;
    return std::make_unique<SocketListener>(std::move(bound), std::move(real), std::move(handler), options_);
  }

  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) override {
    return ConnectSocket(address, options_, nullptr);
  }

 private:
  const SocketOptions options_;
};

}  // namespace

std::unique_ptr<Transport> MakeSocketTransport(SocketOptions options) {
  return std::make_unique<SocketTransport>(std::move(options));
}

}  // namespace sluice
