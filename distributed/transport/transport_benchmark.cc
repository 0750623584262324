// How long a tensor takes from one process to another, for each transport: the receiver calls, the reply carries the
// tensor, as a Recv does. The transports take turns round by round; a row shows medians.
//
//   bazel run -c opt //distributed/transport:transport_benchmark [-- --rounds=30 --way=shm --json]
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "distributed/rpc/grpc_transport.h"
#include "distributed/transport/socket.h"
#include "distributed/transport/socket_transport.h"
#include "distributed/transport/stream_copy.h"

namespace sluice {
namespace {

// What the machine gives: one copy (the limit of shared memory), and plain send and recv on bare sockets.
const char* const kLimits[] = {"copy", "bare unix", "bare tcp"};

constexpr int64_t kSizes[] = {4, 64 << 10, 1 << 20, 64 << 20};
const char* const kWays[] = {"shm", "unix", "tcp", "grpc"};

Tensor Filled(int64_t bytes) {
  Tensor t = Tensor::Make(DType::kInt32, Shape({bytes / 4})).value();
  for (int64_t i = 0; i < bytes / 4; ++i) t.data<int32_t>()[i] = static_cast<int32_t>(i * 7 + 1);
  return t;
}

std::unique_ptr<Transport> MakeWay(const std::string& way) {
  if (way == "grpc") return MakeGrpcTransport(GrpcOptions());
  return MakeSocketTransport(SocketOptions());
}

std::string AddressOf(const std::string& way) {
  if (way == "grpc") return "localhost:0";
  if (way == "tcp") return "tcp:localhost:0";
  return absl::StrCat(way, ":@sluice-benchmark-", getpid());
}

// Answers with the tensor of the size that the method names.
int Serve(const std::string& way) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::map<std::string, Tensor> tensors;
  for (int64_t bytes : kSizes) tensors.emplace(absl::StrCat("/", bytes), Filled(bytes));
  auto transport = MakeWay(way);
  auto listener = transport->Listen(AddressOf(way), [&](const IncomingCall& call, Message, Reply reply) {
    Message answer;
    answer.tensors.push_back(tensors.at(std::string(call.method)));
    reply(std::move(answer));
  });
  if (!listener.ok()) {
    std::fprintf(stderr, "%s\n", listener.status().ToString().c_str());
    return 1;
  }
  std::printf("%s\n", (*listener)->address().c_str());
  std::fflush(stdout);
  pause();
  return 0;
}

int BareListener(bool tcp, std::string* address) {
  auto bound = BindAndListen(tcp ? "tcp:localhost:0" : absl::StrCat("unix:@sluice-bare-", getpid()));
  if (!bound.ok()) return -1;
  *address = bound->address;
  return dup(bound->socket.fd());
}

// A bare socket whose other end, in another process, sends as many bytes as it is asked for.
class BareSocket {
 public:
  explicit BareSocket(bool tcp) {
    std::string address;
    const int listener = BareListener(tcp, &address);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      std::vector<char> bytes(kSizes[3], 'x');
      const int fd = accept(listener, nullptr, nullptr);
      TuneStream(fd, tcp);
      int64_t wanted = 0;
      while (recv(fd, &wanted, sizeof wanted, MSG_WAITALL) == sizeof wanted) {
        for (int64_t at = 0; at < wanted;) {
          const ssize_t n = send(fd, bytes.data() + at, wanted - at, MSG_NOSIGNAL);
          if (n <= 0) _exit(1);
          at += n;
        }
      }
      _exit(0);
    }
    close(listener);
    auto socket = ConnectTo(address, absl::Seconds(10), [] { return false; });
    if (!socket.ok()) std::exit(1);
    socket_ = *std::move(socket);
    TuneStream(socket_.fd(), tcp);
    bytes_.resize(kSizes[3]);
  }
  ~BareSocket() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  double Transfer(int64_t bytes) {
    const absl::Time start = absl::Now();
    if (send(socket_.fd(), &bytes, sizeof bytes, 0) != sizeof bytes) std::exit(1);
    for (int64_t at = 0; at < bytes;) {
      const ssize_t n = recv(socket_.fd(), bytes_.data() + at, bytes - at, 0);
      if (n <= 0) std::exit(1);
      at += n;
    }
    return absl::ToDoubleMicroseconds(absl::Now() - start);
  }

 private:
  pid_t pid_ = -1;
  Socket socket_;
  std::vector<char> bytes_;
};

double Copy(int64_t bytes) {
  static std::vector<char> from(kSizes[3], 'a'), to(kSizes[3], 'b');
  const absl::Time start = absl::Now();
  StreamCopy(to.data(), from.data(), bytes);
  return absl::ToDoubleMicroseconds(absl::Now() - start);
}

struct Peer {
  std::string way;
  pid_t pid = -1;
  std::unique_ptr<Transport> transport;
  std::shared_ptr<Channel> channel;
};

