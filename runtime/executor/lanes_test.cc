// Steps in several lanes: whatever threads come, and whenever, results and the order of state are those of one lane;
// errors, cancellation and deadlines end every lane.
#include "runtime/executor/lanes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"
#include "runtime/device/cpu_device.h"
#include "runtime/executor/plan.h"
#include "runtime/executor/step.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A number that is changed so that the order of changes shows. One for all graphs of a thread's test at a time.
std::atomic<float> cell{0};

class CellPush final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const float before = cell.load(std::memory_order_relaxed);
    std::this_thread::yield();
    float after = before * 3 + c.input(1).data<float>()[0];
    if (!(after < 1e6f)) after = 7;
    cell.store(after, std::memory_order_relaxed);
    c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  }
};

class CellRead final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    absl::StatusOr<Tensor*> y = c.Allocate(0, Shape({kElements}));
    if (!y.ok()) return y.status();
    for (float& v : (*y)->flat<float>()) v = cell.load(std::memory_order_relaxed);
    return absl::OkStatus();
  }
  static constexpr int kElements = 64;
};

class CellVar final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return absl::OkStatus(); }
};

// x + 1, by pieces that the pool may share.
class Split final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    absl::StatusOr<Tensor*> y = c.Allocate(0, c.input(0).shape());
    if (!y.ok()) return y.status();
    const float* from = c.input(0).data<float>();
    float* to = (*y)->data<float>();
    c.ParallelFor((*y)->num_elements(), 5e3, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = from[i] + 1;
    });
    return absl::OkStatus();
  }
};

constexpr int kElements = CellRead::kElements;

class LanesTest : public ::testing::Test {
 protected:
  explicit LanesTest(int threads = 3) : pool_(threads), devices_(MakeCpuDevices("/job:a/replica:0/task:0", 1, &pool_)) {
    DefineControlOps(ops_);
    DefineTestOps(ops_);
    ops_.Define("CellVar", "").Output("ref", "Ref(float)").Traits(kStateful).Shape(ScalarShape());
    ops_.Define("CellRead", "")
        .Input("ref", "Ref(float)")
        .Output("value", "float")
        .Traits(kReadsState | kStateful)
        .Shape([](ShapeContext& c) {
          c.SetOutput(0, PartialShape(Shape({kElements})));
          return absl::OkStatus();
        });
    ops_.Define("CellPush", "")
        .Input("ref", "Ref(float)")
        .Input("value", "float")
        .Output("out", "Ref(float)")
        .Traits(kWritesState | kStateful | kSideEffect)
        .Shape(ScalarShape());
    ops_.Define("Split", "").Input("x", "float").Output("y", "float").Shape(SameAs("x"));
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
    AddControlKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    kernels_.Add("CellVar", kCpu, KernelDef().Make<CellVar>());
    kernels_.Add("CellRead", kCpu, KernelDef().Make<CellRead>());
    kernels_.Add("CellPush", kCpu, KernelDef().Make<CellPush>());
    kernels_.Add("Split", kCpu, KernelDef().Make<Split>());
  }

