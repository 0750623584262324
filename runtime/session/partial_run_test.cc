// Steps that are run in parts, in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/base/cancellation.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "kernels/state/state_kernels.h"
#include "ops/control/control_ops.h"
#include "ops/state/state_ops.h"
#include "runtime/session/session.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PartialRunTest : public ::testing::Test {
 protected:
  using Feeds = std::vector<std::pair<std::string, Tensor>>;

  PartialRunTest() : graph_((Define(), &ops_)) {
    AddControlKernelsCpu(kernels_);
    AddStateKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    EXPECT_TRUE(kernels_.Finish().ok()) << kernels_.Finish();
    environment_.ops = &ops_;
    environment_.kernels = &kernels_;
    HoldTestBlocks();
  }
  void Define() {
    DefineControlOps(ops_);
    DefineStateOps(ops_);
    DefineTestOps(ops_);
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
  }
  void Build(absl::string_view text) {
    absl::MutexLock lock(&graph_.mu());
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
  }
  // r1 = a + b; r2 = r1 + c
  void BuildSums() {
    Build(R"(
      a = Placeholder(dtype=float, shape=[1]); b = Placeholder(dtype=float, shape=[1])
      c = Placeholder(dtype=float, shape=[1]); r1 = TestAdd(a, b); r2 = TestAdd(r1, c))");
  }
  Session& session() {
    if (!session_) session_ = std::make_unique<Session>(environment_, options_, &graph_);
    return *session_;
  }
  std::string SetUp(std::vector<std::string> fetches, std::vector<std::string> feeds,
                    std::vector<std::string> targets = {}) {
    auto handle = session().SetUpPartialRun({feeds, fetches, targets});
    EXPECT_TRUE(handle.ok()) << handle.status();
    return handle.ok() ? *handle : "";
  }
  static Tensor Float(float v) { return Tensor::Vector<float>({v}); }
  std::string Run(const std::string& handle, std::vector<std::string> fetches, Feeds feeds = {},
                  const RunOptions& options = {}) {
    std::vector<Tensor> results;
    absl::Status status = session().PartialRun(handle, feeds, fetches, &results, options);
    if (!status.ok()) return status.ToString();
    std::string out;
    for (const Tensor& t : results) absl::StrAppend(&out, out.empty() ? "" : "; ", t.ToString());
    return out;
  }

  OpRegistry ops_;
  KernelRegistry kernels_;
  Environment environment_;
  SessionOptions options_;
  Graph graph_;
  std::unique_ptr<Session> session_;
};

TEST_F(PartialRunTest, LaterFeedsDependOnEarlierFetches) {
  BuildSums();
  for (int i = 0; i < 3; ++i) {
    const std::string h = SetUp({"r1:0", "r2:0"}, {"a:0", "b:0", "c:0"});
    EXPECT_EQ(Run(h, {"r1:0"}, {{"a:0", Float(1)}, {"b:0", Float(2)}}), "float [1] 3");
    EXPECT_EQ(Run(h, {"r2:0"}, {{"c:0", Float(30)}}), "float [1] 33");
    EXPECT_THAT(Run(h, {"r2:0"}),
                AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("Must run 'setup' before performing")));
  }
}

TEST_F(PartialRunTest, FeedsMayComeAloneAndSeveralRunsAtOnce) {
  BuildSums();
  const std::string first = SetUp({"r1:0", "r2:0"}, {"a:0", "b:0", "c:0"});
  const std::string second = SetUp({"r2:0"}, {"a:0", "b:0", "c:0"});
  EXPECT_EQ(Run(first, {}, {{"a:0", Float(1)}}), "");
  EXPECT_EQ(Run(second, {}, {{"a:0", Float(100)}, {"c:0", Float(1)}}), "");
  EXPECT_EQ(Run(first, {"r2:0"}, {{"b:0", Float(2)}, {"c:0", Float(3)}}), "float [1] 6");
  EXPECT_EQ(Run(second, {"r2:0"}, {{"b:0", Float(10)}}), "float [1] 111");
  EXPECT_EQ(Run(first, {"r1:0"}), "float [1] 3");
}

