#include "runtime/partition/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "absl/strings/str_join.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "core/testing/test_ops.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class PartitionTest : public ::testing::Test {
 protected:
  PartitionTest() {
    DefineControlOps(ops_);
    DefineTestOps(ops_);
    ops_.Define("Cast", "")
        .Input("x", "SrcT")
        .Output("y", "DstT")
        .Type("SrcT")
        .Type("DstT")
        .Attr("Truncate: bool = false")
        .Shape(SameAs("x"));
    ops_.Define("TestShape", "").Input("x", "float").Output("y", "int32").Traits(kCheap).Shape(ScalarShape());
    ops_.Define("TestVar", "").Output("ref", "Ref(float)").Traits(kStateful).Shape(ScalarShape());
    ops_.Define("TestAssign", "").Input("ref", "Ref(float)").Traits(kWritesState).Shape(NoOutputs());
    EXPECT_TRUE(ops_.Finish().ok());
  }
  // Each partition as "device| node=op(inputs); ...", without attributes. Devices are written /cpu:0 and so on.
  std::vector<std::string> Split(absl::string_view text) {
    auto graph = std::make_unique<Graph>(&ops_);
    absl::Status parsed = ParseGraphText(text, graph.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    for (Node* n : graph->nodes()) n->set_assigned_device(n->info().device);
    auto parts = PartitionGraph(
        std::move(graph), [](const std::string&) { return uint64_t{7}; }, options_);
    if (!parts.ok()) return {std::string(parts.status().message())};
    std::vector<std::string> out;
    parts_.clear();
    for (const Partition& p : *parts) {
      EXPECT_TRUE(VerifyGraph(*p.graph).ok()) << VerifyGraph(*p.graph);
      std::vector<std::string> nodes;
      for (Node* n : p.graph->nodes()) {
        EXPECT_EQ(n->assigned_device(), p.device);
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
  PartitionOptions options_;
  std::vector<std::unique_ptr<Graph>> parts_;
};

TEST_F(PartitionTest, OneDeviceIsOnePartition) {
  EXPECT_THAT(Split("a = Const(value=float[1]{1}) @/cpu:0; b = TestAdd(a, a) @/cpu:0"),
              ElementsAre("/cpu:0| a=Const(); b=TestAdd(a,a)"));
}

TEST_F(PartitionTest, AnEdgeAcrossDevicesBecomesASendAndAReceive) {
  EXPECT_THAT(Split("a = Placeholder(dtype=float, shape=[1]) @/cpu:0; b = TestUnknown(a) @/cpu:1"),
              ElementsAre("/cpu:0| a=Placeholder(); a/_send_0=_Send(a)",
                          "/cpu:1| b=TestUnknown(a/_recv_0); a/_recv_0=_Recv()"));
  const Node* recv = parts_[1]->Find("a/_recv_0");
  EXPECT_EQ(*recv->info().Attr<std::string>("tensor_name"), "a:0");
  EXPECT_EQ(*recv->info().Attr<std::string>("send_device"), "/cpu:0");
  EXPECT_EQ(*recv->info().Attr<std::string>("recv_device"), "/cpu:1");
  EXPECT_EQ(*recv->info().Attr<int64_t>("send_device_incarnation"), 7);
  EXPECT_EQ(recv->output_shape(0).ToString(), "[1]") << "static shapes cross with the tensor";
}

TEST_F(PartitionTest, ATensorIsSentOnceToEachDevice) {
  EXPECT_THAT(Split("a = Placeholder(dtype=float) @/cpu:0; b = TestAdd(a, a) @/cpu:1; c = TestUnknown(a) @/cpu:1; "
                    "d = TestUnknown(a) @/cpu:2"),
              ElementsAre("/cpu:0| a=Placeholder(); a/_send_0=_Send(a); a/_send_0_1=_Send(a)",
                          "/cpu:1| b=TestAdd(a/_recv_0,a/_recv_0); c=TestUnknown(a/_recv_0); a/_recv_0=_Recv()",
                          "/cpu:2| d=TestUnknown(a/_recv_0_1); a/_recv_0_1=_Recv()"));
}

TEST_F(PartitionTest, AReferenceStaysAtHome) {
  EXPECT_THAT(Split("v = TestVar() @/cpu:0; s = TestAssign(v) @/cpu:1"),
              ElementsAre(AllOf(HasSubstr("TestAssign 's' on /cpu:1 needs the reference of 'v' on /cpu:0"))));
}

// --- Copies instead of transfers ---

TEST_F(PartitionTest, AConstantIsCopiedAndTheOriginalGoesWhenNobodyUsesIt) {
  const char* text =
      "a = Const(value=float[1]{1}) @/cpu:0; b = TestUnknown(a) @/cpu:1; c = TestUnknown(a) @/cpu:1; "
      "d = TestUnknown(a) @/cpu:2";
  EXPECT_THAT(Split(text), ElementsAre("/cpu:1| b=TestUnknown(a/_copy); c=TestUnknown(a/_copy); a/_copy=Const()",
                                       "/cpu:2| d=TestUnknown(a/_copy_1); a/_copy_1=Const()"));
  options_.replicate_bytes = 3;  // of the four
  EXPECT_THAT(Split(text)[0], HasSubstr("_Send"));
  options_.replicate_bytes = 0;
  EXPECT_THAT(Split(text)[0], HasSubstr("_Send"));
}

TEST_F(PartitionTest, AConstantThatWaitsIsSent) {
  EXPECT_THAT(Split("n = TestNull() @/cpu:0; a = Const(value=float[1]{1}, ^n) @/cpu:0; b = TestUnknown(a) @/cpu:1"),
              ElementsAre("/cpu:0| n=TestNull(); a=Const(^n); a/_send_0=_Send(a)",
                          "/cpu:1| b=TestUnknown(a/_recv_0); a/_recv_0=_Recv()"));
}

TEST_F(PartitionTest, CheapNodesOnConstantsAreCopiedWithThem) {
  EXPECT_THAT(Split("a = Const(value=float[1]{1}) @/cpu:0; i = Identity(a) @/cpu:0; s = TestShape(i) @/cpu:0; "
                    "k = Identity(s) @/cpu:1; l = Identity(i) @/cpu:0"),
              ElementsAre("/cpu:0| a=Const(); i=Identity(a); l=Identity(i)",
                          "/cpu:1| k=Identity(s/_copy); a/_copy=Const(); i/_copy=Identity(a/_copy); "
                          "s/_copy=TestShape(i/_copy)"));
}

TEST_F(PartitionTest, TheShapeOfATensorThatIsSentAnywayIsWorkedOutThere) {
  EXPECT_THAT(Split("x = Placeholder(dtype=float) @/cpu:0; s = TestShape(x) @/cpu:0; y = TestUnknown(x) @/cpu:1; "
                    "z = Identity(s) @/cpu:1"),
              ElementsAre("/cpu:0| x=Placeholder(); x/_send_0=_Send(x)",
                          "/cpu:1| y=TestUnknown(x/_recv_0); z=Identity(s/_copy); s/_copy=TestShape(x/_recv_0); "
                          "x/_recv_0=_Recv()"));
  EXPECT_THAT(Split("x = Placeholder(dtype=float) @/cpu:0; s = TestShape(x) @/cpu:0; z = Identity(s) @/cpu:1")[0],
              HasSubstr("s/_send_0=_Send(s)"))
      << "a shape is smaller than its tensor";
}

TEST_F(PartitionTest, CheapNodesAreNotCopiedToAnotherKindOfDevice) {
  EXPECT_THAT(Split("x = Placeholder(dtype=float) @/cpu:0; s = TestShape(x) @/cpu:0; y = TestUnknown(x) @/gpu:0; "
                    "z = Identity(s) @/gpu:0")[0],
              HasSubstr("s/_send_0=_Send(s)"));
}

TEST_F(PartitionTest, WorkAndStateAreNotCopied) {
  EXPECT_THAT(Split("a = Const(value=float[1]{1}) @/cpu:0; b = TestAdd(a, a) @/cpu:0; c = TestCount(a) @/cpu:0; "
                    "y = TestAdd(b, c) @/cpu:1"),
              ElementsAre("/cpu:0| a=Const(); b=TestAdd(a,a); c=TestCount(a); b/_send_0=_Send(b); c/_send_0=_Send(c)",
                          "/cpu:1| y=TestAdd(b/_recv_0,c/_recv_0); b/_recv_0=_Recv(); c/_recv_0=_Recv()"));
}

// --- Order across devices ---

TEST_F(PartitionTest, AControlEdgeAcrossDevicesSendsAnEmptyTensorAfterTheNode) {
  EXPECT_THAT(Split("a = TestNull() @/cpu:0; b = TestNull(^a) @/cpu:1; c = TestNull(^a) @/cpu:1"),
              ElementsAre("/cpu:0| a=TestNull(); _done=Const(); a/_done_send=_Send(_done,^a)",
                          "/cpu:1| b=TestNull(^a/_done_recv); c=TestNull(^a/_done_recv); a/_done_recv=_Recv()"));
}

TEST_F(PartitionTest, OneEmptyTensorStandsForAllThatANodeWaitsFor) {
  EXPECT_THAT(Split("a = TestNull() @/cpu:0; b = TestNull() @/cpu:0; c = TestNull() @/cpu:0; "
                    "d = TestNull(^a, ^b, ^c) @/cpu:1; e = TestNull(^c, ^b, ^a) @/cpu:1"),
              ElementsAre("/cpu:0| a=TestNull(); b=TestNull(); c=TestNull(); _done=Const(); "
                          "a/_done_send=_Send(_done,^a,^b,^c)",
                          "/cpu:1| d=TestNull(^a/_done_recv); e=TestNull(^a/_done_recv); a/_done_recv=_Recv()"));
}

TEST_F(PartitionTest, EmptyTensorsAreSharedByThoseWhoWaitForPartsOfTheSame) {
  EXPECT_THAT(Split("a = TestNull() @/cpu:0; b = TestNull() @/cpu:0; x = TestNull(^a) @/cpu:1; y = TestNull(^b) "
                    "@/cpu:1; z = TestNull(^a, ^b) @/cpu:1"),
              ElementsAre("/cpu:0| a=TestNull(); b=TestNull(); _done=Const(); a/_done_send=_Send(_done,^a); "
                          "b/_done_send=_Send(_done,^b)",
                          "/cpu:1| x=TestNull(^a/_done_recv); y=TestNull(^b/_done_recv); "
                          "z=TestNull(^a/_done_recv,^b/_done_recv); a/_done_recv=_Recv(); b/_done_recv=_Recv()"));
  // Three pairs of three nodes: one for each node is no more than one for each pair.
  const std::vector<std::string> parts = Split(
      "a = TestNull() @/cpu:0; b = TestNull() @/cpu:0; c = TestNull() @/cpu:0; d = TestNull() @/cpu:0; "
      "u = TestNull(^a, ^b) @/cpu:1; v = TestNull(^b, ^c) @/cpu:1; w = TestNull(^c, ^d) @/cpu:1; "
      "x = TestNull(^a, ^c) @/cpu:1; y = TestNull(^b, ^d) @/cpu:1; z = TestNull(^a, ^d) @/cpu:1");
  EXPECT_EQ(parts_[0]->num_nodes(), 4 + 1 + 4) << parts[0];
  // Two alone and three together: three, where one for each node would make four.
  Split(
      "a = TestNull() @/cpu:0; b = TestNull() @/cpu:0; c = TestNull() @/cpu:0; d = TestNull() @/cpu:0; "
      "x = TestNull(^a) @/cpu:1; y = TestNull(^b) @/cpu:1; z = TestNull(^b, ^c, ^d) @/cpu:1");
  EXPECT_EQ(parts_[0]->num_nodes(), 4 + 1 + 3);
}

TEST_F(PartitionTest, ATensorThatCrossesAnywaySaysThatItsMakerHasRun) {
  EXPECT_THAT(Split("x = Placeholder(dtype=float, shape=[2]) @/cpu:0; a = TestCount(x) @/cpu:0; b = TestUnknown(a) "
                    "@/cpu:1; n = TestNull(^a) @/cpu:1"),
              ElementsAre("/cpu:0| x=Placeholder(); a=TestCount(x); a/_send_0=_Send(a)",
                          "/cpu:1| b=TestUnknown(a/_recv_0); n=TestNull(^a/_recv_0); a/_recv_0=_Recv()"));
  EXPECT_THAT(Split("x = Placeholder(dtype=float, shape=[100000]) @/cpu:0; a = TestCount(x) @/cpu:0; b = "
                    "TestUnknown(a) @/cpu:1; n = TestNull(^a) @/cpu:1")[1],
              HasSubstr("n=TestNull(^a/_done_recv)"))
      << "nobody waits longer than needed for a large one";
}

TEST_F(PartitionTest, ImpliedOrderIsNotSent) {
  EXPECT_THAT(Split("x = Placeholder(dtype=float) @/cpu:0; a = TestCount(x) @/cpu:0; b = TestUnknown(a) @/cpu:1; "
                    "c = TestUnknown(b, ^a) @/cpu:1; d = TestUnknown(c, ^a) @/cpu:1; e = TestUnknown(a, ^a) @/cpu:1"),
              ElementsAre("/cpu:0| x=Placeholder(); a=TestCount(x); a/_send_0=_Send(a)",
                          "/cpu:1| b=TestUnknown(a/_recv_0); c=TestUnknown(b); d=TestUnknown(c); "
                          "e=TestUnknown(a/_recv_0); a/_recv_0=_Recv()"));
  // Along a chain of control edges, and across a third device.
  EXPECT_THAT(Split("a = TestNull() @/cpu:0; b = TestNull(^a) @/cpu:2; c = TestNull(^b, ^a) @/cpu:1"),
              ElementsAre("/cpu:0| a=TestNull(); _done=Const(); a/_done_send=_Send(_done,^a)",
                          "/cpu:1| c=TestNull(^b/_done_recv); b/_done_recv=_Recv()",
                          "/cpu:2| b=TestNull(^a/_done_recv); a/_done_recv=_Recv(); _done_1=Const(); "
                          "b/_done_send=_Send(_done_1,^b)"));
  options_.drop_implied_order = false;
  EXPECT_THAT(Split("a = TestNull() @/cpu:0; b = TestNull(^a) @/cpu:2; c = TestNull(^b, ^a) @/cpu:1")[1],
              HasSubstr("c=TestNull(^a/_done_recv"));
}

TEST_F(PartitionTest, AConstantImpliesNoOrder) {
  // k has its value before the step begins, whatever it waits for: c must wait for a itself.
  EXPECT_THAT(Split("a = TestNull() @/cpu:0; k = Const(value=float[1]{1}, ^a) @/cpu:1; c = TestUnknown(k, ^a) "
                    "@/cpu:1")[1],
              HasSubstr("c=TestUnknown(k,^a/_done_recv)"));
}

TEST_F(PartitionTest, NobodyWaitsForAConstant) {
  EXPECT_THAT(Split("a = Const(value=float[1]{1}) @/cpu:0; n = TestNull() @/cpu:0; b = TestNull(^a) @/cpu:1"),
              ElementsAre("/cpu:0| a=Const(); n=TestNull()", "/cpu:1| b=TestNull()"));
}

// --- Half the bytes ---

TEST_F(PartitionTest, FloatsCrossAsBfloat16WhenAsked) {
  options_.bfloat16_transfers = true;
  EXPECT_THAT(Split("x = Placeholder(dtype=float, shape=[2]) @/cpu:0; s = TestShape(x) @/cpu:0; a = TestUnknown(x) "
                    "@/cpu:1; b = TestUnknown(x) @/cpu:2; t = Identity(s) @/cpu:3"),
              ElementsAre("/cpu:0| x=Placeholder(); s=TestShape(x); x/_to_bfloat16_0=Cast(x); "
                          "x/_send_0=_Send(x/_to_bfloat16_0); x/_send_0_1=_Send(x/_to_bfloat16_0); s/_send_0=_Send(s)",
                          "/cpu:1| a=TestUnknown(x/_from_bfloat16_0); x/_recv_0=_Recv(); "
                          "x/_from_bfloat16_0=Cast(x/_recv_0)",
                          "/cpu:2| b=TestUnknown(x/_from_bfloat16_0_1); x/_recv_0_1=_Recv(); "
                          "x/_from_bfloat16_0_1=Cast(x/_recv_0_1)",
                          "/cpu:3| t=Identity(s/_recv_0); s/_recv_0=_Recv()"));
  EXPECT_EQ(*parts_[1]->Find("x/_recv_0")->info().Attr<DType>("tensor_type"), DType::kBfloat16);
  EXPECT_EQ(*parts_[0]->Find("x/_to_bfloat16_0")->info().Attr<bool>("Truncate"), true);
  EXPECT_EQ(parts_[1]->Find("x/_from_bfloat16_0")->output_shape(0).ToString(), "[2]");
}

// --- Late receives ---

TEST_F(PartitionTest, ALargeReceiveBeginsWhenItsConsumerIsNear) {
  options_.late_receive_bytes = 1 << 20;
  // On cpu:1 four nodes of 4 MB run before y reads x.
  const char* text =
      "x = Placeholder(dtype=float, shape=[1000,1000]) @/cpu:0; z = Placeholder(dtype=float, shape=[1000,1000]) "
      "@/cpu:1; a = TestAdd(z, z) @/cpu:1; b = TestAdd(a, a) @/cpu:1; c = TestAdd(b, b) @/cpu:1; d = TestAdd(c, c) "
      "@/cpu:1; y = TestAdd(d, x) @/cpu:1";
  EXPECT_THAT(Split(text)[1], HasSubstr("x/_recv_0=_Recv(^c)"));
  options_.late_receive_bytes = 8 << 20;
  EXPECT_THAT(Split(text)[1], HasSubstr("x/_recv_0=_Recv()")) << "too small to matter";
}

TEST_F(PartitionTest, AReceiveThatIsWantedSoonBeginsAtOnce) {
  options_.late_receive_bytes = 0;
  EXPECT_THAT(Split("x = Placeholder(dtype=float, shape=[1000,1000]) @/cpu:0; z = Placeholder(dtype=float, "
                    "shape=[1000,1000]) @/cpu:1; a = TestAdd(z, z) @/cpu:1; y = TestAdd(x, x) @/cpu:1; "
                    "y1 = TestAdd(y, y) @/cpu:1; y2 = TestAdd(y1, a) @/cpu:1")[1],
              HasSubstr("x/_recv_0=_Recv()"));
}

TEST_F(PartitionTest, LateReceivesCloseNoCycle) {
  // Random graphs over three devices; after the cut, sends and receives joined again must have an order.
  options_.late_receive_bytes = 0;
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::string text = "n0 = Placeholder(dtype=float, shape=[1000]) @/cpu:0";
    for (int i = 1; i < 40; ++i) {
      const int a = random() % i, b = random() % i, c = random() % i, shape = random() % 3;
      absl::StrAppend(&text, "; n", i, " = ", shape == 0 ? "TestMix(n" : "TestCount(n", a,
                      shape == 0 ? absl::StrCat(", n", b, ", N=2") : "",
                      random() % 3 == 0 ? absl::StrCat(", ^n", c) : "", ") @/cpu:", random() % 3);
    }
    Split(text);
    // A node has run when its inputs have, and a receive when its send has.
    std::set<const Node*> done;
    std::set<std::string> sent;
    size_t total = 0;
    for (const auto& part : parts_) total += part->num_nodes();
    for (bool progress = true; progress;) {
      progress = false;
      for (const auto& part : parts_) {
        for (const Node* n : part->nodes()) {
          if (done.count(n)) continue;
          auto has_run = [&](const Node* m) { return done.count(m) > 0; };
          bool ready =
              std::all_of(n->inputs().begin(), n->inputs().end(), [&](const Endpoint& e) { return has_run(e.node); }) &&
              std::all_of(n->control_inputs().begin(), n->control_inputs().end(), has_run);
          std::string key;
          if (n->op().name == "_Send" || n->op().name == "_Recv") {
            key = absl::StrCat(*n->info().Attr<std::string>("tensor_name"), *n->info().Attr<std::string>("send_device"),
                               *n->info().Attr<std::string>("recv_device"));
          }
          if (n->op().name == "_Recv") ready = ready && sent.count(key);
          if (!ready) continue;
          if (n->op().name == "_Send") {
            EXPECT_TRUE(sent.insert(key).second) << key;
          }
          done.insert(n);
          progress = true;
        }
      }
    }
    ASSERT_EQ(done.size(), total) << text;
  }
}

}  // namespace
}  // namespace sluice
