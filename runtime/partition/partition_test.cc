#include "runtime/partition/partition.h"

#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

// Every partition as text, transfers shortened to "name = _Send(inputs)"; devices are what the nodes ask for.
std::vector<std::string> Parts(absl::string_view text) {
  OpRegistry ops;
  DefineControlOps(ops);
  EXPECT_EQ(ops.Finish(), absl::OkStatus());
  Graph graph(&ops);
  EXPECT_EQ(ParseGraphText(text, &graph), absl::OkStatus());
  for (Node* n : graph.nodes()) n->set_assigned_device(n->info().device);
  auto parts = PartitionGraph(graph, [](const std::string&) { return 7; });
  if (!parts.ok()) return {std::string(parts.status().message())};
  std::vector<std::string> out;
  for (Partition& p : *parts) {
    EXPECT_EQ(VerifyGraph(*p.graph), absl::OkStatus());
    std::string lines = p.device + ":";
    for (Node* n : p.graph->nodes()) {
      absl::StrAppend(&lines, " ", n->name(), "(");
      for (const Endpoint& e : n->inputs()) absl::StrAppend(&lines, e.node->name(), ":", e.index, " ");
      for (Node* c : n->control_inputs()) absl::StrAppend(&lines, "^", c->name(), " ");
      if (lines.back() == ' ') lines.pop_back();
      lines += ")";
    }
    out.push_back(lines);
  }
  return out;
}

TEST(PartitionTest, OneDeviceIsLeftAsItIs) {
  EXPECT_THAT(Parts("a = NoOp() @d0; b = NoOp(^a) @d0"), ::testing::ElementsAre("d0: a() b(^a)"));
}

TEST(PartitionTest, EdgeAcrossDevicesBecomesSendRecvPair) {
  EXPECT_THAT(Parts("a = Placeholder(dtype=float) @d0; b = Identity(a) @d1"),
              ::testing::ElementsAre("d0: a() a/_send(a:0)", "d1: a/_recv() b(a/_recv:0)"));
}

TEST(PartitionTest, ATensorCrossesOnceForAllItsReaders) {
  EXPECT_THAT(Parts("a = Placeholder(dtype=float) @d0; b = Identity(a) @d1; c = Identity(a) @d1; d = Identity(a) @d2"),
              ::testing::ElementsAre("d0: a() a/_send(a:0) a/_send_1(a:0)", "d1: a/_recv() b(a/_recv:0) c(a/_recv:0)",
                                     "d2: a/_recv() d(a/_recv:0)"));
}

TEST(PartitionTest, ControlEdgesCrossAsEmptyTensors) {
  EXPECT_THAT(Parts("a = NoOp() @d0; b = NoOp(^a) @d1"),
              ::testing::ElementsAre("d0: a() a/_done(^a) a/_send(a/_done:0)", "d1: a/_recv() b(^a/_recv)"));
}

}  // namespace
}  // namespace sluice