TEST_F(PartialRunTest, WrongRequestsSaySoAndChangeNothing) {
  BuildSums();
  const std::string h = SetUp({"r1:0", "r2:0"}, {"a:0", "b:0", "c:0"});
  const struct {
    std::vector<std::string> fetches;
    Feeds feeds;
    std::string message;
  } cases[] = {
      {{"r2:0"},
       {{"b:0", Float(2)}},
       "The fetch r2:0 can't be computed from the feeds that have been fed so far: it also needs c:0."},
      {{"a:0"}, {}, "The fetch a:0 was not specified in partial_run_setup."},
      {{}, {{"r1:0", Float(1)}}, "The feed r1:0 was not specified in partial_run_setup."},
      {{}, {{"a:0", Float(1)}}, "The feed a:0 has already been fed."},
      {{}, {{"b:0", Float(1)}, {"b:0", Float(1)}}, "The feed b:0 has already been fed."},
      {{}, {{"b:0", Tensor::Scalar<float>(1)}}, "cannot feed 'b:0': Placeholder 'b' wants float [1], found float []"},
  };
  EXPECT_EQ(Run(h, {}, {{"a:0", Float(1)}}), "");
  for (const auto& c : cases) EXPECT_EQ(Run(h, c.fetches, c.feeds), "INVALID_ARGUMENT: " + c.message);
  EXPECT_EQ(Run(h, {"r1:0"}, {{"b:0", Float(2)}}), "float [1] 3");
  EXPECT_EQ(Run(h, {"r1:0"}), "INVALID_ARGUMENT: The fetch r1:0 has already been fetched.");
  EXPECT_EQ(Run(h, {"r2:0"}, {{"c:0", Float(3)}}), "float [1] 6");
  EXPECT_THAT(session().SetUpPartialRun({{"a:0"}, {}, {}}).status().ToString(),
              HasSubstr("specify at least one target to fetch or execute"));
  EXPECT_THAT(session().SetUpPartialRun({{}, {"nobody:0"}, {}}).status().ToString(), HasSubstr("no node 'nobody'"));
}

TEST_F(PartialRunTest, EveryNodeRunsOnceAndAFedTensorMayBeFetched) {
  Build(
      "a = Placeholder(dtype=float, shape=[1]); n = TestCount(a); b = Placeholder(dtype=float, shape=[1])"
      "; y = TestAdd(n, b); target = NoOp(^y)");
  const int before = TestCountRuns();
  const std::string h = SetUp({"n:0", "y:0", "a:0"}, {"a:0", "b:0"}, {"target"});
  EXPECT_EQ(Run(h, {"n:0", "a:0"}, {{"a:0", Float(1)}}), "float [1] 1; float [1] 1");
  EXPECT_EQ(TestCountRuns(), before + 1);
  EXPECT_EQ(Run(h, {"y:0"}, {{"b:0", Float(2)}}), "float [1] 3");
  EXPECT_EQ(TestCountRuns(), before + 1);
}

TEST_F(PartialRunTest, StepsOverDevicesRunInParts) {
  options_.cpu_devices = 3;
  Build(R"(
    a = Placeholder(dtype=float, shape=[1]) @/cpu:0; n = TestUnknown(a) @/cpu:1; b = Placeholder(dtype=float, shape=[1]) @/cpu:2
    m = TestUnknown(n) @/cpu:2; y = TestAdd(m, b) @/cpu:0)");
  for (int i = 0; i < 20; ++i) {
    const std::string h = SetUp({"n:0", "m:0", "y:0"}, {"a:0", "b:0"});
    EXPECT_EQ(Run(h, {"m:0"}, {{"a:0", Float(1)}}), "float [1] 3");
    EXPECT_EQ(Run(h, {"y:0", "n:0"}, {{"b:0", Float(2)}}), "float [1] 5; float [1] 2");
  }
}

