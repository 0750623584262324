#include "runtime/executor/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/str_join.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"
#include "runtime/device/cpu_device.h"
#include "runtime/executor/schedule.h"
#include "runtime/executor/step.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class RanKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return absl::OkStatus(); }
};

class PlanTest : public ::testing::Test {
 protected:
  PlanTest() : pool_(1), devices_(MakeCpuDevices("/job:a/replica:0/task:0", 1, &pool_)) {
    DefineControlOps(ops_);
    DefineTestOps(ops_);
    ops_.Define("TestVar", "").Output("ref", "Ref(float)").Traits(kStateful).Shape(ScalarShape());
    ops_.Define("TestRead", "")
        .Input("ref", "Ref(float)")
        .Output("value", "float")
        .Traits(kReadsState | kStateful)
        .Shape(ScalarShape());
    ops_.Define("TestAssign", "")
        .Input("ref", "Ref(float)")
        .Input("value", "float")
        .Output("out", "Ref(float)")
        .Traits(kWritesState | kStateful | kSideEffect)
        .Shape(ScalarShape());
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
    AddControlKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    for (const char* op : {"TestVar", "TestRead", "TestAssign"}) kernels_.Add(op, kCpu, KernelDef().Make<RanKernel>());
  }
  std::unique_ptr<Graph> Parse(absl::string_view text) {
    auto graph = std::make_unique<Graph>(&ops_);
    absl::Status parsed = ParseGraphText(text, graph.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    return graph;
  }
  std::unique_ptr<PartitionPlan> Plan(absl::string_view text) {
    PlanEnvironment e{&kernels_, devices_[0].get(), &resources_, nullptr, {}};
    auto plan = PartitionPlan::Make(Parse(text), e);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return *std::move(plan);
  }
  std::string Order(absl::string_view text) {
    std::unique_ptr<Graph> graph = Parse(text);
    auto order = LaneOrder(*graph);
    EXPECT_TRUE(order.ok());
    return absl::StrJoin(*order, " ", [](std::string* out, const Node* n) { out->append(n->name()); });
  }

  ThreadPool pool_;
  std::vector<std::unique_ptr<Device>> devices_;
  ResourceStore resources_;
  OpRegistry ops_;
  KernelRegistry kernels_;
};

constexpr char kChain[] =
    "x = _Arg(T=float, index=0, shape=[256]); a = TestMix(x, N=1); b = TestMix(a, N=1); c = TestMix(b, N=1); d = "
    "TestMix(c, N=1); "
    "r = _Retval(d, T=float, index=0)";

TEST_F(PlanTest, AChainNeedsTwoBuffers) {
  auto plan = Plan(kChain);
  EXPECT_EQ(plan->tier, Tier::kLane);
  EXPECT_EQ(plan->arena_bytes, 2048) << plan->Dump();
  EXPECT_EQ(plan->unshared_bytes, 3072) << "the fetched tensor is not in the arena";
}

TEST_F(PlanTest, ElementWiseOpsRunInPlace) {
  auto plan = Plan(
      "x = _Arg(T=float, index=0, shape=[256]); a = TestMix(x, N=1); b = TestAdd(a, x); c = TestAdd(b, x); "
      "d = TestMix(c, N=1); r = _Retval(d, T=float, index=0)");
  EXPECT_EQ(plan->in_place, 2) << plan->Dump();
  EXPECT_EQ(plan->arena_bytes, 1024);
}

TEST_F(PlanTest, AnInputThatIsReadLaterIsNotOverwritten) {
  auto plan = Plan(
      "x = _Arg(T=float, index=0, shape=[256]); a = TestMix(x, N=1); b = TestAdd(a, x); c = TestMix(a, b, N=2); "
      "r = _Retval(c, T=float, index=0)");
  EXPECT_EQ(plan->in_place, 0) << plan->Dump();
}

TEST_F(PlanTest, AnAliasKeepsTheBytesOfItsInput) {
  auto plan = Plan(
      "x = _Arg(T=float, index=0, shape=[256]); a = TestMix(x, N=1); v = TestReshape(a, shape=[16,16]); "
      "b = TestMix(x, N=1); c = TestMix(b, N=1); d = TestMix(v, c, N=2); r = _Retval(d, T=float, index=0)");
  EXPECT_EQ(plan->arena_bytes, 3 * 1024) << plan->Dump();
}

TEST_F(PlanTest, WhatIsFetchedThroughAnAliasIsNotInTheArena) {
  auto plan = Plan(
      "x = _Arg(T=float, index=0, shape=[256]); a = TestMix(x, N=1); v = TestReshape(a, shape=[16,16]); "
      "r = _Retval(v, T=float, index=0)");
  EXPECT_EQ(plan->arena_bytes, 0) << plan->Dump();
}

TEST_F(PlanTest, IdentitiesAndNoOpsCostNothing) {
  auto plan = Plan(
      "x = _Arg(T=float, index=0, shape=[4]); n = NoOp(); a = Identity(x, ^n); b = Identity(a); c = TestUnknown(b); "
      "d = Identity(c); r = _Retval(d, T=float, index=0)");
  EXPECT_EQ(plan->instructions.size(), 1u) << plan->Dump();
}

TEST_F(PlanTest, AKernelThatWaitsMakesThePartitionDataflow) {
  auto plan = Plan("x = _Arg(T=float, index=0, shape=[4]); a = TestBlock(x); r = _Retval(a, T=float, index=0)");
  EXPECT_EQ(plan->tier, Tier::kDataflow);
  EXPECT_THAT(plan->Dump(), HasSubstr("dataflow (TestBlock 'a' may wait)"));
}

TEST_F(PlanTest, DataflowKeepsTheOrderOfStateExceptBehindWaits) {
  auto plan = Plan(
      "v = TestVar(); x = Const(value=float[]{1}); w = TestAssign(v, x); r = TestRead(v); "
      "b = TestBlock(x); s = TestRead(v, ^b)");
  auto predecessors = [&](const std::string& name) {
    for (size_t k = 0; k < plan->nodes.size(); ++k) {
      if (plan->nodes[k]->name() == name) return static_cast<int>(plan->instructions[k].num_predecessors);
    }
    return -1;
  };
  EXPECT_EQ(plan->tier, Tier::kDataflow);
  EXPECT_EQ(predecessors("w"), 2)
      << "the variable and its reader r, not s, which may wait for what only w lets happen\n"
      << plan->Dump();
  EXPECT_EQ(predecessors("r"), 1);
}

TEST_F(PlanTest, WritersComeAfterReadersAndWhatUsesTheirValues) {
  EXPECT_EQ(
      Order("v = TestVar(); x = Const(value=float[]{1}); w = TestAssign(v, x); r = TestRead(v); y = TestAdd(r, x)"),
      "v x r y w");
  EXPECT_EQ(
      Order("v = TestVar(); x = Const(value=float[]{1}); w = TestAssign(v, x); r = TestRead(v, ^w); y = TestAdd(r, x)"),
      "v x w r y")
      << "a reader that asks to come later does";
  EXPECT_EQ(
      Order(
          "v = TestVar(); r = TestRead(v); u = TestVar(); s = TestRead(u); w = TestAssign(v, s); z = TestAssign(u, r)"),
      "v r u s w z")
      << "wishes that contradict are given up";
}

// Random graphs of ops that fill their output with rubbish first: any overlap of two live tensors changes the result.
TEST_F(PlanTest, RandomGraphsComputeTheSameWithPlannedMemoryAsWithout) {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    const int nodes = 5 + static_cast<int>(random() % 40);
    std::vector<std::string> lines = {"n0 = _Arg(T=float, index=0, shape=[64])"};
    std::vector<double> value = {0};  // of every element, for an argument of zeros
    for (int i = 1; i < nodes; ++i) {
      auto pick = [&] { return static_cast<int>(i - 1 - random() % std::min(i, 8)); };
      int a = pick(), b = pick();
      switch (random() % 4) {
        case 0:
          lines.push_back(absl::StrCat("n", i, " = TestReshape(n", a, ", shape=[64])"));
          value.push_back(value[a]);
          break;
        case 1:
          lines.push_back(absl::StrCat("n", i, " = TestAdd(n", a, ", n", b, ")"));
          value.push_back(value[a] + value[b]);
          break;
        case 2:
          lines.push_back(absl::StrCat("n", i, " = TestMix(n", a, ", N=1)"));
          value.push_back(1 + value[a]);
          break;
        default:
          lines.push_back(absl::StrCat("n", i, " = TestMix(n", a, ", n", b, ", N=2)"));
          value.push_back(1 + value[a] + value[b]);
      }
      value.back() = static_cast<float>(value.back());
    }
    int results = 0;
    std::vector<int> fetched;
    for (int i = 1; i < nodes; ++i) {
      if (i != nodes - 1 && random() % 6 != 0) continue;
      lines.push_back(absl::StrCat("r", results, " = _Retval(n", i, ", T=float, index=", results, ")"));
      fetched.push_back(i);
      ++results;
    }
    std::vector<std::unique_ptr<PartitionPlan>> partitions;
    partitions.push_back(Plan(absl::StrJoin(lines, "\n")));
    StepPlan plan(std::move(partitions), 1, results);
    Tensor x = Tensor::FromValues<float>(Shape({64}), std::vector<float>(64, 0));
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<Tensor> out(results);
      Step* step = plan.Take();
      absl::Status s = step->Run(StepCall(), {x}, nullptr, out.data());
      plan.GiveBack(step);
      ASSERT_TRUE(s.ok()) << s;
      for (int r = 0; r < results; ++r) {
        for (float got : out[r].flat<float>()) {
          ASSERT_EQ(got, static_cast<float>(value[fetched[r]])) << "node n" << fetched[r] << "\n"
                                                                << absl::StrJoin(lines, "\n") << "\n"
                                                                << plan.Dump();
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice
