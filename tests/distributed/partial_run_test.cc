// Steps over two tasks that are run in parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "distributed/proto/master.pb.h"
#include "tests/distributed/server_fixture.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

class PartialRunTest : public ServerTest {
 protected:
  using Feeds = std::vector<std::pair<std::string, Tensor>>;

  // r1 = a + b on the parameter server, r2 = r1 * c on the worker
  void BuildParts() {
    Build(R"(
      a = Placeholder(dtype=float, shape=[]) @/job:ps/task:0
      b = Placeholder(dtype=float, shape=[]) @/job:worker/task:0
      c = Placeholder(dtype=float, shape=[]) @/job:worker/task:0
      r1 = Add(a, b) @/job:ps/task:0
      r2 = Mul(r1, c) @/job:worker/task:0)");
  }
  static Tensor Float(float v) { return Tensor::Scalar<float>(v); }
  static std::string Run(SessionBase& session, const std::string& handle, std::vector<std::string> fetches,
                         Feeds feeds = {}, const RunOptions& options = {}) {
    std::vector<Tensor> results;
    absl::Status status = session.PartialRun(handle, feeds, fetches, &results, options);
    return status.ok() ? Text(results) : status.ToString();
  }
  // No step is left on any task. Clean-ups are on their way when a run has ended.
  void ExpectNoSteps() {
    for (int i = 0; i < 1000 && StateOf(*ps_).step_size() + StateOf(*workers_[0]).step_size() > 0; ++i) {
      absl::SleepFor(absl::Milliseconds(10));
    }
    EXPECT_EQ(StateOf(*ps_).step_size() + StateOf(*workers_[0]).step_size(), 0);
  }
};

TEST_F(PartialRunTest, FeedsAndFetchesOfTwoTasks) {
  Cluster(1);
  BuildParts();
  auto session = Session(*workers_[0]);
  for (int i = 0; i < 5; ++i) {
    const std::string h = *session->SetUpPartialRun({{"a:0", "b:0", "c:0"}, {"r1:0", "r2:0"}, {}});
    const std::string other = *session->SetUpPartialRun({{"a:0", "b:0", "c:0"}, {"r2:0"}, {}});
    EXPECT_EQ(Run(*session, h, {}, {{"b:0", Float(2)}}), "");
    EXPECT_EQ(Run(*session, h, {"r1:0"}, {{"a:0", Float(1)}}), "float [] 3");
    EXPECT_THAT(Run(*session, h, {"r2:0"}),
                HasSubstr("can't be computed from the feeds that have been fed so far: it also needs c:0"));
    EXPECT_EQ(Run(*session, other, {"r2:0"}, {{"c:0", Float(2)}, {"a:0", Float(10)}, {"b:0", Float(5)}}),
              "float [] 30");
    EXPECT_EQ(Run(*session, h, {"r2:0"}, {{"c:0", Float(10)}}), "float [] 30");
    EXPECT_THAT(Run(*session, h, {}), HasSubstr("Must run 'setup' before performing partial runs"));
  }
  ExpectNoSteps();
}

TEST_F(PartialRunTest, WrongRequestsChangeNothing) {
  Cluster(1);
  BuildParts();
  auto session = Session(*workers_[0]);
  const std::string h = *session->SetUpPartialRun({{"a:0", "b:0"}, {"r1:0"}, {}});
  EXPECT_EQ(Run(*session, h, {}, {{"b:0", Float(2)}}), "");
  EXPECT_THAT(Run(*session, h, {}, {{"b:0", Float(2)}}), HasSubstr("The feed b:0 has already been fed."));
  EXPECT_THAT(Run(*session, h, {}, {{"c:0", Float(2)}}),
              HasSubstr("The feed c:0 was not specified in partial_run_setup."));
  EXPECT_THAT(Run(*session, h, {"r2:0"}), HasSubstr("The fetch r2:0 was not specified in partial_run_setup."));
  EXPECT_THAT(Run(*session, h, {}, {{"a:0", Tensor::Vector<float>({1})}}), HasSubstr("cannot feed 'a:0'"));
  EXPECT_THAT(Run(*session, "partial_run_77", {}), HasSubstr("Must run 'setup'"));
  EXPECT_EQ(Run(*session, h, {"r1:0"}, {{"a:0", Float(1)}}), "float [] 3");
  EXPECT_THAT(session->SetUpPartialRun({{"a:0"}, {}, {}}).status().ToString(), HasSubstr("at least one target"));
  ExpectNoSteps();
}