TEST_F(PartialRunTest, AnErrorEndsTheRunAndIsTold) {
  Build(R"(
    a = Placeholder(dtype=float, shape=?); b = Placeholder(dtype=float, shape=?); c = Placeholder(dtype=float, shape=?)
    u = TestUnknown(a); y = TestAdd(u, b); z = TestAdd(y, c))");
  const std::string h = SetUp({"u:0", "y:0", "z:0"}, {"a:0", "b:0", "c:0"});
  EXPECT_EQ(Run(h, {"u:0"}, {{"a:0", Float(1)}}), "float [1] 2");
  const std::string failed = Run(h, {"y:0"}, {{"b:0", Tensor::Vector<float>({1, 2, 3})}});
  EXPECT_THAT(failed, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("TestAdd 'y': a is [1], b is [3]")));
  EXPECT_THAT(Run(h, {"z:0"}, {{"c:0", Float(1)}}),
              AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("has ended"), HasSubstr("a is [1], b is [3]")));
  const std::string missing = SetUp({"u:0"}, {});
  EXPECT_THAT(Run(missing, {"u:0"}), HasSubstr("You must feed a value for placeholder"));
}

TEST_F(PartialRunTest, WaitsEndByTimeByCancellationAndByClosing) {
  Build("a = Placeholder(dtype=float, shape=[1]); y = TestBlock(a)");
  RunOptions options;
  options.timeout_ms = 20;
  std::string h = SetUp({"y:0"}, {"a:0"});
  EXPECT_THAT(Run(h, {"y:0"}, {{"a:0", Float(1)}}, options),
              AllOf(HasSubstr("DEADLINE_EXCEEDED"), HasSubstr("waiting for y:0")));
  EXPECT_THAT(Run(h, {}), HasSubstr("Must run 'setup'"));

  CancellationToken token;
  options.timeout_ms = 0;
  options.cancellation = &token;
  h = SetUp({"y:0"}, {"a:0"});
  std::thread canceller([&] {
    while (WaitingTestBlocks() == 0) std::this_thread::yield();
    token.Cancel(absl::CancelledError("enough"));
  });
  EXPECT_THAT(Run(h, {"y:0"}, {{"a:0", Float(1)}}, options), AllOf(HasSubstr("CANCELLED"), HasSubstr("enough")));
  canceller.join();

  h = SetUp({"y:0"}, {"a:0"});
  std::thread waiter([&] { EXPECT_THAT(Run(h, {"y:0"}, {{"a:0", Float(1)}}), HasSubstr("the session was closed")); });
  while (WaitingTestBlocks() == 0) std::this_thread::yield();
  EXPECT_TRUE(session().Close().ok());
  waiter.join();
  EXPECT_THAT(session().SetUpPartialRun({{}, {"y:0"}, {}}).status().ToString(), HasSubstr("closed"));
}

TEST_F(PartialRunTest, OneThatIsLeftAloneIsEndedAndTheirNumberIsLimited) {
  BuildSums();
  options_.partial_run_limit = absl::Milliseconds(30);
  const std::string h = SetUp({"r1:0"}, {"a:0", "b:0"});
  std::string found;
  for (int i = 0; i < 1000 && found.empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(40));
    found = Run(h, {});
  }
  EXPECT_THAT(found, AllOf(HasSubstr("DEADLINE_EXCEEDED"), HasSubstr("nobody has gone on with it"), HasSubstr("r1:0")));

  session_ = nullptr;
  options_.partial_run_limit = kPartialRunLimit;
  for (int i = 0; i < kMaxPartialRuns; ++i) SetUp({"r1:0"}, {"a:0", "b:0"});
  EXPECT_THAT(session().SetUpPartialRun({{"a:0", "b:0"}, {"r1:0"}, {}}).status().ToString(),
              AllOf(HasSubstr("RESOURCE_EXHAUSTED"), HasSubstr("finish some of them")));
}

TEST_F(PartialRunTest, SeesChangesOfTheGraph) {
  BuildSums();
  std::string h = SetUp({"r1:0"}, {"a:0"});
  {
    absl::MutexLock lock(&graph_.mu());
    ASSERT_TRUE(graph_.UpdateInput(graph_.Find("r1"), 1, {graph_.Find("a"), 0}).ok());
  }
  h = SetUp({"r1:0"}, {"a:0"});
  EXPECT_EQ(Run(h, {"r1:0"}, {{"a:0", Float(4)}}), "float [1] 8");
}

}  // namespace
}  // namespace sluice
