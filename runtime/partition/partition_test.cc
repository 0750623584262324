#include "runtime/partition/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "core/testing/test_ops.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PartitionTest : public ::testing::Test {
 protected:
  PartitionTest() {
    DefineControlOps(ops_);
    DefineTestOps(ops_);
    EXPECT_TRUE(ops_.Finish().ok());
  }
  // Each partition as "device| node = op(inputs); ...", without attributes.
  std::vector<std::string> Split(absl::string_view text) {
    auto graph = std::make_unique<Graph>(&ops_);
    absl::Status parsed = ParseGraphText(text, graph.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    for (Node* n : graph->nodes()) n->set_assigned_device(n->info().device);
    auto parts = PartitionGraph(std::move(graph), [](const std::string&) { return uint64_t{7}; });
    if (!parts.ok()) return {std::string(parts.status().message())};
    std::vector<std::string> out;
    for (const Partition& p : *parts) {
      EXPECT_TRUE(VerifyGraph(*p.graph).ok()) << VerifyGraph(*p.graph);
      std::vector<std::string> nodes;
      for (Node* n : p.graph->nodes()) {
        std::vector<std::string> inputs;
        for (const Endpoint& e : n->inputs()) inputs.push_back(e.node->name());
        for (Node* c : n->control_inputs()) inputs.push_back("^" + c->name());
        nodes.push_back(absl::StrCat(n->name(), "=", n->op().name, "(", absl::StrJoin(inputs, ","), ")"));
      }
      out.push_back(absl::StrCat(p.device, "| ", absl::StrJoin(nodes, "; ")));
      parts_.push_back(std::move(const_cast<Partition&>(p).graph));
    }
    return out;
  }
  OpRegistry ops_;
  std::vector<std::unique_ptr<Graph>> parts_;
};

TEST_F(PartitionTest, OneDeviceIsOnePartition) {
  EXPECT_THAT(Split("a = Const(value=float[1]{1}) @/cpu:0; b = TestAdd(a, a) @/cpu:0"),
              ElementsAre("/cpu:0| a=Const(); b=TestAdd(a,a)"));
}

TEST_F(PartitionTest, AnEdgeAcrossDevicesBecomesASendAndAReceive) {
  EXPECT_THAT(
      Split("a = Const(value=float[1]{1}) @/cpu:0; b = TestUnknown(a) @/cpu:1"),
      ElementsAre("/cpu:0| a=Const(); a/_send_0=_Send(a)", "/cpu:1| b=TestUnknown(a/_recv_0); a/_recv_0=_Recv()"));
  const Node* recv = parts_[1]->Find("a/_recv_0");
  EXPECT_EQ(*recv->info().Attr<std::string>("send_device"), "/cpu:0");
  EXPECT_EQ(*recv->info().Attr<std::string>("recv_device"), "/cpu:1");
  EXPECT_EQ(*recv->info().Attr<int64_t>("send_device_incarnation"), 7);
  EXPECT_EQ(recv->output_shape(0).ToString(), "[1]") << "static shapes cross with the tensor";
}

TEST_F(PartitionTest, ATensorIsSentOnceToEachDevice) {
  EXPECT_THAT(Split("a = Const(value=float[1]{1}) @/cpu:0; b = TestAdd(a, a) @/cpu:1; c = TestUnknown(a) @/cpu:1; "
                    "d = TestUnknown(a) @/cpu:2"),
              ElementsAre("/cpu:0| a=Const(); a/_send_0=_Send(a); a/_send_0_1=_Send(a)",
                          "/cpu:1| b=TestAdd(a/_recv_0,a/_recv_0); c=TestUnknown(a/_recv_0); a/_recv_0=_Recv()",
                          "/cpu:2| d=TestUnknown(a/_recv_0_1); a/_recv_0_1=_Recv()"));
}

TEST_F(PartitionTest, AControlEdgeAcrossDevicesSendsAnEmptyTensorAfterTheNode) {
  EXPECT_THAT(Split("a = TestNull() @/cpu:0; b = TestNull(^a) @/cpu:1; c = TestNull(^a) @/cpu:1"),
              ElementsAre("/cpu:0| a=TestNull(); a/_done=Const(); a/_done_after=IdentityN(a/_done,^a); "
                          "a/_done_after/_send_0=_Send(a/_done_after)",
                          "/cpu:1| b=TestNull(^a/_done_after/_recv_0); c=TestNull(^a/_done_after/_recv_0); "
                          "a/_done_after/_recv_0=_Recv()"));
}

}  // namespace
}  // namespace sluice