bool StartPeer(const std::string& way, Peer* peer) {
  int fds[2];
  if (pipe(fds) != 0) return false;
  peer->way = way;
  peer->pid = fork();
  if (peer->pid == 0) {
    dup2(fds[1], STDOUT_FILENO);
    close(fds[0]);
    execl("/proc/self/exe", "serve", "--serve", way.c_str(), nullptr);
    _exit(127);
  }
  close(fds[1]);
  char line[256] = {};
  FILE* in = fdopen(fds[0], "r");
  const bool read = std::fgets(line, sizeof line, in) != nullptr;
  std::fclose(in);
  if (!read) return false;
  line[std::strcspn(line, "\n")] = '\0';
  peer->transport = MakeWay(way);
  auto channel = peer->transport->Connect(line);
  if (!channel.ok()) return false;
  peer->channel = *std::move(channel);
  return true;
}

// Microseconds of one transfer. `check` also compares every element.
double Transfer(const Peer& peer, int64_t bytes, bool check) {
  struct Outcome {
    absl::Notification done;
    absl::StatusOr<Message> reply;
  } outcome;
  const absl::Time start = absl::Now();
  peer.channel->Call(absl::StrCat("/", bytes), Message(), absl::Seconds(60), [&](absl::StatusOr<Message> reply) {
    outcome.reply = std::move(reply);
    outcome.done.Notify();
  });
  outcome.done.WaitForNotification();
  const double us = absl::ToDoubleMicroseconds(absl::Now() - start);
  bool right = outcome.reply.ok() && outcome.reply->tensors.size() == 1 &&
               outcome.reply->tensors[0].num_bytes() == static_cast<size_t>(bytes);
  if (right && check) right = IdenticalTensors(outcome.reply->tensors[0], Filled(bytes));
  if (!right) {
    std::fprintf(stderr, "%s %lld bytes: %s\n", peer.way.c_str(), static_cast<long long>(bytes),
                 outcome.reply.ok() ? "wrong elements" : outcome.reply.status().ToString().c_str());
    std::exit(1);
  }
  return us;
}

int Run(int rounds, const std::string& only, bool json) {
  BareSocket bare_unix(false), bare_tcp(true);  // forks before there are threads
  std::vector<Peer> peers;
  for (const char* way : kWays) {
    if (!only.empty() && only != way) continue;
    peers.emplace_back();
    if (!StartPeer(way, &peers.back())) {
      std::fprintf(stderr, "%s: the peer did not start\n", way);
      return 1;
    }
  }
  std::map<std::pair<std::string, int64_t>, std::vector<double>> times;
  for (const Peer& peer : peers) {
    for (int64_t bytes : kSizes) {
      Transfer(peer, bytes, true);
      Transfer(peer, bytes, true);
    }
  }
  for (int round = 0; round < rounds; ++round) {
    for (int64_t bytes : kSizes) {
      for (int i = bytes > (1 << 20) ? 1 : 20; i > 0; --i) {
        times[{"copy", bytes}].push_back(Copy(bytes));
        times[{"bare unix", bytes}].push_back(bare_unix.Transfer(bytes));
        times[{"bare tcp", bytes}].push_back(bare_tcp.Transfer(bytes));
      }
      for (const Peer& peer : peers) {
        for (int i = bytes > (1 << 20) ? 1 : 20; i > 0; --i) {
          times[{peer.way, bytes}].push_back(Transfer(peer, bytes, false));
        }
      }
    }
  }
  std::vector<std::string> rows(std::begin(kLimits), std::end(kLimits));
  for (const Peer& peer : peers) rows.push_back(peer.way);
  if (!json) std::printf("%-10s %10s %12s %12s %10s\n", "way", "bytes", "median us", "best us", "GB/s");
  for (const std::string& way : rows) {
    for (int64_t bytes : kSizes) {
      auto& t = times[{way, bytes}];
      std::sort(t.begin(), t.end());
      const double median = t[t.size() / 2], gbs = bytes / median / 1e3;
      std::printf(json ? "{\"way\": \"%s\", \"bytes\": %lld, \"median_us\": %.2f, \"best_us\": %.2f, \"gb_s\": %.3f}\n"
                       : "%-10s %10lld %12.1f %12.1f %10.2f\n",
                  way.c_str(), static_cast<long long>(bytes), median, t[0], gbs);
    }
  }
  for (Peer& peer : peers) {
    kill(peer.pid, SIGKILL);
    waitpid(peer.pid, nullptr, 0);
  }
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  int rounds = 30;
  bool json = false;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--serve" && i + 1 < argc) return sluice::Serve(argv[i + 1]);
    if (arg == "--json") json = true;
    if (absl::StartsWith(arg, "--way=")) only = arg.substr(6);
    if (absl::StartsWith(arg, "--rounds=") && (!absl::SimpleAtoi(arg.substr(9), &rounds) || rounds < 1)) return 2;
  }
  return sluice::Run(rounds, only, json);
}
