#include "distributed/transport/inproc_transport.h"

#include "distributed/rpc/transport_conformance.h"

namespace sluice {
namespace {

std::vector<TransportCase> Cases() {
  return {{"inproc", [] { return MakeInprocTransport(); }, [] { return "inproc:"; }, false}};
}

INSTANTIATE_TEST_SUITE_P(Inproc, TransportConformance, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

TEST(InprocTransportTest, NamesAreTakenOnce) {
  TestService service;
  auto transport = MakeInprocTransport();
  auto first = transport->Listen("inproc:name", service.handler());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(IsInprocListener("inproc:name"));
  EXPECT_EQ(transport->Listen("inproc:name", service.handler()).status().code(), absl::StatusCode::kAlreadyExists);
  *first = nullptr;
  EXPECT_FALSE(IsInprocListener("inproc:name"));
  EXPECT_TRUE(transport->Listen("inproc:name", service.handler()).ok());
  EXPECT_EQ(transport->Connect("localhost:5").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::ConformanceMain(argc, argv, sluice::Cases()); }
