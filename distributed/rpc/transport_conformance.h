// What every transport promises, as tests. A test file names its transports and takes main() from here:
//
//   INSTANTIATE_TEST_SUITE_P(Grpc, TransportConformance, testing::Values(TransportCase{"grpc", make, listen}));
//   int main(int argc, char** argv) { return ConformanceMain(argc, argv, {...}); }
#ifndef SLUICE_DISTRIBUTED_RPC_TRANSPORT_CONFORMANCE_H_
#define SLUICE_DISTRIBUTED_RPC_TRANSPORT_CONFORMANCE_H_

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "distributed/rpc/transport.h"
#include "gtest/gtest.h"

// Debian's c-ares, which gRPC asks for addresses, loses a few bytes for each question.
extern "C" __attribute__((used)) const char* __lsan_default_suppressions() { return "leak:libcares\n"; }

namespace sluice {

struct TransportCase {
  std::string name;
  std::function<std::unique_ptr<Transport>()> make;
  std::function<std::string()> listen_address;
  bool other_processes = true;
};

inline std::ostream& operator<<(std::ostream& out, const TransportCase& c) { return out << c.name; }

inline absl::StatusOr<Message> CallAndWait(Channel* channel, const std::string& method, Message request,
                                           absl::Duration timeout = absl::Seconds(60)) {
  struct Outcome {
    absl::Notification done;
    absl::StatusOr<Message> reply = absl::UnknownError("no reply");
    std::atomic<int> times{0};
  };
  auto outcome = std::make_shared<Outcome>();
  channel->Call(method, std::move(request), timeout, [outcome](absl::StatusOr<Message> reply) {
    if (outcome->times++ > 0) return;
    outcome->reply = std::move(reply);
    outcome->done.Notify();
  });
  if (!outcome->done.WaitForNotificationWithTimeout(timeout + absl::Seconds(60))) {
    return absl::InternalError("the call never ended");
  }
  return std::move(outcome->reply);
}

// A body is a protocol buffer: here one with `text` as its field 1.
inline Message TextMessage(absl::string_view text) {
  std::string body = "\x0a";
  size_t size = text.size();
  for (; size >= 0x80; size >>= 7) body.push_back(static_cast<char>(size | 0x80));
  body.push_back(static_cast<char>(size));
  return Message(absl::StrCat(body, text));
}
inline std::string TextOf(const Message& message) {
  size_t at = 1;
  while (at < message.body.size() && (message.body[at] & 0x80)) ++at;
  return at < message.body.size() ? std::string(message.body.substr(at + 1)) : "";
}

// Calls that the tests' listener understands.
class TestService {
 public:
  Handler handler() {
    return [this](const IncomingCall& call, Message request, Reply reply) {
      if (call.method == "/test/Echo") return reply(std::move(request));
      if (call.method == "/test/Later") {  // answered from another thread
        absl::MutexLock lock(&mu_);
        threads_.emplace_back([request = std::move(request), reply = std::move(reply)] { reply(request); });
        return;
      }
      if (call.method == "/test/Fail") {
        absl::Status status(absl::StatusCode::kFailedPrecondition, TextOf(request));
        status.SetPayload("test/payload", absl::Cord(std::string("\0\xff raw", 6)));
        return reply(status);
      }
      if (call.method == "/test/Timeout")
        return reply(TextMessage(absl::StrCat(absl::ToInt64Milliseconds(call.timeout))));
      if (call.method == "/test/Forget") return;
      if (call.method == "/test/Hang") {
        absl::MutexLock lock(&mu_);
        hanging_.push_back(std::move(reply));
        return;
      }
      reply(absl::UnimplementedError(absl::StrCat("no method ", call.method)));
    };
  }
  bool WaitForHanging(size_t count) {
    const absl::Time end = absl::Now() + absl::Seconds(30);
    while (absl::Now() < end) {
      {
        absl::MutexLock lock(&mu_);
        if (hanging_.size() >= count) return true;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  }
  std::vector<Reply> TakeHanging() {
    absl::MutexLock lock(&mu_);
    return std::move(hanging_);
  }
  ~TestService() {
    for (auto& t : threads_) t.join();
  }

 private:
  absl::Mutex mu_;
  std::vector<Reply> hanging_;
  std::vector<std::thread> threads_;
};

inline Tensor Ramp(int64_t count) {
  Tensor t = Tensor::Make(DType::kInt32, Shape({count})).value();
  for (int64_t i = 0; i < count; ++i) t.data<int32_t>()[i] = static_cast<int32_t>(i * 2654435761u);
  return t;
}

class TransportConformance : public testing::TestWithParam<TransportCase> {
 protected:
  void SetUp() override {
    transport_ = GetParam().make();
    address_ = GetParam().listen_address();
  }
  void Start() {
    auto listener = transport_->Listen(address_, service_.handler());
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
    address_ = listener_->address();
    Connect();
  }
  void Connect() {
    auto channel = transport_->Connect(address_);
    ASSERT_TRUE(channel.ok()) << channel.status();
    channel_ = *std::move(channel);
  }
  absl::StatusOr<Message> Call(const std::string& method, Message request = Message(),
                               absl::Duration timeout = absl::Seconds(60)) {
    return CallAndWait(channel_.get(), method, std::move(request), timeout);
  }

  TestService service_;
  std::unique_ptr<Transport> transport_;
  std::string address_;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<Channel> channel_;
};

TEST_P(TransportConformance, CarriesBodyAndTensorsBothWays) {
  Start();
  Message request = TextMessage("hello");
  request.tensors = {Tensor::Scalar<float>(1.5f),
                     Ramp(100000),
                     Tensor(),
                     Tensor::Vector<std::string>({"a", "", "ccc"}),
                     Tensor::Make(DType::kDouble, Shape({0, 3})).value(),
                     Ramp(5000).SliceRows(10, 4000)};
  for (const char* method : {"/test/Echo", "/test/Later"}) {
    auto reply = Call(method, request);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->body, request.body);
    ASSERT_EQ(reply->tensors.size(), request.tensors.size());
    for (size_t i = 0; i < request.tensors.size(); ++i) {
      EXPECT_EQ(reply->tensors[i].dtype(), request.tensors[i].dtype()) << i;
      if (!request.tensors[i].IsValid()) continue;
      EXPECT_TRUE(IdenticalTensors(reply->tensors[i], request.tensors[i])) << i;
    }
  }
  auto empty = Call("/test/Echo");
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_TRUE(empty->body.empty() && empty->tensors.empty());
}

TEST_P(TransportConformance, CarriesLargeTensorsAligned) {
  Start();
  Message request = TextMessage("x");
  request.tensors = {Ramp(16 << 20), Ramp(12345)};
  for (int round = 0; round < 3; ++round) {
    auto reply = Call("/test/Echo", request);
    ASSERT_TRUE(reply.ok()) << reply.status();
    ASSERT_EQ(reply->tensors.size(), 2u);
    EXPECT_TRUE(IdenticalTensors(reply->tensors[0], request.tensors[0]));
    EXPECT_TRUE(IdenticalTensors(reply->tensors[1], request.tensors[1]));
    for (const Tensor& t : reply->tensors) EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw_data()) % 64, 0u);
  }
}

