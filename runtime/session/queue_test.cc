// Sessions with queues and accumulators: what waits holds no thread, and ends with the step, the session or the queue.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/base/cancellation.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "kernels/queue/queue_kernels.h"
#include "ops/control/control_ops.h"
#include "ops/queue/queue_ops.h"
#include "runtime/session/session.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class SessionQueueTest : public ::testing::Test {
 protected:
  SessionQueueTest() : graph_((Define(), &ops_)) {
    AddControlKernelsCpu(kernels_);
    AddQueueFamilyKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    environment_.ops = &ops_;
    environment_.kernels = &kernels_;
  }
  void Define() {
    DefineControlOps(ops_);
    DefineQueueFamilyOps(ops_);
    DefineTestOps(ops_);
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
  }
  void Build(absl::string_view text) {
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
    session_ = std::make_unique<Session>(environment_, SessionOptions(), &graph_);
  }
  std::string Run(std::vector<std::string> fetches, std::vector<std::string> targets = {},
                  const RunOptions& options = {}) {
    auto r = session_->Run({}, fetches, targets, options);
    if (!r.ok()) return absl::StrCat(absl::StatusCodeToString(r.status().code()), ": ", r.status().message());
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

constexpr char kQueueOfTwo[] =
    "q = FIFOQueueV2(component_types=[float], shapes=[[]], capacity=2); x = Const(value=float[]{5}); "
    "xs = Const(value=float[3]{1,2,3}); n = Const(value=int32[]{2}); put = QueueEnqueueV2(q, x); "
    "puts = QueueEnqueueManyV2(q, xs); take = QueueDequeueV2(q, component_types=[float]); "
    "takes = QueueDequeueManyV2(q, n, component_types=[float]); size = QueueSizeV2(q); close = QueueCloseV2(q); "
    "late = QueueDequeueV2(q, component_types=[float], timeout_ms=10)";

TEST_F(SessionQueueTest, StepsHandElementsToEachOther) {
  Build(kQueueOfTwo);
  EXPECT_EQ(Run({}, {"put"}), "");
  EXPECT_EQ(Run({"size:0"}), "int32 [] 1");
  EXPECT_EQ(Run({"take:0"}), "float [] 5");
  std::thread feeder([&] { EXPECT_EQ(Run({}, {"puts"}), ""); });
  EXPECT_EQ(Run({"takes:0"}), "float [2] 1 2");
  EXPECT_EQ(Run({"take:0"}), "float [] 3");
  feeder.join();
}

TEST_F(SessionQueueTest, OneStepMayPutAndTake) {
  Build(kQueueOfTwo);
  EXPECT_EQ(Run({"takes:0", "take:0"}, {"puts"}).substr(0, 5), "float");
  EXPECT_EQ(Run({"size:0"}), "int32 [] 0");
}

TEST_F(SessionQueueTest, AWaitEndsWithItsDeadlineTheStepsAndTheSession) {
  Build(kQueueOfTwo);
  EXPECT_THAT(Run({"late:0"}), HasSubstr("DEADLINE_EXCEEDED: QueueDequeueV2 'late': waited 10 ms for FIFOQueue 'q'"));
  RunOptions brief;
  brief.timeout_ms = 10;
  EXPECT_THAT(Run({"take:0"}, {}, brief), HasSubstr("ran out of time waiting for QueueDequeueV2 'take'"));
  CancellationToken token;
  RunOptions cancellable;
  cancellable.cancellation = &token;
  std::thread canceller([&] { token.Cancel(absl::CancelledError("enough")); });
  EXPECT_THAT(Run({"take:0"}, {}, cancellable), HasSubstr("CANCELLED: "));
  canceller.join();
  std::string result;
  std::thread waiter([&] { result = Run({"take:0"}); });
  EXPECT_EQ(session_->Close(), absl::OkStatus());
  waiter.join();
  EXPECT_THAT(result, HasSubstr("CANCELLED"));
}

TEST_F(SessionQueueTest, AnErrorElsewhereInTheStepEndsTheWait) {
  Build(absl::StrCat(kQueueOfTwo, "; bad = TestFail(message='oops')"));
  EXPECT_THAT(Run({"take:0", "bad:0"}), HasSubstr("oops"));
  EXPECT_EQ(Run({}, {"put"}), "");
  EXPECT_EQ(Run({"take:0"}), "float [] 5") << "the ended wait took nothing";
}

TEST_F(SessionQueueTest, AClosedQueueIsOutOfRange) {
  Build(kQueueOfTwo);
  EXPECT_EQ(Run({}, {"close"}), "");
  EXPECT_THAT(Run({"take:0"}), HasSubstr("OUT_OF_RANGE: QueueDequeueV2 'take': FIFOQueue 'q' is closed"));
  EXPECT_THAT(Run({}, {"put"}), HasSubstr("CANCELLED: QueueEnqueueV2 'put': FIFOQueue 'q' is closed"));
}

TEST_F(SessionQueueTest, HundredsOfWaitsNeedNoThreads) {
  Build(kQueueOfTwo);
  std::string text;
  std::vector<std::string> fetches;
  for (int i = 0; i < 300; ++i) {
    absl::StrAppend(&text, "t", i, " = QueueDequeueV2(q, component_types=[float]); ");
    fetches.push_back(absl::StrCat("t", i, ":0"));
  }
  ASSERT_TRUE(ParseGraphText(text, &graph_).ok());
  std::string result;
  std::thread waiter([&] { result = Run(fetches); });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Run({}, {"puts"}), "");
  waiter.join();
  EXPECT_THAT(result, HasSubstr("float [] 1; "));
}

