// Bytes that no task of ours sends: greetings, frames and descriptions of tensors that were changed at random, and
// memory files that are no arenas. Each connection must be answered or closed, the listener lives and holds nothing of
// it.
//
// SLUICE_FUZZ_ROUNDS=n plays n times as many.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <random>

#include "absl/strings/str_cat.h"
#include "distributed/rpc/call.h"
#include "distributed/transport/frame.h"
#include "distributed/transport/socket.h"
#include "distributed/transport/socket_transport.h"

namespace sluice {
namespace {

constexpr char kToken[] = "the token";

int Rounds() {
  const char* rounds = std::getenv("SLUICE_FUZZ_ROUNDS");
  return rounds == nullptr ? 1 : std::max(1, std::atoi(rounds));
}

SocketOptions Options() {
  SocketOptions options;
  options.token = kToken;
  options.handshake_timeout = absl::Seconds(2);
  return options;
}

std::string HeaderBytes(const FrameHeader& header) {
  std::string bytes(kFrameHeaderBytes, '\0');
  EncodeFrameHeader(header, &bytes[0]);
  return bytes;
}

// A greeting with an arena of so many bytes announced.
std::string Hello(uint64_t arena) {
  FrameHeader hello;
  hello.kind = FrameKind::kHello;
  hello.body_bytes = 8 + sizeof(kToken) - 1;
  return HeaderBytes(hello) + std::string(reinterpret_cast<const char*>(&arena), 8) + kToken;
}

// A request with a tensor of each form; those in the arena are described, not there.
std::string Request(bool arena) {
  Bytes places;
  std::string raw;
  TensorPlace place;
  place.form = TensorPlace::kRaw;
  const Tensor floats = Tensor::Vector<float>({1, 2, 3, 4, 5});
  EXPECT_TRUE(AppendTensorPlace(floats, place, &places).ok());
  raw.assign(static_cast<const char*>(floats.raw_data()), floats.num_bytes());
  EXPECT_TRUE(AppendTensorPlace(Tensor(), place, &places).ok());
  EXPECT_TRUE(AppendTensorPlace(*Tensor::Make(DType::kString, Shape({2})), place, &places).ok());
  if (arena) {
    place.form = TensorPlace::kArena;
    place.offset = 4096;
    place.slot = 3;
    EXPECT_TRUE(AppendTensorPlace(Tensor::Vector<int64_t>({1, 2}), place, &places).ok());
  }
  FrameHeader header;
  header.call = 7;
  header.timeout_ns = 1'000'000'000;
  header.method_bytes = 10;
  header.body_bytes = 5;
  header.tensors = arena ? 4 : 3;
  header.descriptor_bytes = places.size();
  header.raw_bytes = raw.size();
  return HeaderBytes(header) + "/test/Echo" + "hello" + std::string(places) + raw;
}

class WireFuzzTest : public ::testing::Test {
 protected:
  void Listen(const std::string& address) {
    auto listener = MakeSocketTransport(Options())->Listen(
        address, [](const IncomingCall&, Message request, Reply reply) { reply(std::move(request)); });
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    address_ = listener_->address();
  }
  // As the raw socket is called.
  Socket Connect() {
    std::string at = address_;
    if (at.rfind("shm:", 0) == 0) at = "unix:" + at.substr(4);
    auto socket = ConnectTo(at, absl::Seconds(10), [] { return false; });
    EXPECT_TRUE(socket.ok()) << socket.status();
    return socket.ok() ? *std::move(socket) : Socket();
  }
  void ExpectAlive() {
    auto channel = MakeSocketTransport(Options())->Connect(address_);
    ASSERT_TRUE(channel.ok());
    Message request("x");
    request.tensors.push_back(*Tensor::Make(DType::kFloat, Shape({100'000})));
    auto reply = CallAndWait(**channel, "/test/Echo", request, absl::Seconds(30));
    EXPECT_TRUE(reply.ok()) << reply.status();
  }
  void Mutate(std::string* bytes) {
    for (int n = static_cast<int>(random_() % 4); n >= 0; --n) {
      const size_t at = random_() % bytes->size();
      switch (random_() % 6) {
        case 0:
          (*bytes)[at] = static_cast<char>((*bytes)[at] ^ (1 << random_() % 8));
          break;
        case 1:
          (*bytes)[at] = static_cast<char>(random_());
          break;
        case 2:
          bytes->resize(at + 1);
          break;
        case 3: {  // a number at its edge
          const uint64_t edges[] = {~uint64_t{0}, uint64_t{1} << 63, uint64_t{1} << 40, 0, uint64_t{1} << 31};
          const size_t place = at / 8 * 8;
          if (place + 8 <= bytes->size()) std::memcpy(&(*bytes)[place], &edges[random_() % 5], 8);
          break;
        }
        case 4:
          bytes->insert(at, bytes->substr(at, random_() % 40));
          break;
        default:
          bytes->erase(at, random_() % 20);
          if (bytes->empty()) bytes->push_back('x');
      }
    }
  }
  // Sends all of it and hangs up; what was announced and does not come must not be waited for for ever.
  void Play(const std::string& bytes, int fd = -1) {
    Socket socket = Connect();
    SendAll(socket.fd(), bytes.data(), bytes.size(), fd, absl::Seconds(5)).IgnoreError();
    if (random_() % 3 == 0) shutdown(socket.fd(), SHUT_WR);
    if (random_() % 3 == 0) {
      char some[64];
      ReceiveAll(socket.fd(), some, sizeof some, nullptr, absl::Milliseconds(20)).IgnoreError();
    }
  }

  std::mt19937_64 random_{5};
  std::unique_ptr<Listener> listener_;
  std::string address_;
};

TEST_F(WireFuzzTest, ChangedGreetingsAndFrames) {
  for (const std::string& address : {std::string("tcp:localhost:0"), absl::StrCat("unix:@sluice_fuzz_", getpid()),
                                     absl::StrCat("shm:@sluice_fuzz_shm_", getpid())}) {
    Listen(address);
    for (int i = 0; i < 400 * Rounds(); ++i) {
      std::string bytes = Hello(random_() % 2 == 0 ? 0 : 1 << 20);
      std::string frames = Request(random_() % 2 == 0) + Request(false);
      if (i % 2 == 0) Mutate(&bytes);
      if (i % 2 == 1) Mutate(&frames);
      Play(bytes + frames);
    }
    ExpectAlive();
    listener_ = nullptr;
  }
}

// What is said to be an arena is a file of another size, one that can shrink, a pipe, a directory, or nothing.
TEST_F(WireFuzzTest, FilesThatAreNoArenas) {
  Listen(absl::StrCat("shm:@sluice_fuzz_arena_", getpid()));
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  for (int i = 0; i < 200 * Rounds(); ++i) {
    int fd = -1;
    const uint64_t edges[] = {1, 4096, 1 << 20, uint64_t{1} << 40, ~uint64_t{0}, uint64_t{1} << 63};
    const uint64_t told = edges[random_() % 6];
    switch (random_() % 5) {
      case 0:
        fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        EXPECT_EQ(ftruncate(fd, static_cast<off_t>(random_() % (1 << 20))), 0);
        break;
      case 1:
        fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        EXPECT_EQ(ftruncate(fd, 1 << 20), 0);
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
        break;
      case 2:
        fd = dup(pipe_fds[0]);
        break;
      case 3:
        fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        break;
      default:
        break;
    }
    Play(Hello(told) + Request(true), fd);
    if (fd >= 0) close(fd);
  }
  close(pipe_fds[0]);
  close(pipe_fds[1]);
  ExpectAlive();
}

TEST_F(WireFuzzTest, ChangedDescriptionsOfTensors) {
  Bytes places;
  TensorPlace place;
  place.form = TensorPlace::kRaw;
  ASSERT_TRUE(AppendTensorPlace(Tensor::Vector<float>({1, 2, 3}), place, &places).ok());
  ASSERT_TRUE(AppendTensorPlace(*Tensor::Make(DType::kString, Shape({2, 2})), place, &places).ok());
  place.form = TensorPlace::kArena;
  ASSERT_TRUE(AppendTensorPlace(Tensor::Vector<int64_t>({1, 2}), place, &places).ok());
  ASSERT_TRUE(ParseTensorPlaces(places, 3, 12).ok());
  int accepted = 0;
  for (int i = 0; i < 20'000 * Rounds(); ++i) {
    std::string bytes(places);
    Mutate(&bytes);
    accepted +=
        ParseTensorPlaces(bytes, static_cast<uint32_t>(1 + random_() % 4), random_() % 2 == 0 ? 12 : random_() % 100)
                .ok()
            ? 1
            : 0;
  }
  EXPECT_LT(accepted, 10'000 * Rounds());
}

}  // namespace
}  // namespace sluice
