#include "runtime/session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/base/cancellation.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() : graph_(&Ops()) {
    environment_.ops = &Ops();
    environment_.kernels = &Kernels();
    HoldTestBlocks();
  }
  static OpRegistry& Ops() {
    static OpRegistry* ops = [] {
      auto* r = new OpRegistry;
      DefineControlOps(*r);
      DefineTestOps(*r);
      EXPECT_TRUE(r->Finish().ok()) << r->Finish();
      return r;
    }();
    return *ops;
  }
  static KernelRegistry& Kernels() {
    static KernelRegistry* kernels = [] {
      auto* r = new KernelRegistry;
      AddControlKernelsCpu(*r);
      AddTestKernels(*r);
      EXPECT_TRUE(r->Finish().ok()) << r->Finish();
      return r;
    }();
    return *kernels;
  }

  void Build(absl::string_view text) {
    absl::MutexLock lock(&graph_.mu());
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
  }
  Session& session() {
    if (!session_) session_ = std::make_unique<Session>(environment_, options_, &graph_);
    return *session_;
  }
  absl::StatusOr<std::vector<Tensor>> Run(std::vector<std::pair<std::string, Tensor>> feeds,
                                          std::vector<std::string> fetches, std::vector<std::string> targets = {},
                                          const RunOptions& options = {}) {
    return session().Run(feeds, fetches, targets, options);
  }
  // The fetched floats, or the message of the error.
  std::string Text(const absl::StatusOr<std::vector<Tensor>>& results) {
    if (!results.ok()) return std::string(results.status().message());
    std::string out;
    for (const Tensor& t : *results) absl::StrAppend(&out, out.empty() ? "" : "; ", t.ToString());
    return out;
  }
  static Tensor Floats(std::vector<float> v) { return Tensor::Vector<float>(absl::MakeConstSpan(v)); }

  Environment environment_;
  SessionOptions options_;
  Graph graph_;
  std::unique_ptr<Session> session_;
};

TEST_F(SessionTest, FetchesWhatIsComputedFromFeedsAndConstants) {
  Build("x = Placeholder(dtype=float, shape=[?]); c = Const(value=float[2]{1,2}); y = TestAdd(x, c)");
  EXPECT_EQ(Text(Run({{"x:0", Floats({10, 20})}}, {"y:0"})), "float [2] 11 22");
  EXPECT_EQ(Text(Run({{"x", Floats({1, 1})}}, {"y", "c", "x", "y"})),
            "float [2] 2 3; float [2] 1 2; float [2] 1 1; float [2] 2 3");
}

TEST_F(SessionTest, FeedsTensorsInTheMiddleOfTheGraph) {
  Build("a = TestFail(); b = TestUnknown(a); c = TestUnknown(b)");
  EXPECT_EQ(Text(Run({{"b:0", Floats({5})}}, {"c:0", "b:0"})), "float [1] 6; float [1] 5");
}

TEST_F(SessionTest, RunsOnlyWhatIsNeeded) {
  Build("x = Const(value=float[1]{1}); n = TestCount(x); bad = TestFail(); y = TestUnknown(x)");
  int before = TestCountRuns();
  EXPECT_EQ(Text(Run({}, {"y:0"})), "float [1] 2");
  EXPECT_EQ(TestCountRuns(), before);
  EXPECT_EQ(Text(Run({}, {"y:0"}, {"n"})), "float [1] 2");
  EXPECT_EQ(TestCountRuns(), before + 1);
}

TEST_F(SessionTest, SeesNodesAndChangesThatComeLater) {
  Build("x = Const(value=float[1]{1}); z = Const(value=float[1]{7}); y = TestUnknown(x)");
  EXPECT_EQ(Text(Run({}, {"y:0"})), "float [1] 2");
  Build("w = TestUnknown(y)");
  EXPECT_EQ(Text(Run({}, {"w:0"})), "float [1] 3");
  ASSERT_TRUE(graph_.UpdateInput(graph_.Find("y"), 0, {graph_.Find("z"), 0}).ok());
  EXPECT_EQ(Text(Run({}, {"w:0"})), "float [1] 9");
}

