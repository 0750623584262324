#include "runtime/session/step_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/proto/step_stats.pb.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

NodeStats Node(std::string name, std::vector<std::string> inputs, std::vector<std::string> outputs) {
  NodeStats n;
  n.name = std::move(name);
  n.op = "MatMul";
  n.start_ns = 2500;
  n.end_ns = 4000;
  n.inputs = std::move(inputs);
  n.outputs = std::move(outputs);
  return n;
}

StepStats ThereAndBack(std::vector<NodeStats> nodes, proto::StepStats* proto) {
  StepStats stats;
  stats.start_unix_micros = 1000;
  stats.devices.push_back({"/device:CPU:0", std::move(nodes), {}});
  StepStatsToProto(stats, proto);
  StepStats back;
  StepStatsFromProto(*proto, &back);
  return back;
}

TEST(StepStatsTest, InputsAndShapesSurviveTheMessage) {
  proto::StepStats proto;
  const StepStats back = ThereAndBack({Node("y", {"x:0", "w:1"}, {"float [2,3]", "int64 []"})}, &proto);
  const NodeStats& y = back.devices[0].nodes[0];
  EXPECT_EQ(y.op, "MatMul");
  EXPECT_EQ(y.end_ns - y.start_ns, 1500);
  EXPECT_THAT(y.inputs, ElementsAre("x:0", "w:1"));
  EXPECT_THAT(y.outputs, ElementsAre("float [2,3]", "int64 []"));
  const auto& node = proto.dev_stats(0).node_stats(0);
  EXPECT_EQ(node.timeline_label(), "y = MatMul(x:0, w:1)");
  EXPECT_EQ(node.output(0).tensor_description().shape().dim(1).size(), 3);
  EXPECT_EQ(node.output(0).tensor_description().dtype(), 1);
}

TEST(StepStatsTest, ANodeWithoutInputsAndWithAnUnknownOutputIsKept) {
  proto::StepStats proto;
  const StepStats back = ThereAndBack({Node("n", {}, {"nonsense"})}, &proto);
  EXPECT_EQ(proto.dev_stats(0).node_stats(0).timeline_label(), "n = MatMul()");
  EXPECT_EQ(back.devices[0].nodes[0].op, "MatMul");
  EXPECT_THAT(back.devices[0].nodes[0].inputs, IsEmpty());
  EXPECT_THAT(back.devices[0].nodes[0].outputs, IsEmpty());
}

}  // namespace
}  // namespace sluice