  std::unique_ptr<StepPlan> Plan(const std::vector<std::string>& lines, int results, int lanes) {
    auto graph = std::make_unique<Graph>(&ops_);
    absl::Status parsed = ParseGraphText(absl::StrJoin(lines, "\n"), graph.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    PlanEnvironment e{&kernels_, devices_[0].get(), &resources_, nullptr, {}};
    e.lanes = lanes;
    auto plan = PartitionPlan::Make(std::move(graph), e);
    EXPECT_TRUE(plan.ok()) << plan.status();
    if (lanes != 0) {
      EXPECT_EQ((*plan)->tier, lanes == 1 ? Tier::kLane : Tier::kLanes);
    }
    std::vector<std::unique_ptr<PartitionPlan>> partitions;
    partitions.push_back(*std::move(plan));
    return std::make_unique<StepPlan>(std::move(partitions), 1, results);
  }
  static absl::Status Run(StepPlan* plan, std::vector<Tensor>* out, const StepCall& call = {}) {
    const Tensor x = Tensor::FromValues<float>(Shape({kElements}), std::vector<float>(kElements, 0.5f));
    out->assign(plan->num_results(), Tensor());
    Step* step = plan->Take();
    absl::Status s = step->Run(call, {x}, nullptr, out->data());
    plan->GiveBack(step);
    return s;
  }

  void CompareRandomGraphs(unsigned seed);

  ThreadPool pool_;
  std::vector<std::unique_ptr<Device>> devices_;
  ResourceStore resources_;
  OpRegistry ops_;
  KernelRegistry kernels_;
};

// Where there are as many CPUs, these threads spin before they sleep; three on two CPUs do not.
class TwoThreads : public LanesTest {
 protected:
  TwoThreads() : LanesTest(2) {}
};

struct RandomGraph {
  std::vector<std::string> lines;
  int results = 0;
};

// Ops that fill their output with rubbish first, so that any overlap of two live tensors changes the result.
RandomGraph MakeRandom(std::mt19937& random, bool with_state) {
  RandomGraph g;
  g.lines = {absl::StrCat("n0 = _Arg(T=float, index=0, shape=[", kElements, "])"), "v = CellVar()"};
  const int nodes = 10 + static_cast<int>(random() % 120);
  const int window = 2 + static_cast<int>(random() % 20);
  for (int i = 1; i < nodes; ++i) {
    auto pick = [&] { return static_cast<int>(i - 1 - random() % std::min(i, window)); };
    const int a = pick(), b = pick(), c = pick();
    const std::string me = absl::StrCat("n", i, " = ");
    const std::string order = random() % 8 == 0 && c != a && c != b ? absl::StrCat(", ^n", c) : "";
    switch (random() % (with_state ? 9 : 7)) {
      case 0:
        g.lines.push_back(absl::StrCat(me, "TestReshape(n", a, ", shape=[", kElements, "]", order, ")"));
        break;
      case 1:
      case 2:
        g.lines.push_back(absl::StrCat(me, "TestAdd(n", a, ", n", b, order, ")"));
        break;
      case 3:
        g.lines.push_back(absl::StrCat(me, "TestUnknown(n", a, order, ")"));
        break;
      case 4:
        g.lines.push_back(absl::StrCat(me, "Identity(n", a, order, ")"));
        break;
      case 5:
        g.lines.push_back(absl::StrCat(me, "TestMix(n", a, ", N=1", order, ")"));
        break;
      case 6:
        g.lines.push_back(absl::StrCat(me, "TestMix(n", a, ", n", b, ", N=2", order, ")"));
        break;
      case 7:
        g.lines.push_back(absl::StrCat("p", i, " = CellPush(v, n", a, order, ")"));
        g.lines.push_back(absl::StrCat(me, "CellRead(v)"));
        break;
      default:
        g.lines.push_back(absl::StrCat(me, "CellRead(v", order, ")"));
    }
  }
  for (int i = 1; i < nodes; ++i) {
    if (i != nodes - 1 && random() % 6 != 0) continue;
    g.lines.push_back(absl::StrCat("r", i, " = _Retval(n", i, ", T=float, index=", g.results++, ")"));
  }
  return g;
}

void ExpectSameBits(const std::vector<Tensor>& wanted, const std::vector<Tensor>& found, const RandomGraph& g,
                    const StepPlan& plan) {
  for (size_t r = 0; r < wanted.size(); ++r) {
    ASSERT_EQ(found[r].num_bytes(), wanted[r].num_bytes());
    ASSERT_EQ(std::memcmp(found[r].raw_data(), wanted[r].raw_data(), wanted[r].num_bytes()), 0)
        << "result " << r << " is " << found[r].data<float>()[0] << ", wanted " << wanted[r].data<float>()[0] << "\n"
        << absl::StrJoin(g.lines, "\n") << "\n"
        << plan.Dump();
  }
}

// Two callers at once.
void LanesTest::CompareRandomGraphs(unsigned seed) {
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    const RandomGraph g = MakeRandom(random, /*with_state=*/false);
    std::vector<Tensor> wanted;
    absl::Status s = Run(Plan(g.lines, g.results, 1).get(), &wanted);
    ASSERT_TRUE(s.ok()) << s;
    const std::unique_ptr<StepPlan> plan = Plan(g.lines, g.results, 2 + round % 4);
    auto run = [&] {
      std::vector<Tensor> found;
      for (int repeat = 0; repeat < 5; ++repeat) {
        absl::Status s = Run(plan.get(), &found);
        ASSERT_TRUE(s.ok()) << s;
        ExpectSameBits(wanted, found, g, *plan);
      }
    };
    std::thread other(run);
    run();
    other.join();
  }
}