TEST_F(SessionTest, SaysWhatIsWrongWithAFeed) {
  Build("x = Placeholder(dtype=float, shape=[?,3]); y = TestUnknown(x)");
  EXPECT_EQ(Text(Run({{"x:0", Floats({1, 2})}}, {"y:0"})),
            "cannot feed 'x:0': Placeholder 'x' wants float [?,3], found float [2]");
  EXPECT_EQ(Text(Run({{"x:0", Tensor::Scalar<int32_t>(1)}}, {"y:0"})),
            "cannot feed 'x:0': Placeholder 'x' wants float [?,3], found int32 []");
  EXPECT_EQ(Text(Run({{"x:0", Tensor()}}, {"y:0"})),
            "cannot feed 'x:0': Placeholder 'x' wants float [?,3], found no value");
  EXPECT_THAT(Text(Run({}, {"y:0"})),
              HasSubstr("You must feed a value for placeholder tensor 'x' with dtype float and shape [?,3]"));
  EXPECT_THAT(Text(Run({{"q:0", Floats({1})}}, {"y:0"})), HasSubstr("the graph has no node 'q'"));
  EXPECT_THAT(Text(Run({}, {"y:4"})), HasSubstr("has 1 outputs"));
}

TEST_F(SessionTest, NamesTheNodeThatFailsAndStaysUsable) {
  Build("x = Placeholder(dtype=float); c = Const(value=float[2]{1,2}); y = TestAdd(x, c)");
  EXPECT_THAT(Text(Run({{"x:0", Floats({1, 2, 3})}}, {"y:0"})),
              AllOf(HasSubstr("TestAdd 'y': a is [3], b is [2]"),
                    HasSubstr("device /job:localhost/replica:0/task:0/device:CPU:0"),
                    HasSubstr("inputs float [3], float [2]")));
  EXPECT_EQ(Text(Run({{"x:0", Floats({1, 2})}}, {"y:0"})), "float [2] 2 4");
}

TEST_F(SessionTest, RunsTargetsWithoutFetchingThem) {
  Build("x = Const(value=float[1]{1}); n = TestCount(x); group = NoOp(^n)");
  int before = TestCountRuns();
  EXPECT_EQ(Text(Run({}, {}, {"group"})), "");
  EXPECT_EQ(TestCountRuns(), before + 1);
}

TEST_F(SessionTest, ConcurrentStepsDoNotMix) {
  Build(
      "x = Placeholder(dtype=float, shape=[64]); a = TestMix(x, N=1); b = TestMix(a, x, N=2); c = TestMix(b, a, N=2); "
      "d = TestAdd(c, x)");
  auto callable = session().MakeCallable({{"x:0"}, {"d:0"}, {}});
  ASSERT_TRUE(callable.ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Tensor x = Floats(std::vector<float>(64, static_cast<float>(t)));
      std::vector<Tensor> y;
      for (int i = 0; i < 300; ++i) {
        absl::Status s = session().RunCallable(**callable, {x}, &y);
        ASSERT_TRUE(s.ok()) << s;
        ASSERT_EQ(y[0].data<float>()[i % 64], 4 * t + 4);  // a=x+1, b=1+a+x, c=1+a+b, d=c+x
      }
    });
  }
  for (std::thread& t : threads) t.join();
}

TEST_F(SessionTest, WaitsEndWhenTheCallerCancels) {
  Build("x = Const(value=float[1]{1}); y = TestBlock(x)");
  CancellationToken token;
  std::thread canceller([&] {
    while (WaitingTestBlocks() == 0) std::this_thread::yield();
    token.Cancel(absl::CancelledError("enough"));
  });
  RunOptions options;
  options.cancellation = &token;
  EXPECT_THAT(Text(Run({}, {"y:0"}, {}, options)), HasSubstr("enough"));
  canceller.join();
  ReleaseTestBlocks();
  EXPECT_EQ(Text(Run({}, {"y:0"})), "float [1] 1");
}

TEST_F(SessionTest, AStepThatRunsOutOfTimeSaysWhatItWaitedFor) {
  Build("x = Const(value=float[1]{1}); y = TestBlock(x)");
  RunOptions options;
  options.timeout_ms = 20;
  auto r = Run({}, {"y:0"}, {}, options);
  EXPECT_EQ(r.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Text(r), HasSubstr("waiting for TestBlock 'y'"));
}

TEST_F(SessionTest, CloseEndsStepsThatWait) {
  Build("x = Const(value=float[1]{1}); y = TestBlock(x)");
  session();
  std::thread waiter([&] { EXPECT_THAT(Text(Run({}, {"y:0"})), HasSubstr("closed")); });
  while (WaitingTestBlocks() == 0) std::this_thread::yield();
  EXPECT_TRUE(session().Close().ok());
  waiter.join();
  EXPECT_THAT(Text(Run({}, {"y:0"})), HasSubstr("closed"));
}

