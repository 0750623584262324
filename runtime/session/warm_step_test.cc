// A warm step takes nothing from the heap and no lock: calls of both are counted on the thread that runs it.
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <new>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "kernels/state/state_kernels.h"
#include "ops/control/control_ops.h"
#include "ops/state/state_ops.h"
#include "runtime/session/call_counter.h"
#include "runtime/session/session.h"

namespace sluice {
namespace {

constexpr int kSteps = 100;

std::string Text(const CallCounts& c) {
  return absl::StrCat("heap ", c.heap, ", locks ", c.locks, ", waits ", c.waits);
}

class WarmStepTest : public ::testing::Test {
 protected:
  WarmStepTest() : graph_((Define(), &ops_)) {
    AddControlKernelsCpu(kernels_);
    AddStateKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    environment_.ops = &ops_;
    environment_.kernels = &kernels_;
  }
  void Define() {
    DefineControlOps(ops_);
    DefineStateOps(ops_);
    DefineTestOps(ops_);
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
  }
  void Build(absl::string_view text) {
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
    session_ = std::make_unique<Session>(environment_, SessionOptions(), &graph_);
  }
  // What 100 steps call after 10 to warm up.
  std::string Calls(const CallableSpec& spec, const RunOptions& options = {}) {
    auto callable = session_->MakeCallable(spec);
    std::vector<Tensor> feeds(spec.feeds.size(), x_), fetches;
    auto run = [&](int steps) {
      for (int i = 0; i < steps; ++i) {
        absl::Status s = session_->RunCallable(**callable, feeds, &fetches, options);
        ASSERT_TRUE(s.ok()) << s;
      }
    };
    run(10);
    const CallCounts before = CallsOfThisThread();
    run(kSteps);
    return Text(CallsOfThisThread() - before);
  }
  OpRegistry ops_;
  KernelRegistry kernels_;
  Environment environment_;
  Graph graph_;
  std::unique_ptr<Session> session_;
  const Tensor x_ = Tensor::FromValues<float>(Shape({64}), std::vector<float>(64, 1));
};

TEST_F(WarmStepTest, StaticShapes) {
  Build(
      "x = Placeholder(dtype=float, shape=[64]); a = TestMix(x, N=1); b = TestAdd(a, x); v = TestReshape(b, "
      "shape=[8,8]); c = TestMix(v, a, N=2); y = TestAdd(c, v)");
  EXPECT_EQ(Calls({{"x:0"}, {"y:0"}, {}}), "heap 0, locks 0, waits 0");
  EXPECT_EQ(Calls({{"x:0"}, {"x:0", "y:0", "b:0"}, {}}), "heap 0, locks 0, waits 0");
}

TEST_F(WarmStepTest, ShapesThatAreNotKnown) {
  Build("x = Placeholder(dtype=float); a = TestMix(x, N=1); b = TestUnknown(a); y = TestAdd(b, a)");
  EXPECT_EQ(Calls({{"x:0"}, {"y:0"}, {}}), "heap 0, locks 0, waits 0");
}

TEST_F(WarmStepTest, DeadlinesCostNothingMore) {
  Build("x = Placeholder(dtype=float, shape=[64]); a = TestMix(x, N=1); y = TestAdd(a, x)");
  RunOptions options;
  options.timeout_ms = 1000000;
  EXPECT_EQ(Calls({{"x:0"}, {"y:0"}, {}}, options), "heap 0, locks 0, waits 0");
}

// A use of a variable is two atomic instructions (core/base/use_word.h), not a mutex.
TEST_F(WarmStepTest, VariablesAreReadAndChangedWithoutAMutex) {
  Build(
      "v = VariableV2(shape=[64], dtype=float); one = Const(value=float[64]{1}); init = Assign(v, one); "
      "up = AssignAdd(v, one); h = VarHandleOp(shape=[64], dtype=float); w = AssignVariableOp(h, one, dtype=float); "
      "r = ReadVariableOp(h, dtype=float); init_both = NoOp(^init, ^w); y = TestAdd(r, one)");
  ASSERT_TRUE(session_->Run({}, {}, {"init_both"}).ok());
  EXPECT_EQ(Calls({{}, {}, {"up"}}), "heap 0, locks 0, waits 0");
  EXPECT_EQ(Calls({{}, {"y:0"}, {}}), "heap 0, locks 0, waits 0");
}

TEST_F(WarmStepTest, TheCounterCounts) {
  absl::Mutex mu;
  std::mutex standard;
  const CallCounts before = CallsOfThisThread();
  ::operator delete(::operator new(8));  // calls of their own, which no compiler may leave out
  mu.Lock();
  mu.Unlock();
  mu.ReaderLock();
  mu.ReaderUnlock();
  standard.lock();
  standard.unlock();
  absl::Status cancelled = absl::CancelledError("a message longer than what fits inside a string");
  const CallCounts calls = CallsOfThisThread() - before;
  EXPECT_EQ(calls.locks, 3);
  EXPECT_GE(calls.heap, 2 + 1) << "abseil's allocations are seen too";
}

}  // namespace
}  // namespace sluice
