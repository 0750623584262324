#include "distributed/transport/socket_transport.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <random>
#include <thread>

#include "distributed/rpc/transport_conformance.h"
#include "distributed/transport/frame.h"
#include "distributed/transport/handshake.h"
#include "distributed/transport/socket.h"

namespace sluice {
namespace {

SocketOptions Options() {
  SocketOptions options;
  options.token = "the token of these tests";
  return options;
}

std::string Unique(absl::string_view prefix) {
  static std::atomic<int> count{0};
  return absl::StrCat(prefix, getpid(), "_", count++);
}

std::vector<TransportCase> Cases() {
  const auto make = [] { return MakeSocketTransport(Options()); };
  const auto small_arena = [] {
    SocketOptions options = Options();
    options.arena_bytes = 256 << 10;
    return MakeSocketTransport(options);
  };
  const auto spinning = [] {
    SocketOptions options = Options();
    options.connection.spin = absl::Microseconds(50);
    return MakeSocketTransport(options);
  };
  const auto indirect = [] {
    SocketOptions options = Options();
    options.connection.direct = false;
    return MakeSocketTransport(options);
  };
  return {
      {"unix_indirect", indirect, [] { return Unique("unix:@sluice_socket_test_"); }},
      {"tcp", make, [] { return "tcp:localhost:0"; }},
      {"unix_path", make, [] { return Unique("unix:/tmp/sluice_socket_test_"); }},
      {"unix_name", spinning, [] { return Unique("unix:@sluice_socket_test_"); }},
      {"shm", make, [] { return Unique("shm:@sluice_socket_test_"); }},
      {"shm_full", small_arena, [] { return Unique("shm:@sluice_socket_test_"); }},
  };
}

INSTANTIATE_TEST_SUITE_P(Sockets, TransportConformance, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

Handler Echo() {
  return [](const IncomingCall&, Message request, Reply reply) { reply(std::move(request)); };
}

absl::Status Talk(const SocketOptions& options, const std::string& address) {
  auto channel = MakeSocketTransport(options)->Connect(address);
  if (!channel.ok()) return channel.status();
  return CallAndWait(channel->get(), "/test/Echo", Message(), absl::Seconds(20)).status();
}

TEST(SocketTransportTest, WhoDoesNotKnowTheTokenIsRefused) {
  for (const std::string& address : {std::string("tcp:localhost:0"), Unique("shm:@sluice_token_")}) {
    auto listener = MakeSocketTransport(Options())->Listen(address, Echo());
    ASSERT_TRUE(listener.ok()) << listener.status();
    EXPECT_EQ(Talk(Options(), (*listener)->address()), absl::OkStatus());
    for (const char* token : {"", "the token of these test", "the token of these tests!", "THE token of these tests"}) {
      SocketOptions wrong = Options();
      wrong.token = token;
      const absl::Status status = Talk(wrong, (*listener)->address());
      EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
      EXPECT_TRUE(absl::StrContains(status.message(), "wrong token")) << status;
    }
  }
}

TEST(SocketTransportTest, APeerOfAnotherVersionLearnsWhich) {
  auto listener = MakeSocketTransport(Options())->Listen("tcp:localhost:0", Echo());
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto socket = ConnectTo((*listener)->address(), absl::Seconds(5), [] { return false; });
  ASSERT_TRUE(socket.ok()) << socket.status();
  std::string hello(kFrameHeaderBytes, '\0');
  EncodeFrameHeader(FrameHeader(), &hello[0]);
  hello[4] = 9;  // the version
  ASSERT_TRUE(SendAll(socket->fd(), hello.data(), hello.size(), -1, absl::Seconds(5)).ok());
  char bytes[kFrameHeaderBytes + 8];
  ASSERT_TRUE(ReceiveAll(socket->fd(), bytes, sizeof bytes, nullptr, absl::Seconds(5)).ok());
  const FrameHeader header = *DecodeFrameHeader(bytes, FrameLimits());
  EXPECT_EQ(header.kind, FrameKind::kRefused);
  std::string why(header.body_bytes - 8, '\0');
  ASSERT_TRUE(ReceiveAll(socket->fd(), &why[0], why.size(), nullptr, absl::Seconds(5)).ok());
  EXPECT_EQ(why, "the peer speaks version 9 of the transport, this task 1");
}

TEST(SocketTransportTest, AddressesAreCheckedAndPortsInUseNamed) {
  auto transport = MakeSocketTransport(Options());
  for (const char* address : {"", "tcp:", "tcp:localhost", "tcp::5", "tcp:localhost:99999", "unix:", "unix:@",
                              "unix:relative", "shm:", "localhost:5", "http://x:1"}) {
    EXPECT_EQ(transport->Connect(address).status().code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_EQ(transport->Listen(address, Echo()).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
  EXPECT_EQ(transport->Listen("tcp:0.0.0.0:0", Echo()).status().code(), absl::StatusCode::kFailedPrecondition);
  for (const std::string& address :
       {std::string("tcp:localhost:0"), Unique("unix:@sluice_used_"), Unique("unix:/tmp/sluice_used_")}) {
    auto first = transport->Listen(address, Echo());
    ASSERT_TRUE(first.ok()) << first.status();
    const absl::Status second = transport->Listen((*first)->address(), Echo()).status();
    EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists) << second;
    EXPECT_TRUE(absl::StrContains(second.message(), (*first)->address())) << second;
  }
}

TEST(SocketTransportTest, FileOfAProcessThatIsGoneIsReplaced) {
  const std::string address = Unique("unix:/tmp/sluice_stale_");
  {
    auto bound = BindAndListen(address);
    ASSERT_TRUE(bound.ok()) << bound.status();
  }  // the file stays
  struct stat file = {};
  ASSERT_EQ(stat(address.c_str() + 5, &file), 0);
  auto listener = MakeSocketTransport(Options())->Listen(address, Echo());
  ASSERT_TRUE(listener.ok()) << listener.status();
  ASSERT_EQ(stat(address.c_str() + 5, &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
  EXPECT_EQ(Talk(Options(), address), absl::OkStatus());
  *listener = nullptr;
  EXPECT_NE(stat(address.c_str() + 5, &file), 0);
}

// A connection that has greeted, for sending anything at all.
Socket Greeted(const std::string& address, bool arena = false) {
  auto socket = ConnectTo(address, absl::Seconds(5), [] { return false; });
  EXPECT_TRUE(socket.ok()) << socket.status();
  FrameHeader hello;
  hello.kind = FrameKind::kHello;
  const std::string token = Options().token;
  hello.body_bytes = 8 + token.size();
  std::string bytes(kFrameHeaderBytes, '\0');
  EncodeFrameHeader(hello, &bytes[0]);
  bytes += std::string(8, '\0') + token;
  EXPECT_TRUE(SendAll(socket->fd(), bytes.data(), bytes.size(), -1, absl::Seconds(5)).ok());
  char welcome[kFrameHeaderBytes + 8];
  EXPECT_TRUE(ReceiveAll(socket->fd(), welcome, sizeof welcome, nullptr, absl::Seconds(5)).ok());
  return *std::move(socket);
}

bool IsClosed(int fd) {
  char byte;
  const absl::Status status = ReceiveAll(fd, &byte, 1, nullptr, absl::Seconds(20));
  return absl::StrContains(status.message(), "closed") || absl::StrContains(status.message(), "broke");
}

TEST(SocketTransportTest, HostileBytesCloseTheirConnectionOnly) {
  auto listener = MakeSocketTransport(Options())->Listen("tcp:localhost:0", Echo());
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::string address = (*listener)->address();
  auto channel = MakeSocketTransport(Options())->Connect(address);
  ASSERT_TRUE(channel.ok());
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    Socket socket = Greeted(address);
    std::string bytes(kFrameHeaderBytes, '\0');
    FrameHeader header;
    header.method_bytes = 10;
    header.body_bytes = 5;
    header.tensors = 1;
    header.descriptor_bytes = 20;
    header.raw_bytes = 40;
    switch (round % 6) {
      case 0:  // sizes beyond the limits
        header.body_bytes = ~uint64_t{0};
        break;
      case 1:  // not a request
        header.kind = FrameKind::kReply;
        header.tensors = 0;
        header.raw_bytes = header.descriptor_bytes = 0;
        break;
      case 2:  // a hello in the middle
        header.kind = FrameKind::kHello;
        header.raw_bytes = 0;
        break;
      default:
        break;
    }
    EncodeFrameHeader(header, &bytes[0]);
    if (round % 6 == 3) bytes[random() % 8] ^= static_cast<char>(1 + random() % 255);
    for (int i = 0; i < 200; ++i) bytes.push_back(static_cast<char>(random()));
    SendAll(socket.fd(), bytes.data(), bytes.size(), -1, absl::Seconds(5)).IgnoreError();
    EXPECT_TRUE(IsClosed(socket.fd())) << round;
  }
  // Without a greeting, and with half a frame and a goodbye.
  for (int round = 0; round < 20; ++round) {
    auto stranger = ConnectTo(address, absl::Seconds(5), [] { return false; });
    ASSERT_TRUE(stranger.ok());
    std::string rubbish(kFrameHeaderBytes + random() % 5000, '\0');
    for (char& c : rubbish) c = static_cast<char>(random());
    SendAll(stranger->fd(), rubbish.data(), rubbish.size(), -1, absl::Seconds(5)).IgnoreError();
    EXPECT_TRUE(IsClosed(stranger->fd()));
    Socket half = Greeted(address);
    std::string bytes(kFrameHeaderBytes, '\0');
    FrameHeader header;
    header.body_bytes = 1 << 30;
    EncodeFrameHeader(header, &bytes[0]);
    EXPECT_TRUE(SendAll(half.fd(), bytes.data(), random() % bytes.size(), -1, absl::Seconds(5)).ok());
  }
  EXPECT_TRUE(CallAndWait(channel->get(), "/test/Echo", Message()).ok());
}

TEST(SocketTransportTest, AnnouncedSizesTakeNoMemory) {
  auto listener = MakeSocketTransport(Options())->Listen("tcp:localhost:0", Echo());
  ASSERT_TRUE(listener.ok()) << listener.status();
  const int64_t before = HostAllocator()->stats().live_bytes;
  std::vector<Socket> sockets;
  for (int i = 0; i < 50; ++i) {  // each promises a gigabyte of body
    sockets.push_back(Greeted((*listener)->address()));
    FrameHeader header;
    header.body_bytes = 1 << 30;
    char bytes[kFrameHeaderBytes];
    EncodeFrameHeader(header, bytes);
    ASSERT_TRUE(SendAll(sockets.back().fd(), bytes, sizeof bytes, -1, absl::Seconds(5)).ok());
  }
  EXPECT_EQ(Talk(Options(), (*listener)->address()), absl::OkStatus());
  EXPECT_LT(HostAllocator()->stats().live_bytes - before, 100 << 20);
  FILE* status = std::fopen("/proc/self/statm", "r");
  long pages = 0, resident = 0;
  ASSERT_EQ(std::fscanf(status, "%ld %ld", &pages, &resident), 2);
  std::fclose(status);
  EXPECT_LT(resident * 4096 >> 20, 2000);
}

TEST(SocketTransportTest, SilentStrangersDoNotHoldTheListener) {
  SocketOptions options = Options();
  options.handshake_timeout = absl::Milliseconds(50);
  auto listener = MakeSocketTransport(options)->Listen("tcp:localhost:0", Echo());
  ASSERT_TRUE(listener.ok());
  auto silent = ConnectTo((*listener)->address(), absl::Seconds(5), [] { return false; });
  ASSERT_TRUE(silent.ok());
  EXPECT_TRUE(IsClosed(silent->fd()));
  auto another = ConnectTo((*listener)->address(), absl::Seconds(5), [] { return false; });
  *listener = nullptr;  // returns although one still greets
}

int OpenDescriptors() {
  int count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

TEST(SocketTransportTest, ConnectionsThatEndLeaveNothing) {
  const std::string address = Unique("shm:@sluice_leak_");
  auto listener = MakeSocketTransport(Options())->Listen(address, Echo());
  ASSERT_TRUE(listener.ok());
  ASSERT_EQ(Talk(Options(), address), absl::OkStatus());
  const int before = OpenDescriptors();
  for (int i = 0; i < 100; ++i) ASSERT_EQ(Talk(Options(), address), absl::OkStatus());
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (OpenDescriptors() > before + 20 && absl::Now() < end) {
    absl::SleepFor(absl::Milliseconds(10));
    ASSERT_EQ(Talk(Options(), address), absl::OkStatus());
  }
  EXPECT_LE(OpenDescriptors(), before + 20);
}

// Both sides send much at once: neither waits for the other to read first.
TEST(SocketTransportTest, LargeMessagesBothWaysDoNotBlockEachOther) {
  for (const std::string& address :
       {std::string("tcp:localhost:0"), Unique("unix:@sluice_both_"), Unique("shm:@sluice_both_")}) {
    auto listener = MakeSocketTransport(Options())->Listen(address, Echo());
    ASSERT_TRUE(listener.ok());
    auto channel = MakeSocketTransport(Options())->Connect((*listener)->address());
    ASSERT_TRUE(channel.ok());
    Message request;
    request.tensors.push_back(Ramp(8 << 20));
    std::atomic<int> right{0};
    absl::Notification all;
    constexpr int kCalls = 12;
    for (int i = 0; i < kCalls; ++i) {
      (*channel)->Call("/test/Echo", request, absl::Seconds(60), [&](absl::StatusOr<Message> reply) {
        EXPECT_TRUE(reply.ok()) << reply.status();
        EXPECT_TRUE(reply.ok() && IdenticalTensors(reply->tensors[0], request.tensors[0]));
        if (++right == kCalls) all.Notify();
      });
    }
    EXPECT_TRUE(all.WaitForNotificationWithTimeout(absl::Seconds(60)));
  }
}

// Over a UNIX socket large tensors are read from the sender's memory: the socket of this test takes only small ones.
TEST(SocketTransportTest, LargeTensorsAreReadFromTheSendersMemory) {
  SocketOptions options = Options();
  options.connection.limits.raw_bytes = 1 << 20;
  const std::string address = Unique("unix:@sluice_direct_");
  auto listener = MakeSocketTransport(options)->Listen(address, Echo());
  ASSERT_TRUE(listener.ok());
  auto channel = MakeSocketTransport(options)->Connect(address);
  // The two sides have to find out first that they can.
  Message request;
  request.tensors = {Ramp(3), Ramp(8 << 20), Tensor::Vector<std::string>({"a", "bc"}), Ramp(1 << 20), Tensor()};
  absl::StatusOr<Message> reply = absl::UnavailableError("");
  const absl::Time end = absl::Now() + absl::Seconds(20);
  while (!reply.ok() && absl::Now() < end)
    reply = CallAndWait(channel->get(), "/test/Echo", request, absl::Seconds(20));
  ASSERT_TRUE(reply.ok()) << reply.status();
  for (size_t i = 0; i < request.tensors.size(); ++i) {
    EXPECT_EQ(reply->tensors[i].IsValid(), request.tensors[i].IsValid());
    if (!request.tensors[i].IsValid()) continue;
    EXPECT_TRUE(IdenticalTensors(reply->tensors[i], request.tensors[i])) << i;
  }
  EXPECT_TRUE(reply->tensors[1].buffer()->writable());  // a place of its own
  // What was lent is given back.
  const int64_t before = HostAllocator()->stats().live_bytes;
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(CallAndWait(channel->get(), "/test/Echo", request, absl::Seconds(20)).ok());
  EXPECT_LT(HostAllocator()->stats().live_bytes - before, 40 << 20);
}

// A peer that stops reading: what waits for it is bounded, and every call ends in its time.
TEST(SocketTransportTest, APeerThatStopsReadingHoldsABoundedAmount) {
  for (const char* kind : {"tcp:localhost:0", "unix:@"}) {
    const std::string wanted = absl::StartsWith(kind, "unix") ? Unique("unix:@sluice_stall_") : std::string(kind);
    auto bound = BindAndListen(wanted);
    ASSERT_TRUE(bound.ok());
    SocketOptions options = Options();
    options.connection.max_queued_bytes = 32 << 20;
    auto channel = MakeSocketTransport(options)->Connect(bound->address);
    std::thread peer_greets;
    Socket peer;
    peer_greets = std::thread([&] {
      peer = Socket(accept4(bound->socket.fd(), nullptr, nullptr, SOCK_CLOEXEC));
      HandshakeOptions handshake;
      handshake.token = options.token;
      EXPECT_TRUE(ServerHandshake(peer.fd(), handshake, false).ok());
    });
    const int64_t before = HostAllocator()->stats().live_bytes;
    constexpr int kCalls = 40;
    std::atomic<int> ended{0}, late{0}, refused{0};
    const absl::Time began = absl::Now();
    for (int i = 0; i < kCalls; ++i) {
      Message request;
      request.tensors.push_back(Ramp(2 << 20));  // 8 MiB
      (*channel)->Call("/test/Echo", std::move(request), absl::Milliseconds(700), [&](absl::StatusOr<Message> reply) {
        if (absl::IsDeadlineExceeded(reply.status())) ++late;
        if (absl::IsResourceExhausted(reply.status())) ++refused;
        ++ended;
      });
      if (i == kCalls / 2) peer_greets.join();  // what waits for a connection is bounded too
    }
    const int64_t held = HostAllocator()->stats().live_bytes - before;
    while (ended < kCalls && absl::Now() < began + absl::Seconds(30)) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(ended, kCalls);
    EXPECT_EQ(late + refused, kCalls);
    EXPECT_GE(late, 1);
    EXPECT_GE(refused, 30) << "more than the limit was held";
    EXPECT_LT(held, 64 << 20);
    EXPECT_LT(HostAllocator()->stats().live_bytes - before, 64 << 20);
    *channel = nullptr;
  }
}

TEST(SocketTransportTest, ReceivedTensorsOutliveTheConnection) {
  const std::string address = Unique("shm:@sluice_outlive_");
  auto listener = MakeSocketTransport(Options())->Listen(address, Echo());
  ASSERT_TRUE(listener.ok());
  auto channel = MakeSocketTransport(Options())->Connect(address);
  Message request;
  request.tensors.push_back(Ramp(1 << 20));
  auto reply = CallAndWait(channel->get(), "/test/Echo", request);
  ASSERT_TRUE(reply.ok());
  EXPECT_FALSE(reply->tensors[0].buffer()->writable());  // it lies in shared memory
  *channel = nullptr;
  *listener = nullptr;
  EXPECT_TRUE(IdenticalTensors(reply->tensors[0], request.tensors[0]));
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::ConformanceMain(argc, argv, sluice::Cases()); }
