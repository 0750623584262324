#include "distributed/transport/negotiate.h"

#include "distributed/rpc/transport_conformance.h"

namespace sluice {
namespace {

TransportCase Case(const std::string& force) {
  return {force.empty() ? "best" : force,
          [force] {
            TransportSetOptions options;
            options.force = force;
            return MakeTransportSet(options);
          },
          [] { return "localhost:0"; }, force != "inproc"};
}

std::vector<TransportCase> Cases() {
  return {Case(""), Case("inproc"), Case("shm"), Case("unix"), Case("tcp"), Case("grpc")};
}

INSTANTIATE_TEST_SUITE_P(Negotiated, TransportConformance, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

// Calls until the channel has found its way.
std::string Settled(Channel* channel, const std::string& wanted) {
  const absl::Time end = absl::Now() + absl::Seconds(30);
  do {
    auto reply = CallAndWait(channel, "/test/Echo", TextMessage("x"));
    EXPECT_TRUE(reply.ok()) << reply.status();
  } while (!absl::StrContains(channel->Describe(), wanted) && absl::Now() < end);
  return channel->Describe();
}

TEST(NegotiateTest, OneProcessCallsItselfWithoutCopies) {
  TestService service;
  auto transport = MakeTransportSet({});
  auto listener = transport->Listen("localhost:0", service.handler());
  ASSERT_TRUE(listener.ok()) << listener.status();
  auto channel = transport->Connect((*listener)->address());
  ASSERT_TRUE(channel.ok());
  EXPECT_TRUE(absl::StrContains(Settled(channel->get(), "inproc:"), "inproc:"));
  Message request;
  request.tensors.push_back(Ramp(1000));
  auto reply = CallAndWait(channel->get(), "/test/Echo", request);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->tensors[0].raw_data(), request.tensors[0].raw_data());
}

TEST(NegotiateTest, ProcessesOfOneHostShareMemoryAndATaskThatComesBackIsFoundAgain) {
  auto transport = MakeTransportSet({});
  auto peer = std::make_unique<ServingProcess>("best");
  ASSERT_FALSE(peer->address().empty());
  const std::string address = peer->address();
  auto channel = transport->Connect(address);
  ASSERT_TRUE(channel.ok());
  EXPECT_TRUE(absl::StrContains(Settled(channel->get(), "shm:"), "shm:"));
  peer->Kill();
  EXPECT_EQ(CallAndWait(channel->get(), "/test/Echo", Message()).status().code(), absl::StatusCode::kUnavailable);
  TestService service;  // now in this process, at the same address
  auto listener = transport->Listen(address, service.handler());
  ASSERT_TRUE(listener.ok()) << listener.status();
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (!CallAndWait(channel->get(), "/test/Echo", Message()).ok() && absl::Now() < end) {
  }
  EXPECT_TRUE(absl::StrContains(Settled(channel->get(), "inproc:"), "inproc:"));
}

TEST(NegotiateTest, AnErrorOverSharedMemoryNamesTheTaskByItsAddress) {
  auto transport = MakeTransportSet({});
  ServingProcess peer("best");
  auto channel = transport->Connect(peer.address());
  ASSERT_TRUE(channel.ok());
  ASSERT_TRUE(absl::StrContains(Settled(channel->get(), "shm:"), "shm:"));
  absl::Notification ended;
  absl::Status status;
  (*channel)->Call("/test/Hang", Message(), absl::Seconds(60), [&](absl::StatusOr<Message> reply) {
    status = reply.status();
    ended.Notify();
  });
  peer.Kill();
  ended.WaitForNotification();
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("the task at ", peer.address(), " by shm:"))) << status;
}

TEST(NegotiateTest, PlainGrpcServersAreSpokenToOverGrpc) {
  TestService service;
  auto listener = MakeGrpcTransport({})->Listen("localhost:0", service.handler());
  ASSERT_TRUE(listener.ok());
  auto best = MakeTransportSet({})->Connect((*listener)->address());
  ASSERT_TRUE(best.ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(CallAndWait(best->get(), "/test/Echo", Message()).ok());
  EXPECT_TRUE(absl::StartsWith((*best)->Describe(), "grpc ")) << (*best)->Describe();
  TransportSetOptions forced;
  forced.force = "shm";
  auto shm = MakeTransportSet(forced)->Connect((*listener)->address());
  ASSERT_TRUE(shm.ok());
  EXPECT_EQ(CallAndWait(shm->get(), "/test/Echo", Message()).status().code(), absl::StatusCode::kUnavailable);
}

TEST(NegotiateTest, UnknownTransportsAreNamed) {
  TransportSetOptions options;
  options.force = "pigeon";
  const absl::Status status = MakeTransportSet(options)->Connect("localhost:1").status();
  EXPECT_TRUE(absl::StrContains(status.message(), "'pigeon'")) << status;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::ConformanceMain(argc, argv, sluice::Cases()); }
