#include "runtime/executor/lane_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"

namespace sluice {
namespace {

using ::testing::DoubleNear;
using ::testing::Gt;
using ::testing::Lt;

class LaneScheduleTest : public ::testing::Test {
 protected:
  LaneScheduleTest() {
    DefineTestOps(ops_);
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
    graph_ = std::make_unique<Graph>(&ops_);
  }
  // Every node costs `ns`.
  LaneSchedule Schedule(const std::vector<std::string>& lines, double ns, LaneScheduleOptions options = {}) {
    absl::Status parsed = ParseGraphText(absl::StrJoin(lines, "\n"), graph_.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    before_.resize(graph_->num_node_ids());
    work_.assign(graph_->num_node_ids(), LaneWork{ns, wide_});
    return ScheduleLanes(graph_->nodes(), before_, work_, options);
  }
  uint32_t LaneOf(const LaneSchedule& s, const std::string& name) const { return s.lane_of[graph_->Find(name)->id()]; }

  OpRegistry ops_;
  std::unique_ptr<Graph> graph_;
  std::vector<std::vector<const Node*>> before_;
  std::vector<LaneWork> work_;
  bool wide_ = false;
};

std::vector<std::string> Chains(int chains, int length) {
  std::vector<std::string> lines;
  for (int c = 0; c < chains; ++c) {
    for (int i = 0; i < length; ++i) {
      lines.push_back(
          absl::StrCat("c", c, "_", i, " = TestNull(", i == 0 ? "" : absl::StrCat("^c", c, "_", i - 1), ")"));
    }
  }
  return lines;
}

TEST_F(LaneScheduleTest, TwoChainsTakeHalfTheTimeOnTwoLanes) {
  const LaneSchedule s = Schedule(Chains(2, 20), 5e3);
  EXPECT_THAT(s.Gain(), DoubleNear(2, 0.01));
  for (int i = 1; i < 20; ++i) {
    EXPECT_EQ(LaneOf(s, absl::StrCat("c0_", i)), LaneOf(s, "c0_0"));
    EXPECT_EQ(LaneOf(s, absl::StrCat("c1_", i)), 1 - LaneOf(s, "c0_0"));
  }
}

TEST_F(LaneScheduleTest, AChainIsNotDivided) {
  const LaneSchedule s = Schedule(Chains(1, 20), 5e3);
  EXPECT_EQ(s.lanes_ns, 0);
  EXPECT_EQ(s.Gain(), 1);
  EXPECT_EQ(s.longest_ns, 100e3);
}

TEST_F(LaneScheduleTest, NodesThatDivideTheirOwnWorkGainNothing) {
  wide_ = true;
  EXPECT_THAT(Schedule(Chains(2, 20), 50e3).Gain(), DoubleNear(1, 0.01));
}

TEST_F(LaneScheduleTest, WhatCostsLessThanAHandOverStaysTogether) {
  std::vector<std::string> lines = {"a0 = TestNull()"};
  for (int i = 1; i < 100; ++i) {
    lines.push_back(absl::StrCat("b", i, " = TestNull(^a", i - 1, ")"));
    lines.push_back(absl::StrCat("c", i, " = TestNull(^a", i - 1, ")"));
    lines.push_back(absl::StrCat("a", i, " = TestNull(^b", i, ", ^c", i, ")"));
  }
  EXPECT_THAT(Schedule(lines, 50).Gain(), Lt(1.01));
}

TEST_F(LaneScheduleTest, TheLongestPathGoesFirst) {
  std::vector<std::string> lines;
  for (int i = 0; i < 10; ++i) lines.push_back(absl::StrCat("short", i, " = TestNull()"));
  for (const std::string& line : Chains(1, 10)) lines.push_back(line);
  const LaneSchedule s = Schedule(lines, 5e3);
  EXPECT_EQ(s.order[0]->name(), "c0_0");
  EXPECT_THAT(s.Gain(), Gt(1.9));
}

TEST_F(LaneScheduleTest, OrderKeepsEveryDependency) {
  std::mt19937 random(1);
  std::vector<std::string> lines;
  for (int i = 0; i < 300; ++i) {
    std::string inputs;
    if (i > 0) inputs = absl::StrCat("^n", random() % i);
    lines.push_back(absl::StrCat("n", i, " = TestNull(", inputs, ")"));
  }
  absl::Status parsed = ParseGraphText(absl::StrJoin(lines, "\n"), graph_.get());
  ASSERT_TRUE(parsed.ok()) << parsed;
  const std::vector<Node*> order = graph_->nodes();
  before_.resize(graph_->num_node_ids());
  work_.resize(graph_->num_node_ids());
  for (size_t i = 1; i < order.size(); ++i) {
    if (random() % 3 == 0) before_[order[i]->id()].push_back(order[random() % i]);
    if (random() % 5 != 0) work_[order[i]->id()].ns = static_cast<double>(random() % 1000);
  }
  LaneScheduleOptions options;
  options.lanes = 3;
  options.wanted_gain = 0;
  const LaneSchedule s = ScheduleLanes(order, before_, work_, options);
  std::vector<size_t> place(graph_->num_node_ids());
  for (size_t i = 0; i < s.order.size(); ++i) place[s.order[i]->id()] = i;
  ASSERT_EQ(s.order.size(), order.size());
  for (const Node* n : order) {
    for (const Node* c : n->control_inputs()) EXPECT_LT(place[c->id()], place[n->id()]);
    for (const Node* b : before_[n->id()]) EXPECT_LT(place[b->id()], place[n->id()]);
  }
}

}  // namespace
}  // namespace sluice