TEST_F(SessionQueueTest, NodesOfOneNameShareAQueueAndMustAgree) {
  Build(
      "a = FIFOQueueV2(component_types=[float], shared_name='s'); b = FIFOQueue(component_types=[float], "
      "shared_name='s'); c = FIFOQueueV2(component_types=[int32], shared_name='s'); x = Const(value=float[]{5}); "
      "put = QueueEnqueueV2(a, x); take = QueueDequeue(b, component_types=[float]); size = QueueSizeV2(c)");
  EXPECT_EQ(Run({}, {"put"}), "");
  EXPECT_EQ(Run({"take:0"}), "float [] 5") << "a reference names the same queue";
  EXPECT_THAT(Run({"size:0"}), HasSubstr("shared queue 's' has component types [float], but [int32] is asked for"));
}

TEST_F(SessionQueueTest, AccumulatorsWaitForTheirGradients) {
  Build(
      "a = ConditionalAccumulator(dtype=float, shape=[2]); step = Const(value=int64[]{0}); "
      "g = Const(value=float[2]{2,4}); n = Const(value=int32[]{2}); put = AccumulatorApplyGradient(a, step, g); "
      "take = AccumulatorTakeGradient(a, n, dtype=float); count = AccumulatorNumAccumulated(a)");
  std::string mean;
  std::thread taker([&] { mean = Run({"take:0"}); });
  EXPECT_EQ(Run({}, {"put"}), "");
  EXPECT_EQ(Run({}, {"put"}), "");
  taker.join();
  EXPECT_EQ(mean, "float [2] 2 4");
  EXPECT_EQ(Run({}, {"put"}), "");
  EXPECT_EQ(Run({"count:0"}), "int32 [] 0") << "the gradient of a step that is over";
}

TEST_F(SessionQueueTest, StacksLastForAStep) {
  Build(
      "n = Const(value=int32[]{1}); s = StackV2(n, elem_type=float); x = Const(value=float[]{5}); push = "
      "StackPushV2(s, "
      "x); pop = StackPopV2(s, ^push, elem_type=float); again = StackPushV2(s, x, ^push)");
  EXPECT_EQ(Run({"pop:0"}), "float [] 5");
  EXPECT_EQ(Run({"pop:0"}), "float [] 5");
  EXPECT_THAT(Run({"again:0"}), HasSubstr("is full: its max_size is 1"));
}

}  // namespace
}  // namespace sluice