TEST_F(LanesTest, RandomGraphsGiveTheBitsOfOneLane) { CompareRandomGraphs(7); }

TEST_F(TwoThreads, RandomGraphsGiveTheBitsOfOneLane) { CompareRandomGraphs(9); }

TEST_F(LanesTest, StateChangesInTheOrderOfOneLane) {
  std::mt19937 random(8);
  for (int round = 0; round < 40; ++round) {
    const RandomGraph g = MakeRandom(random, /*with_state=*/true);
    std::vector<Tensor> wanted, found;
    cell = 1;
    absl::Status s = Run(Plan(g.lines, g.results, 1).get(), &wanted);
    ASSERT_TRUE(s.ok()) << s;
    const float after = cell;
    const std::unique_ptr<StepPlan> plan = Plan(g.lines, g.results, 2 + round % 3);
    for (int repeat = 0; repeat < 5; ++repeat) {
      cell = 1;
      s = Run(plan.get(), &found);
      ASSERT_TRUE(s.ok()) << s;
      EXPECT_EQ(cell, after);
      ExpectSameBits(wanted, found, g, *plan);
    }
  }
}

// Two chains that meet after every few nodes.
std::vector<std::string> Ladder(int length, const std::string& op = "TestMix") {
  std::vector<std::string> lines = {absl::StrCat("x = _Arg(T=float, index=0, shape=[", kElements, "])"),
                                    "a0 = TestMix(x, N=1)", "b0 = TestMix(x, N=1)"};
  const std::string n = op == "TestMix" ? ", N=1" : "";
  for (int i = 1; i < length; ++i) {
    const bool crosses = i % 4 == 0;
    lines.push_back(absl::StrCat("a", i, " = ", op, "(", crosses ? "b" : "a", i - 1, n, ")"));
    lines.push_back(absl::StrCat("b", i, " = ", op, "(", crosses ? "a" : "b", i - 1, n, ")"));
  }
  lines.push_back(absl::StrCat("y = TestAdd(a", length - 1, ", b", length - 1, ")"));
  lines.push_back("r = _Retval(y, T=float, index=0)");
  return lines;
}
constexpr int kLength = 60;
constexpr float kLadderResult = 2 * (kLength + 0.5f);

TEST_F(TwoThreads, AStepEndsWhenNobodyComesToHelp) {
  auto go_on = std::make_shared<absl::Notification>();
  pool_.Schedule([go_on] { go_on->WaitForNotification(); });  // the only worker
  const std::unique_ptr<StepPlan> plan = Plan(Ladder(kLength), 1, 4);
  std::vector<Tensor> out;
  for (int repeat = 0; repeat < 10; ++repeat) {
    absl::Status s = Run(plan.get(), &out);
    ASSERT_TRUE(s.ok()) << s;
    EXPECT_EQ(out[0].data<float>()[0], kLadderResult);
  }
  go_on->Notify();
}

