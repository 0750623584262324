#include "distributed/rpc/byte_call.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"

namespace sluice {
namespace {

constexpr absl::Duration kSoon = absl::Milliseconds(50);
constexpr absl::Duration kDeadline = absl::Seconds(30);
constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const char kListServices[] = "\x3a\x00";  // ServerReflectionRequest.list_services: ""

struct Server {
  Server() {
    GrpcOptions options;
    options.services = {"sluice.proto.WorkerService"};
    transport = MakeGrpcTransport(std::move(options));
    listener = *transport->Listen("localhost:0", [](const IncomingCall& call, Message, Reply reply) {
      if (absl::EndsWith(call.method, "/Refuse")) return reply(absl::NotFoundError("there is none"));
      held.push_back(std::move(reply));  // never answered
    });
  }
  std::unique_ptr<ByteCall> Start(const std::string& method, absl::Duration limit = absl::InfiniteDuration()) {
    auto call = ByteCall::Start(listener->address(), method, {}, limit);
    EXPECT_TRUE(call.ok()) << call.status();
    return *std::move(call);
  }
  static std::vector<Reply> held;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Listener> listener;
};
std::vector<Reply> Server::held;

TEST(ByteCallTest, OneMessageForOne) {
  Server server;
  auto call = server.Start("/grpc.health.v1.Health/Check", kDeadline);
  ASSERT_TRUE(call->Send("", true, kDeadline).ok());
  auto answer = call->Receive(kDeadline);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, std::string("\x08\x01"));  // SERVING
  EXPECT_EQ(call->Receive(kDeadline).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(ByteCallTest, AStreamIsReadWhenSomethingComes) {
  Server server;
  auto call = server.Start(kReflection);
  const std::string request(kListServices, 2);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(call->Send(request, false, kDeadline).ok());
    auto answer = call->Receive(kDeadline);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_TRUE(absl::StrContains(*answer, "sluice.proto.WorkerService"));
    EXPECT_EQ(call->Receive(kSoon).status().code(), absl::StatusCode::kDeadlineExceeded);
  }
  ASSERT_TRUE(call->Send(request, true, kDeadline).ok());
  EXPECT_TRUE(call->Receive(kDeadline).ok());
  EXPECT_EQ(call->Receive(kDeadline).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(ByteCallTest, ErrorsNameTheMethodAndTheAddress) {
  Server server;
  const std::string address = server.listener->address();
  auto refused = server.Start("/a.B/Refuse");
  ASSERT_TRUE(refused->Send("", true, kDeadline).ok());
  absl::Status status = refused->Receive(kDeadline).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("/a.B/Refuse at ", address, ": there is none")))
      << status;

  auto silent = server.Start("/a.B/Silent", absl::Milliseconds(200));
  ASSERT_TRUE(silent->Send("", true, kDeadline).ok());
  EXPECT_EQ(silent->Receive(kDeadline).status().code(), absl::StatusCode::kDeadlineExceeded);

  server.listener.reset();
  auto nobody = ByteCall::Start(address, "/a.B/C", {}, kDeadline);
  ASSERT_TRUE(nobody.ok());
  status = (*nobody)->Send("", true, kDeadline);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), address)) << status;

  EXPECT_EQ(ByteCall::Start("nowhere", "/a.B/C", {}, kDeadline).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ByteCall::Start(address, "Check", {}, kDeadline).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ByteCallTest, ACallMayBeDroppedAtAnyMoment) {
  Server server;
  server.Start(kReflection);
  auto call = server.Start(kReflection);
  EXPECT_EQ(call->Receive(kSoon).status().code(), absl::StatusCode::kDeadlineExceeded);  // a read is under way
  call->Cancel();
  EXPECT_EQ(call->Receive(kDeadline).status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace sluice
