// Sessions with variables and functions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "core/base/cancellation.h"
#include "core/base/status.h"
#include "core/graph/function.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "kernels/state/state_kernels.h"
#include "ops/control/control_ops.h"
#include "ops/state/state_ops.h"
#include "runtime/session/session.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class LessKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, Shape()));
    y->scalar<bool>() = c.input(0).scalar<float>() < 10;
    return absl::OkStatus();
  }
};

// Takes longer than the time of the test's steps.
class SleepKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  }
};

class StateTest : public ::testing::Test {
 protected:
  StateTest() : graph_((Define(), &ops_)) {
    AddControlKernelsCpu(kernels_);
    AddStateKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    kernels_.Add("TestBelowTen", kCpu, KernelDef().Make<LessKernel>());
    kernels_.Add("TestSleep", kCpu, KernelDef().Make<SleepKernel>());
    environment_.ops = &ops_;
    environment_.kernels = &kernels_;
  }
  void Define() {
    DefineControlOps(ops_);
    DefineStateOps(ops_);
    DefineTestOps(ops_);
    ops_.Define("TestBelowTen", "").Input("x", "float").Output("y", "bool").Shape(ScalarShape());
    ops_.Define("TestSleep", "").Input("x", "float").Output("y", "float").Traits(kMayAlias).Shape(SameAs("x"));
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
  }
  void Build(absl::string_view text) {
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
  }
  // A function of floats, one argument a name.
  void AddFunction(const std::string& name, int args, int results, absl::string_view body,
                   DType result = DType::kFloat) {
    auto f = std::make_unique<Function>();
    f->name = name;
    f->args.assign(args, {"a", DType::kFloat, PartialShape()});
    f->results.assign(results, {"r", result, PartialShape()});
    f->body = std::make_unique<Graph>(&ops_);
    absl::Status s = ParseGraphText(body, f->body.get());
    ASSERT_TRUE(s.ok()) << s;
    ASSERT_TRUE(graph_.functions().Add(std::move(f)).ok());
  }
  std::string Run(std::vector<std::string> fetches, std::vector<std::string> targets = {},
                  const RunOptions& options = {}) {
    if (!session_) session_ = std::make_unique<Session>(environment_, SessionOptions(), &graph_);
    auto r = session_->Run({}, fetches, targets, options);
    if (!r.ok()) return std::string(r.status().message());
    std::string out;
    for (const Tensor& t : *r) absl::StrAppend(&out, out.empty() ? "" : "; ", t.ToString());
    return out;
  }
  OpRegistry ops_;
  KernelRegistry kernels_;
  Environment environment_;
  Graph graph_;
  std::unique_ptr<Session> session_;
};

TEST_F(StateTest, ReferenceVariablesAreReadWhereValuesAreWanted) {
  Build(
      "v = VariableV2(shape=[2], dtype=float); one = Const(value=float[2]{1,1}); init = Assign(v, one); "
      "up = AssignAdd(v, one); y = TestAdd(v, one)");
  EXPECT_THAT(Run({"y:0"}), HasSubstr("Attempting to use uninitialized value v"));
  EXPECT_EQ(Run({}, {"init"}), "");
  EXPECT_EQ(Run({"y:0", "v:0"}), "float [2] 2 2; float [2] 1 1");
  EXPECT_EQ(Run({"up:0"}), "float [2] 2 2") << "a fetched update is its new value";
  EXPECT_EQ(Run({"v:0"}), "float [2] 2 2");
}

TEST_F(StateTest, UpdatesOfVariablesHappenInPlaceThoughTheStepReadsThem) {
  Build(
      "v = VariableV2(shape=[100000], dtype=float); zero = Const(value=float[]{0}); c = Const(value=float[1]{2}); "
      "x = Placeholder(dtype=float, shape=[100000]); init = Assign(v, x); g = TestMix(v, N=1); up = AssignAdd(v, g)");
  session_ = std::make_unique<Session>(environment_, SessionOptions(), &graph_);
  Tensor x = Tensor::FromValues<float>(Shape({100000}), std::vector<float>(100000, 1));
  ASSERT_TRUE(session_->Run({{"x:0", x}}, {}, {"init"}).ok());
  EXPECT_EQ(Run({}, {"up"}), "");
  EXPECT_EQ(Run({}, {"up"}), "");
  int64_t before = HostAllocator()->stats().num_allocations;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Run({}, {"up"}), "");
  EXPECT_EQ(HostAllocator()->stats().num_allocations, before) << *session_->DumpPlan({{}, {}, {"up"}});
}

TEST_F(StateTest, CallsFunctions) {
  AddFunction("twice", 1, 1,
              "a = _Arg(T=float, index=0); b = TestUnknown(a); c = TestAdd(b, b); r = _Retval(c, T=float, index=0)");
  Build(
      "x = Const(value=float[2]{1,2}); y = PartitionedCall(x, Tin=[float], Tout=[float], f=@twice); z = "
      "TestUnknown(y)");
  EXPECT_EQ(Run({"z:0"}), "float [2] 5 7");
}