TEST_F(TwoThreads, MoreStepsThanThreadsWithLoopsInKernels) {
  const std::unique_ptr<StepPlan> plan = Plan(Ladder(kLength, "Split"), 1, 3);
  std::vector<std::thread> callers;
  for (int t = 0; t < 5; ++t) {
    callers.emplace_back([&] {
      std::vector<Tensor> out;
      for (int repeat = 0; repeat < 10; ++repeat) {
        absl::Status s = Run(plan.get(), &out);
        ASSERT_TRUE(s.ok()) << s;
        ASSERT_EQ(out[0].data<float>()[kElements - 1], kLadderResult);
      }
    });
  }
  for (std::thread& t : callers) t.join();
}

TEST_F(LanesTest, AnErrorEndsAllLanesAndIsReturned) {
  std::vector<std::string> lines = Ladder(kLength);
  lines.insert(lines.begin() + 40, "bad = TestFail(^b10, message='as asked')");
  const std::unique_ptr<StepPlan> plan = Plan(lines, 1, 3);
  auto run = [&] {
    std::vector<Tensor> out;
    for (int repeat = 0; repeat < 100; ++repeat) {
      absl::Status s = Run(plan.get(), &out);
      ASSERT_EQ(s.code(), absl::StatusCode::kInvalidArgument);
      ASSERT_THAT(std::string(s.message()), HasSubstr("TestFail 'bad'"));
    }
  };
  std::thread other(run);
  run();
  other.join();
}

TEST_F(LanesTest, CancellationAtAnyMomentEndsAStepAndTheNextOneRuns) {
  const std::unique_ptr<StepPlan> plan = Plan(Ladder(kLength), 1, 3);
  std::mt19937 random(3);
  int cancelled = 0;
  for (int round = 0; round < 300; ++round) {
    CancellationToken token;
    std::atomic<bool> begun{false};
    const int pauses = static_cast<int>(random() % 3000);
    std::thread canceller([&] {
      while (!begun) std::this_thread::yield();
      for (int i = 0; i < pauses; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
      token.Cancel(absl::CancelledError("enough"));
    });
    StepCall call;
    call.cancellation = &token;
    std::vector<Tensor> out;
    begun = true;
    absl::Status s = Run(plan.get(), &out, call);
    canceller.join();
    if (s.ok()) {
      ASSERT_EQ(out[0].data<float>()[0], kLadderResult);
    } else {
      ASSERT_EQ(s, absl::CancelledError("enough"));
      ++cancelled;
    }
    s = Run(plan.get(), &out);
    ASSERT_TRUE(s.ok()) << s;
    ASSERT_EQ(out[0].data<float>()[0], kLadderResult);
  }
  RecordProperty("cancelled", cancelled);
}

TEST_F(LanesTest, ADeadlineNamesTheNodeThatDidNotRun) {
  const std::unique_ptr<StepPlan> plan = Plan(Ladder(kLength, "Split"), 1, 2);
  std::vector<Tensor> out;
  for (int round = 0; round < 50; ++round) {
    StepCall late;
    late.deadline = absl::Now() + absl::Microseconds(10 * round);
    absl::Status s = Run(plan.get(), &out, late);
    if (s.ok()) continue;
    ASSERT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded);
    ASSERT_THAT(std::string(s.message()), HasSubstr("ran out of time before "));
  }
  StepCall over;
  over.deadline = absl::Now() - absl::Seconds(1);
  EXPECT_EQ(Run(plan.get(), &out, over).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Run(plan.get(), &out).ok());
}

TEST_F(LanesTest, ATraceHasEveryInstructionOnce) {
  const std::unique_ptr<StepPlan> plan = Plan(Ladder(kLength), 1, 3);
  std::vector<Tensor> out;
  StepTrace trace;
  StepCall call;
  call.trace = &trace;
  ASSERT_TRUE(Run(plan.get(), &out, call).ok());
  std::set<std::string> names;
  const std::vector<TracedNode> nodes = trace.Take();
  for (const TracedNode& n : nodes) names.insert(n.name);
  EXPECT_EQ(nodes.size(), plan->partitions()[0]->instructions.size());
  EXPECT_EQ(names.size(), nodes.size());
}