TEST_P(TransportConformance, HandlersErrorsKeepCodeMessageAndPayloads) {
  Start();
  const absl::Status status = Call("/test/Fail", TextMessage("line 1\nüñ%20 \x01")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "line 1\nüñ%20 \x01");
  EXPECT_EQ(status.GetPayload("test/payload"), absl::Cord(std::string("\0\xff raw", 6)));
  EXPECT_FALSE(status.GetPayload(kTransportPayload).has_value());
  const absl::Status cut = Call("/test/Fail", TextMessage(std::string(1 << 20, 'x'))).status();
  EXPECT_EQ(cut.code(), absl::StatusCode::kFailedPrecondition) << cut;
  EXPECT_LE(cut.message().size(), 1u << 20);
  EXPECT_EQ(Call("/test/NoSuch").status().code(), absl::StatusCode::kUnimplemented);
}

TEST_P(TransportConformance, CallEndsAfterItsTime) {
  Start();
  const absl::Status status = Call("/test/Hang", Message(), absl::Milliseconds(100)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_TRUE(status.GetPayload(kTransportPayload).has_value());
  EXPECT_TRUE(absl::StrContains(status.message(), "/test/Hang")) << status;
  for (Reply& late : service_.TakeHanging()) late(TextMessage("too late"));  // nobody is hurt
  EXPECT_TRUE(Call("/test/Echo").ok());
}

TEST_P(TransportConformance, HandlerLearnsHowLongTheCallerWaits) {
  Start();
  auto reply = Call("/test/Timeout", Message(), absl::Seconds(50));
  ASSERT_TRUE(reply.ok()) << reply.status();
  int ms = 0;
  ASSERT_TRUE(absl::SimpleAtoi(TextOf(*reply), &ms));
  EXPECT_GT(ms, 0);
  EXPECT_LE(ms, 51000);
}

TEST_P(TransportConformance, ForgottenReplyIsAnError) {
  Start();
  const absl::Status status = Call("/test/Forget").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
}

TEST_P(TransportConformance, NobodyThereIsUnavailable) {
  Start();
  listener_.reset();
  Connect();
  const absl::Status status = Call("/test/Echo", Message(), absl::Seconds(30)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_TRUE(status.GetPayload(kTransportPayload).has_value());
}

TEST_P(TransportConformance, ListenerThatGoesEndsItsCallsAndMayComeBack) {
  Start();
  absl::Status status;
  std::thread caller([&] { status = Call("/test/Hang").status(); });
  EXPECT_TRUE(service_.WaitForHanging(1));
  listener_.reset();
  caller.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_TRUE(status.GetPayload(kTransportPayload).has_value());
  for (Reply& late : service_.TakeHanging()) late(TextMessage("too late"));
  auto again = transport_->Listen(address_, service_.handler());
  ASSERT_TRUE(again.ok()) << again.status();
  const absl::Time end = absl::Now() + absl::Seconds(30);
  absl::StatusOr<Message> reply;
  do {  // the channel connects again by itself
    reply = Call("/test/Echo", TextMessage("x"));
  } while (!reply.ok() && absl::Now() < end);
  EXPECT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ((*again)->address(), address_);
}

TEST_P(TransportConformance, DroppedChannelCancelsItsCalls) {
  Start();
  absl::Notification done;
  absl::Status status;
  channel_->Call("/test/Hang", Message(), absl::Seconds(60), [&](absl::StatusOr<Message> reply) {
    status = reply.status();
    done.Notify();
  });
  EXPECT_TRUE(service_.WaitForHanging(1));
  channel_.reset();
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  service_.TakeHanging();
}

TEST_P(TransportConformance, ManyCallsAtOnce) {
  Start();
  constexpr int kThreads = 8, kCalls = 100;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        Message request = TextMessage(absl::StrCat(t, ":", i));
        request.tensors.push_back(Ramp(1 + (i % 7) * (i % 7) * 1000));
        auto reply = Call(i % 2 ? "/test/Later" : "/test/Echo", request);
        if (reply.ok() && reply->body == request.body && reply->tensors.size() == 1 &&
            IdenticalTensors(reply->tensors[0], request.tensors[0])) {
          ++right;
        } else if (!reply.ok()) {
          ADD_FAILURE() << reply.status();
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(right, kThreads * kCalls);
}

// Everything is torn down while calls are under way; every call ends, and only once.
TEST_P(TransportConformance, TearingDownUnderLoadEndsEveryCall) {
  for (int round = 0; round < 6; ++round) {
    Start();
    constexpr int kCalls = 60;
    struct Counts {
      std::atomic<int> ended{0};
      absl::Notification all;
    };
    auto counts = std::make_shared<Counts>();
    for (int i = 0; i < kCalls; ++i) {
      Message request = TextMessage("x");
      request.tensors.push_back(Ramp(i * 3000));
      channel_->Call(i % 3 == 0   ? "/test/Hang"
                     : i % 3 == 1 ? "/test/Echo"
                                  : "/test/Later",
                     std::move(request), absl::Seconds(60), [counts](absl::StatusOr<Message> reply) {
                       if (++counts->ended == kCalls) counts->all.Notify();
                     });
    }
    if (round % 2 == 0) {
      listener_.reset();
    } else {
      channel_.reset();
      listener_.reset();
    }
    EXPECT_TRUE(counts->all.WaitForNotificationWithTimeout(absl::Seconds(50))) << counts->ended;
    EXPECT_EQ(counts->ended, kCalls);
    service_.TakeHanging();
    address_ = GetParam().listen_address();
  }
}

// The same binary, serving in a process of its own.
class ServingProcess {
 public:
  explicit ServingProcess(const std::string& transport) {
    int fds[2];
    if (pipe(fds) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(fds[1], STDOUT_FILENO);
      close(fds[0]);
      execl("/proc/self/exe", "serve", "--serve", transport.c_str(), nullptr);
      _exit(127);
    }
    close(fds[1]);
    FILE* in = fdopen(fds[0], "r");
    char line[512] = {};
    if (std::fgets(line, sizeof line, in) != nullptr) address_.assign(line, std::strcspn(line, "\n"));
    std::fclose(in);
  }
  ~ServingProcess() { Kill(); }
  void Signal(int signal) { kill(pid_, signal); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  const std::string& address() const { return address_; }

 private:
  pid_t pid_ = -1;
  std::string address_;
};

TEST_P(TransportConformance, KilledPeerEndsItsCallsAtOnce) {
  if (!GetParam().other_processes) GTEST_SKIP() << "calls of one process";
  ServingProcess peer(GetParam().name);
  ASSERT_FALSE(peer.address().empty());
  address_ = peer.address();
  Connect();
  Message request = TextMessage("x");
  request.tensors.push_back(Ramp(1 << 20));
  for (int i = 0; i < 3; ++i) {
    auto reply = Call("/test/Echo", request);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_TRUE(IdenticalTensors(reply->tensors[0], request.tensors[0]));
  }
  absl::Notification done;
  absl::Status status;
  channel_->Call("/test/Hang", Message(), absl::Seconds(60), [&](absl::StatusOr<Message> reply) {
    status = reply.status();
    done.Notify();
  });
  ASSERT_TRUE(Call("/test/Echo").ok());
  const absl::Time killed = absl::Now();
  peer.Kill();
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_LT(absl::Now() - killed, absl::Seconds(20));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_TRUE(status.GetPayload(kTransportPayload).has_value());
  EXPECT_EQ(Call("/test/Echo").status().code(), absl::StatusCode::kUnavailable);
}

inline int ConformanceMain(int argc, char** argv, const std::vector<TransportCase>& cases) {
  if (argc == 3 && std::strcmp(argv[1], "--serve") == 0) {
    TestService service;
    for (const TransportCase& c : cases) {
      if (c.name != argv[2]) continue;
      auto transport = c.make();
      auto listener = transport->Listen(c.listen_address(), service.handler());
      if (!listener.ok()) {
        std::fprintf(stderr, "%s\n", listener.status().ToString().c_str());
        return 1;
      }
      std::printf("%s\n", (*listener)->address().c_str());
      std::fclose(stdout);
      absl::SleepFor(absl::Seconds(120));  // killed long before
    }
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_TRANSPORT_CONFORMANCE_H_