TEST_F(PartialRunTest, AnErrorOnOneTaskEndsItOnAll) {
  Cluster(1);
  Build(R"(
    a = Placeholder(dtype=float, shape=?) @/job:worker/task:0
    c = CheckNumerics(a, message='bad') @/job:ps/task:0
    b = Placeholder(dtype=float, shape=?) @/job:worker/task:0
    y = Add(c, b) @/job:worker/task:0)");
  auto session = Session(*workers_[0]);
  const std::string h = *session->SetUpPartialRun({{"a:0", "b:0"}, {"c:0", "y:0"}, {}});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Run(*session, h, {"c:0"}, {{"a:0", Float(nan)}}),
              AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("bad"), HasSubstr("/job:ps")));
  EXPECT_THAT(Run(*session, h, {"y:0"}, {{"b:0", Float(1)}}), AllOf(HasSubstr("has ended"), HasSubstr("bad")));
  ExpectNoSteps();
}

TEST_F(PartialRunTest, TimeCancellationAndClosingEndIt) {
  Cluster(1);
  Build(R"(
    q = FIFOQueueV2(component_types=[float], shared_name='q') @/job:ps/task:0
    d = QueueDequeueV2(q, component_types=[float]) @/job:ps/task:0
    b = Placeholder(dtype=float, shape=?) @/job:worker/task:0
    y = Add(d, b) @/job:worker/task:0)");
  auto session = Session(*workers_[0]);
  RunOptions options;
  options.timeout_ms = 100;
  std::string h = *session->SetUpPartialRun({{"b:0"}, {"y:0"}, {}});
  EXPECT_THAT(Run(*session, h, {"y:0"}, {{"b:0", Float(1)}}, options),
              AllOf(HasSubstr("DEADLINE_EXCEEDED"), HasSubstr("waiting for y:0")));
  CancellationToken token;
  options.timeout_ms = 0;
  options.cancellation = &token;
  h = *session->SetUpPartialRun({{"b:0"}, {"y:0"}, {}});
  std::thread canceller([&] {
    absl::SleepFor(absl::Milliseconds(50));
    token.Cancel(absl::CancelledError("enough"));
  });
  EXPECT_THAT(Run(*session, h, {"y:0"}, {{"b:0", Float(1)}}, options), HasSubstr("CANCELLED"));
  canceller.join();
  h = *session->SetUpPartialRun({{"b:0"}, {"y:0"}, {}});
  std::string ended;
  std::thread waiting([&] { ended = Run(*session, h, {"y:0"}, {{"b:0", Float(1)}}); });
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_TRUE(session->Close().ok());
  waiting.join();
  EXPECT_THAT(ended, AnyOf(HasSubstr("CANCELLED"), HasSubstr("ABORTED")));
  ExpectNoSteps();
}

TEST_F(PartialRunTest, OneThatIsAbandonedIsCleanedUp) {
  options_.partial_run_limit = absl::Milliseconds(200);
  Cluster(1);
  BuildParts();
  auto session = Session(*workers_[0]);
  const std::string waits = *session->SetUpPartialRun({{"a:0", "b:0", "c:0"}, {"r1:0", "r2:0"}, {}});
  EXPECT_EQ(Run(*session, waits, {"r1:0"}, {{"a:0", Float(1)}, {"b:0", Float(2)}}), "float [] 3");
  // This one has done its work and holds a tensor that nobody takes.
  const std::string holds = *session->SetUpPartialRun({{"a:0", "b:0"}, {"r1:0"}, {}});
  EXPECT_EQ(Run(*session, holds, {}, {{"a:0", Float(1)}, {"b:0", Float(2)}}), "");
  ExpectNoSteps();
  EXPECT_THAT(Run(*session, waits, {"r2:0"}, {{"c:0", Float(2)}}),
              AllOf(HasSubstr("DEADLINE_EXCEEDED"), HasSubstr("nobody has gone on with it"), HasSubstr("r2:0")));
  EXPECT_THAT(Run(*session, holds, {"r1:0"}), HasSubstr("DEADLINE_EXCEEDED"));
}

TEST_F(PartialRunTest, ALostTaskEndsIt) {
  Cluster(1);
  BuildParts();
  auto session = Session(*workers_[0]);
  const std::string h = *session->SetUpPartialRun({{"a:0", "b:0", "c:0"}, {"r1:0", "r2:0"}, {}});
  EXPECT_EQ(Run(*session, h, {"r1:0"}, {{"a:0", Float(1)}, {"b:0", Float(2)}}), "float [] 3");
  const std::string again = *session->SetUpPartialRun({{"a:0", "b:0", "c:0"}, {"r1:0", "r2:0"}, {}});
  ps_.reset();
  // The second when the news that the server closes its sessions is here before the request is sent.
  EXPECT_THAT(Run(*session, again, {"r1:0"}, {{"a:0", Float(1)}, {"b:0", Float(2)}}),
              AllOf(AnyOf(HasSubstr("UNAVAILABLE"), HasSubstr("ABORTED")), HasSubstr("/job:ps/replica:0/task:0")));
}

}  // namespace
}  // namespace sluice