TEST_F(SessionTest, TracesEveryNodeThatRan) {
  Build("x = Const(value=float[2]{1,2}); y = TestUnknown(x); z = TestAdd(y, x)");
  RunOptions options;
  options.trace = true;
  RunMetadata metadata;
  ASSERT_TRUE(session().Run({}, {"z:0"}, {}, options, &metadata).ok());
  ASSERT_EQ(metadata.stats.devices.size(), 1u);
  const auto& nodes = metadata.stats.devices[0].nodes;
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].name, "y");
  EXPECT_EQ(nodes[1].op, "TestAdd");
  EXPECT_LE(nodes[0].end_ns, nodes[1].start_ns);
  EXPECT_THAT(nodes[1].outputs, ElementsAre("float [2]"));
}

TEST_F(SessionTest, BranchesRunInAsManyLanesAsAreAskedFor) {
  options_.own_pool = true;
  options_.parallelism = 2;
  options_.static_lanes = 2;
  Build(
      "x = Placeholder(dtype=float, shape=[2]); a = TestMix(x, N=1); b = TestCount(x); c = TestMix(a, N=1); "
      "d = TestUnknown(b); y = TestMix(c, d, N=2)");
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Text(Run({{"x:0", Floats({1, 2})}}, {"y:0"})), "float [2] 6 8");
  auto dump = session().DumpPlan({{"x:0"}, {"y:0"}, {}});
  ASSERT_TRUE(dump.ok()) << dump.status();
  EXPECT_THAT(*dump, AllOf(HasSubstr("static lanes (no kernel waits; 2 lanes take"), HasSubstr(" lane 1[0]")));
}

TEST_F(SessionTest, StepsSpanDevices) {
  options_.cpu_devices = 3;
  Build(
      "x = Placeholder(dtype=float, shape=[2]) @/cpu:0; a = TestUnknown(x) @/cpu:1; n = TestCount(x, ^a) @/cpu:2; "
      "y = TestAdd(a, n) @/cpu:0");
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(Text(Run({{"x:0", Floats({1, 2})}}, {"y:0", "a:0"})), "float [2] 3 5; float [2] 2 3");
  auto dump = session().DumpPlan({{"x:0"}, {"y:0"}, {}});
  ASSERT_TRUE(dump.ok()) << dump.status();
  EXPECT_THAT(*dump, AllOf(HasSubstr("dataflow (_Recv 'a/_recv_0' may wait)"), HasSubstr("device:CPU:2")));
  auto explained = session().ExplainPlacement({{"x:0"}, {"y:0"}, {}});
  ASSERT_TRUE(explained.ok());
  EXPECT_THAT(*explained,
              HasSubstr("a (TestUnknown): /job:localhost/replica:0/task:0/device:CPU:1 because it asks for '/cpu:1'"));
}

// Abseil ends the process when locks are taken in two orders: helpers and the thread that calls them once did.
TEST_F(SessionTest, ThreadsThatHelpTakeLocksInOneOrder) {
  options_.cpu_devices = 2;
  options_.parallelism = 3;
  options_.own_pool = true;
  Build(
      "x = Placeholder(dtype=float, shape=[200000]) @/cpu:0; a = TestMix(x, N=1) @/cpu:1; b = TestMix(x, x, N=2) "
      "@/cpu:1; c = TestMix(x, x, x, N=3) @/cpu:1; y = TestMix(a, b, c, N=3) @/cpu:0; z = TestReshape(y, "
      "shape=[200000]) "
      "@/cpu:0");
  const std::vector<float> ones(200000, 1);
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(Run({{"x:0", Floats(ones)}}, {"z:0"}).ok());
}

TEST_F(SessionTest, AnErrorOnOneDeviceEndsTheOthers) {
  options_.cpu_devices = 2;
  Build(
      "x = Const(value=float[1]{1}); f = TestFail(message='no way') @/cpu:1; y = TestUnknown(f) @/cpu:0; w = "
      "TestBlock(x) @/cpu:0");
  auto r = Run({}, {"y:0", "w:0"});
  EXPECT_EQ(r.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Text(r), HasSubstr("TestFail 'f': no way [device /job:localhost/replica:0/task:0/device:CPU:1"));
}

TEST_F(SessionTest, AnUnknownDeviceIsAnErrorUnlessPlacementIsSoft) {
  Build("x = Const(value=float[1]{1}); y = TestUnknown(x) @/gpu:0");
  EXPECT_THAT(Text(Run({}, {"y:0"})), HasSubstr("it asks for '/gpu:0', but the devices are"));
  options_.soft_placement = true;
  session_ = nullptr;
  EXPECT_EQ(Text(Run({}, {"y:0"})), "float [1] 2");
}

}  // namespace
}  // namespace sluice
