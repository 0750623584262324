// Steps by dataflow: whatever threads take part and whenever waits complete, results are those of the graph; a step
// that was used before, and one that failed before, runs as a new one does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "absl/strings/str_join.h"
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

constexpr int kElements = 8192;  // expensive enough to be offered to another thread

class DataflowTest : public ::testing::Test {
 protected:
  DataflowTest() : pool_(3), devices_(MakeCpuDevices("/job:a/replica:0/task:0", 1, &pool_)) {
    DefineControlOps(ops_);
    DefineTestOps(ops_);
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
    AddControlKernelsCpu(kernels_);
    AddTestKernels(kernels_);
    HoldTestBlocks();
  }
  std::unique_ptr<StepPlan> Plan(const std::vector<std::string>& lines, int results) {
    auto graph = std::make_unique<Graph>(&ops_);
    absl::Status parsed = ParseGraphText(absl::StrJoin(lines, "\n"), graph.get());
    EXPECT_TRUE(parsed.ok()) << parsed;
    auto plan = PartitionPlan::Make(std::move(graph), {&kernels_, devices_[0].get(), &resources_, nullptr, {}});
    EXPECT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ((*plan)->tier, Tier::kDataflow);
    std::vector<std::unique_ptr<PartitionPlan>> partitions;
    partitions.push_back(*std::move(plan));
    return std::make_unique<StepPlan>(std::move(partitions), 1, results);
  }
  static absl::Status Run(StepPlan* plan, std::vector<Tensor>* out, const StepCall& call = {}) {
    const Tensor x = Tensor::FromValues<float>(Shape({kElements}), std::vector<float>(kElements, 0));
    out->assign(plan->num_results(), Tensor());
    Step* step = plan->Take();
    absl::Status s = step->Run(call, {x}, nullptr, out->data());
    plan->GiveBack(step);
    return s;
  }

  ThreadPool pool_;
  std::vector<std::unique_ptr<Device>> devices_;
  ResourceStore resources_;
  OpRegistry ops_;
  KernelRegistry kernels_;
};

// Completes waits again and again, on a thread of its own.
class Releaser {
 public:
  Releaser()
      : thread_([this] {
          while (!stop_) {
            ReleaseTestBlocks();
            HoldTestBlocks();
            std::this_thread::yield();
          }
        }) {}
  ~Releaser() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(DataflowTest, RandomGraphsComputeTheSameOnAnyThreads) {
  std::mt19937 random(5);
  Releaser releaser;
  for (int round = 0; round < 25; ++round) {
    const int nodes = 10 + static_cast<int>(random() % 60);
    std::vector<std::string> lines = {absl::StrCat("n0 = _Arg(T=float, index=0, shape=[", kElements, "])"),
                                      "n1 = TestBlock(n0)"};
    std::vector<float> value = {0, 0};  // of every element
    for (int i = 2; i < nodes; ++i) {
      auto pick = [&] { return static_cast<int>(i - 1 - random() % std::min(i, 12)); };
      const int a = pick(), b = pick();
      const std::string order = random() % 4 == 0 && a != b ? absl::StrCat(", ^n", b) : "";
      switch (random() % 5) {
        case 0:
          lines.push_back(absl::StrCat("n", i, " = TestBlock(n", a, order, ")"));
          value.push_back(value[a]);
          break;
        case 1:
          lines.push_back(absl::StrCat("n", i, " = TestAdd(n", a, ", n", b, ")"));
          value.push_back(value[a] + value[b]);
          break;
        case 2:
          lines.push_back(absl::StrCat("n", i, " = TestUnknown(n", a, order, ")"));
          value.push_back(1 + value[a]);
          break;
        default:
          lines.push_back(absl::StrCat("n", i, " = TestMix(n", a, ", n", b, ", N=2)"));
          value.push_back(1 + value[a] + value[b]);
      }
    }
    std::vector<int> fetched;
    for (int i = 1; i < nodes; ++i) {
      if (i != nodes - 1 && random() % 6 != 0) continue;
      lines.push_back(absl::StrCat("r", i, " = _Retval(n", i, ", T=float, index=", fetched.size(), ")"));
      fetched.push_back(i);
    }
    const std::unique_ptr<StepPlan> plan = Plan(lines, static_cast<int>(fetched.size()));
    auto run = [&] {
      std::vector<Tensor> out;
      for (int repeat = 0; repeat < 4; ++repeat) {
        absl::Status s = Run(plan.get(), &out);
        ASSERT_TRUE(s.ok()) << s;
        for (size_t r = 0; r < fetched.size(); ++r) {
          for (float got : out[r].flat<float>()) {
            ASSERT_EQ(got, value[fetched[r]]) << "node n" << fetched[r] << "\n" << absl::StrJoin(lines, "\n");
          }
        }
      }
    };
    std::thread other(run);
    run();
    other.join();
  }
}

TEST_F(DataflowTest, AStepThatFailedRunsAsANewOneAfterwards) {
  const std::unique_ptr<StepPlan> plan =
      Plan({absl::StrCat("x = _Arg(T=float, index=0, shape=[", kElements, "])"), "a = TestMix(x, N=1)",
            "b = TestMix(x, N=1)", "w = TestBlock(a)", "c = TestMix(b, w, N=2)", "r = _Retval(c, T=float, index=0)"},
           1);
  std::vector<Tensor> out;
  for (int round = 0; round < 3; ++round) {
    HoldTestBlocks();
    StepCall late;
    late.deadline = absl::Now() + absl::Milliseconds(5);
    EXPECT_EQ(Run(plan.get(), &out, late).code(), absl::StatusCode::kDeadlineExceeded);
    ReleaseTestBlocks();
    absl::Status s = Run(plan.get(), &out);
    ASSERT_TRUE(s.ok()) << s;
    EXPECT_EQ(out[0].data<float>()[kElements - 1], 3);
  }
}

TEST_F(DataflowTest, AHubOfManyWaitsAndReaders) {
  std::vector<std::string> lines = {absl::StrCat("x = _Arg(T=float, index=0, shape=[", kElements, "])")};
  std::vector<std::string> all;
  for (int i = 0; i < 200; ++i) {
    lines.push_back(absl::StrCat("w", i, " = TestBlock(x)"));
    lines.push_back(absl::StrCat("m", i, " = TestMix(w", i, ", x, N=2)"));
    all.push_back(absl::StrCat("m", i));
  }
  lines.push_back(absl::StrCat("y = TestMix(", absl::StrJoin(all, ", "), ", N=200)"));
  lines.push_back("r = _Retval(y, T=float, index=0)");
  const std::unique_ptr<StepPlan> plan = Plan(lines, 1);
  Releaser releaser;
  std::vector<Tensor> out;
  for (int repeat = 0; repeat < 3; ++repeat) {
    absl::Status s = Run(plan.get(), &out);
    ASSERT_TRUE(s.ok()) << s;
    EXPECT_EQ(out[0].data<float>()[0], 201);
  }
}

}  // namespace
}  // namespace sluice