TEST_F(StateTest, AResultThatIsAnArgumentPassesThrough) {
  AddFunction("same", 1, 1, "a = _Arg(T=float, index=0); r = _Retval(a, T=float, index=0)");
  Build(
      "x = Const(value=float[2]{1,2}); m = TestMix(x, N=1); y = PartitionedCall(m, Tin=[float], Tout=[float], "
      "f=@same); "
      "n = TestMix(x, N=1); k = TestMix(n, N=1); z = TestMix(y, k, N=2)");
  EXPECT_EQ(Run({"z:0"}), "float [2] 6 8");
}

TEST_F(StateTest, LoopsUntilTheConditionSaysNo) {
  AddFunction("below", 1, 1, "a = _Arg(T=float, index=0); b = TestBelowTen(a); r = _Retval(b, T=bool, index=0)",
              DType::kBool);
  AddFunction("next", 1, 1, "a = _Arg(T=float, index=0); b = TestUnknown(a); r = _Retval(b, T=float, index=0)");
  Build("x = Const(value=float[]{1.5}); y = While(x, T=[float], cond=@below, body=@next)");
  EXPECT_EQ(Run({"y:0"}), "float [] 10.5");
}

TEST_F(StateTest, ALoopWithoutEndStopsWhenTheTimeIsUp) {
  AddFunction("below", 1, 1, "a = _Arg(T=float, index=0); b = TestBelowTen(a); r = _Retval(b, T=bool, index=0)",
              DType::kBool);
  AddFunction("same", 1, 1, "a = _Arg(T=float, index=0); r = _Retval(a, T=float, index=0)");
  Build(
      "x = Const(value=float[]{1.5}); y = While(x, T=[float], cond=@below, body=@same); z = While(x, T=[float], "
      "cond=@same, body=@same)");
  RunOptions options;
  options.timeout_ms = 20;
  EXPECT_THAT(Run({"y:0"}, {}, options), HasSubstr("the step ran out of time"));
  EXPECT_THAT(Run({"z:0"}, {}, options), HasSubstr("the step ran out of time"));
}

TEST_F(StateTest, ALoopWithoutEndStopsWhenTheCallerCancels) {
  AddFunction("same", 1, 1, "a = _Arg(T=float, index=0); b = TestCount(a); r = _Retval(b, T=float, index=0)");
  Build("x = Const(value=float[]{1.5}); y = While(x, T=[float], cond=@same, body=@same)");
  const int before = TestCountRuns();
  CancellationToken token;
  std::thread canceller([&] {
    while (TestCountRuns() < before + 10) std::this_thread::yield();
    token.Cancel(absl::CancelledError("enough"));
  });
  RunOptions options;
  options.cancellation = &token;
  EXPECT_THAT(Run({"y:0"}, {}, options), HasSubstr("enough"));
  canceller.join();
}

// The nodes are ready at once and run one after the other; the first holds the thread until the time is up.
TEST_F(StateTest, NodesThatNeverWaitAreTimedBesideThoseThatDo) {
  Build("x = Const(value=float[]{1}); s = TestSleep(x); n = TestCount(s); w = TestBlock(x)");
  HoldTestBlocks();
  RunOptions options;
  options.timeout_ms = 5;
  const int before = TestCountRuns();
  EXPECT_THAT(Run({"n:0", "w:0"}, {}, options), HasSubstr("the step ran out of time before Test"));
  EXPECT_EQ(TestCountRuns(), before);
  ReleaseTestBlocks();
}

TEST_F(StateTest, AnErrorInAFunctionNamesTheNodeInIt) {
  AddFunction("bad", 1, 1,
              "a = _Arg(T=float, index=0); f = TestFail(message='deep'); r = _Retval(f, T=float, index=0)");
  Build("x = Const(value=float[]{1}); y = PartitionedCall(x, Tin=[float], Tout=[float], f=@bad)");
  EXPECT_THAT(Run({"y:0"}), HasSubstr("TestFail 'f': deep"));
}

TEST_F(StateTest, AFunctionThatWaitsHoldsUpNobody) {
  AddFunction("wait", 1, 1, "a = _Arg(T=float, index=0); b = TestBlock(a); r = _Retval(b, T=float, index=0)");
  Build(
      "x = Const(value=float[]{1}); y = StatefulPartitionedCall(x, Tin=[float], Tout=[float], f=@wait); n = "
      "TestCount(x)");
  HoldTestBlocks();
  int before = TestCountRuns();
  std::thread releaser([&] {
    while (TestCountRuns() == before || WaitingTestBlocks() == 0) std::this_thread::yield();
    ReleaseTestBlocks();
  });
  EXPECT_EQ(Run({"y:0", "n:0"}), "float [] 1; float [] 1");
  releaser.join();
  HoldTestBlocks();
  RunOptions options;
  options.timeout_ms = 20;
  EXPECT_THAT(Run({"y:0"}, {}, options), HasSubstr("ran out of time waiting for"));
  ReleaseTestBlocks();
}

}  // namespace
}  // namespace sluice