TEST_F(LanesTest, ALaneUsesItsMemoryAgain) {
  std::vector<std::string> lines = {"x = _Arg(T=float, index=0, shape=[256])"};
  for (const char* chain : {"a", "b"}) {
    lines.push_back(absl::StrCat(chain, "0 = TestMix(x, N=1)"));
    for (int i = 1; i < 20; ++i) lines.push_back(absl::StrCat(chain, i, " = TestMix(", chain, i - 1, ", N=1)"));
  }
  lines.push_back("y = TestMix(a19, b19, N=2)");
  lines.push_back("r = _Retval(y, T=float, index=0)");
  const std::unique_ptr<StepPlan> plan = Plan(lines, 1, 2);
  EXPECT_EQ(plan->partitions()[0]->arena_bytes, 2 * 2 * 1024) << plan->Dump();
}

TEST_F(LanesTest, AValueThatAnotherLaneReadsIsNotOverwritten) {
  // b0 reads a0 on another lane, and nothing tells lane 0 when it has.
  const std::unique_ptr<StepPlan> plan =
      Plan({"x = _Arg(T=float, index=0, shape=[256])", "a0 = TestMix(x, N=1)", "b0 = TestMix(a0, N=1)",
            "a1 = TestAdd(a0, x)", "b1 = TestMix(b0, N=1)", "a2 = TestMix(a1, N=1)", "y = TestMix(a2, b1, N=2)",
            "r = _Retval(y, T=float, index=0)"},
           1, 2);
  const PartitionPlan& p = *plan->partitions()[0];
  int lanes_in_use = 0;
  for (int l = 0; l < p.num_lanes(); ++l) lanes_in_use += p.lane_begin[l] < p.lane_begin[l + 1] ? 1 : 0;
  EXPECT_EQ(lanes_in_use, 2) << p.Dump();
  EXPECT_EQ(p.in_place, 0) << p.Dump();
}

std::vector<std::string> Chains(int chains, int length, int elements) {
  std::vector<std::string> lines = {absl::StrCat("x = _Arg(T=float, index=0, shape=[", elements, "])")};
  std::vector<std::string> ends;
  for (int c = 0; c < chains; ++c) {
    for (int i = 0; i < length; ++i) {
      lines.push_back(absl::StrCat("c", c, "_", i, " = TestMix(",
                                   i == 0 ? std::string("x") : absl::StrCat("c", c, "_", i - 1), ", N=1)"));
    }
    ends.push_back(absl::StrCat("c", c, "_", length - 1));
  }
  lines.push_back(absl::StrCat("y = TestMix(", absl::StrJoin(ends, ", "), ", N=", chains, ")"));
  lines.push_back("r = _Retval(y, T=float, index=0)");
  return lines;
}

TEST_F(TwoThreads, LanesAreChosenWhereTheyPay) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "threads on one CPU do not pay";
  const std::string two = Plan(Chains(2, 50, 8192), 1, 0)->Dump();
  EXPECT_THAT(two, HasSubstr("static lanes (no kernel waits; 2 lanes take about")) << two;
  EXPECT_THAT(two, HasSubstr("times as fast)"));
  EXPECT_THAT(two, HasSubstr(" lane 1[49]"));
  const std::string one = Plan(Chains(1, 50, 8192), 1, 0)->Dump();
  EXPECT_THAT(one, HasSubstr("static lane (no kernel waits; of about")) << one;
  const std::string small = Plan(Chains(2, 50, 64), 1, 0)->Dump();
  EXPECT_THAT(small, HasSubstr("are too little for several lanes"));
  const std::string off = Plan(Chains(2, 50, 8192), 1, 1)->Dump();
  EXPECT_THAT(off, HasSubstr("static lane (no kernel waits), "));
  EXPECT_THAT(off, Not(HasSubstr("lane 1[")));
}

}  // namespace
}  // namespace sluice
