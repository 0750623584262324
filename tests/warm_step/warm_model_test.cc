// Steps of a small network take nothing from the heap and no lock.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/pass/default_passes.h"
#include "core/graph/gradients.h"
#include "core/graph/text.h"
#include "kernels/all/all_kernels.h"
#include "kernels/math/fused.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/all/all_ops.h"
#include "runtime/session/call_counter.h"
#include "runtime/session/session.h"

namespace sluice {
namespace {

constexpr char kModel[] =
    "x = Placeholder(dtype=float, shape=[8,16]); labels = Placeholder(dtype=int32, shape=[8]); "
    "w1 = VarHandleOp(dtype=float, shape=[16,32]); b1 = VarHandleOp(dtype=float, shape=[32]); "
    "w2 = VarHandleOp(dtype=float, shape=[32,4]); b2 = VarHandleOp(dtype=float, shape=[4]); "
    "w1_start = Const(value=float[16,32]{0.1}); b1_start = Const(value=float[32]{0.1}); "
    "w2_start = Const(value=float[32,4]{0.1}); b2_start = Const(value=float[4]{0.1}); "
    "w1_init = AssignVariableOp(w1, w1_start, dtype=float); b1_init = AssignVariableOp(b1, b1_start, dtype=float); "
    "w2_init = AssignVariableOp(w2, w2_start, dtype=float); b2_init = AssignVariableOp(b2, b2_start, dtype=float); "
    "init = NoOp(^w1_init, ^b1_init, ^w2_init, ^b2_init); "
    "w1_value = ReadVariableOp(w1, dtype=float); b1_value = ReadVariableOp(b1, dtype=float); "
    "w2_value = ReadVariableOp(w2, dtype=float); b2_value = ReadVariableOp(b2, dtype=float); "
    "mm1 = MatMul(x, w1_value); z1 = BiasAdd(mm1, b1_value); h = Relu(z1); "
    "mm2 = MatMul(h, w2_value); logits = BiasAdd(mm2, b2_value); y = Softmax(logits); "
    "xent = SparseSoftmaxCrossEntropyWithLogits(logits, labels); axis = Const(value=int32[1]{0}); "
    "loss = Mean(xent, axis); rate = Const(value=float[]{0.1})";

constexpr char kConvolutions[] =
    "x = Placeholder(dtype=float, shape=[8,8,8,1]); labels = Placeholder(dtype=int32, shape=[8]); "
    "w1 = VarHandleOp(dtype=float, shape=[5,5,1,16]); b1 = VarHandleOp(dtype=float, shape=[16]); "
    "w2 = VarHandleOp(dtype=float, shape=[3,3,16,32]); b2 = VarHandleOp(dtype=float, shape=[32]); "
    "w3 = VarHandleOp(dtype=float, shape=[128,4]); "
    "w1_start = Const(value=float[5,5,1,16]{0.1}); b1_start = Const(value=float[16]{0.1}); "
    "w2_start = Const(value=float[3,3,16,32]{0.1}); b2_start = Const(value=float[32]{0.1}); "
    "w3_start = Const(value=float[128,4]{0.1}); "
    "w1_init = AssignVariableOp(w1, w1_start, dtype=float); b1_init = AssignVariableOp(b1, b1_start, dtype=float); "
    "w2_init = AssignVariableOp(w2, w2_start, dtype=float); b2_init = AssignVariableOp(b2, b2_start, dtype=float); "
    "w3_init = AssignVariableOp(w3, w3_start, dtype=float); "
    "init = NoOp(^w1_init, ^b1_init, ^w2_init, ^b2_init, ^w3_init); "
    "w1_value = ReadVariableOp(w1, dtype=float); b1_value = ReadVariableOp(b1, dtype=float); "
    "w2_value = ReadVariableOp(w2, dtype=float); b2_value = ReadVariableOp(b2, dtype=float); "
    "w3_value = ReadVariableOp(w3, dtype=float); "
    "c1 = Conv2D(x, w1_value, strides=[1,1,1,1], padding='SAME'); z1 = BiasAdd(c1, b1_value); r1 = Relu(z1); "
    "p1 = MaxPool(r1, ksize=[1,2,2,1], strides=[1,2,2,1], padding='SAME'); "
    "c2 = Conv2D(p1, w2_value, strides=[1,1,1,1], padding='SAME'); z2 = BiasAdd(c2, b2_value); r2 = Relu(z2); "
    "p2 = MaxPool(r2, ksize=[1,2,2,1], strides=[1,2,2,1], padding='SAME'); "
    "flat_shape = Const(value=int32[2]{8,128}); flat = Reshape(p2, flat_shape); logits = MatMul(flat, w3_value); "
    "y = Softmax(logits); "
    "xent = SparseSoftmaxCrossEntropyWithLogits(logits, labels); axis = Const(value=int32[1]{0}); "
    "loss = Mean(xent, axis); rate = Const(value=float[]{0.1})";

class WarmModelTest : public ::testing::Test {
 protected:
  WarmModelTest() : graph_((Define(), &ops_)) {
    AddAllKernelsCpu(kernels_);
    environment_.ops = &ops_;
    environment_.kernels = &kernels_;
    environment_.passes = DefaultPasses();
    environment_.device_passes = DevicePasses([this](const NodeInfo& n) { return CanRunFused(kernels_, n); },
                                              [this](const NodeInfo& n) { return CanReduceRows(kernels_, n); },
                                              [this](const NodeInfo& n) { return CanUpdateTogether(kernels_, n); });
    options_.own_pool = true;
    options_.parallelism = 1;
  }
  void Define() {
    DefineAllOps(ops_);
    EXPECT_TRUE(ops_.Finish().ok()) << ops_.Finish();
  }
  void Build(const char* model, const std::vector<std::string>& variables) {
    absl::Status parsed = ParseGraphText(model, &graph_);
    ASSERT_TRUE(parsed.ok()) << parsed;
    std::vector<Endpoint> values;
    for (const std::string& v : variables) values.push_back({graph_.Find(absl::StrCat(v, "_value")), 0});
    auto gradients = AddGradients(&graph_, {{graph_.Find("loss"), 0}}, values, {}, {});
    ASSERT_TRUE(gradients.ok()) << gradients.status();
    std::string updates, group = "train = NoOp(";
    int i = 0;
    for (const std::string& v : variables) {
      const Endpoint g = (*gradients)[i].dense.endpoint();
      absl::StrAppend(&updates, v, "_update = ResourceApplyGradientDescent(", v, ", rate, ", g.node->name(), ":",
                      g.index, ", T=float); ");
      absl::StrAppend(&group, i++ == 0 ? "^" : ", ^", v, "_update");
    }
    absl::Status added = ParseGraphText(absl::StrCat(updates, group, ")"), &graph_);
    ASSERT_TRUE(added.ok()) << added;
    session_ = std::make_unique<Session>(environment_, options_, &graph_);
    auto initialised = session_->Run({}, {}, {"init"});
    ASSERT_TRUE(initialised.ok()) << initialised.status();
  }
  // What one of 100 steps calls, after 10 to warm up.
  std::string CallsOfAStep(const CallableSpec& spec, const std::vector<Tensor>& feeds) {
    auto callable = session_->MakeCallable(spec);
    std::vector<Tensor> fetches;
    auto run = [&](int steps) {
      for (int i = 0; i < steps; ++i) {
        absl::Status s = session_->RunCallable(**callable, feeds, &fetches);
        ASSERT_TRUE(s.ok()) << s;
      }
    };
    run(10);
    const CallCounts before = CallsOfThisThread();
    run(100);
    const CallCounts calls = CallsOfThisThread() - before;
    return absl::StrCat("heap ", calls.heap / 100.0, ", locks ", calls.locks / 100.0, ", waits ", calls.waits / 100.0);
  }
  OpRegistry ops_;
  KernelRegistry kernels_;
  Environment environment_;
  SessionOptions options_;
  Graph graph_;
  std::unique_ptr<Session> session_;
  const std::vector<std::string> variables_ = {"w1", "b1", "w2", "b2"};
  const Tensor images_ = Tensor::FromValues<float>(Shape({8, 8, 8, 1}), std::vector<float>(512, 0.5));
  const Tensor x_ = Tensor::FromValues<float>(Shape({8, 16}), std::vector<float>(128, 0.5));
  const Tensor labels_ = Tensor::FromValues<int32_t>(Shape({8}), {0, 1, 2, 3, 0, 1, 2, 3});
};

TEST_F(WarmModelTest, InferenceTakesNothing) {
  Build(kModel, variables_);
  EXPECT_EQ(CallsOfAStep({{"x:0"}, {"y:0"}, {}}, {x_}), "heap 0, locks 0, waits 0");
}

TEST_F(WarmModelTest, TrainingTakesNothing) {
  Build(kModel, variables_);
  EXPECT_EQ(CallsOfAStep({{"x:0", "labels:0"}, {"loss:0"}, {"train"}}, {x_, labels_}), "heap 0, locks 0, waits 0");
}

TEST_F(WarmModelTest, ConvolutionsTakeNothing) {
  Build(kConvolutions, {"w1", "b1", "w2", "b2", "w3"});
  EXPECT_EQ(CallsOfAStep({{"x:0"}, {"y:0"}, {}}, {images_}), "heap 0, locks 0, waits 0");
  EXPECT_EQ(CallsOfAStep({{"x:0", "labels:0"}, {"loss:0"}, {"train"}}, {images_, labels_}), "heap 0, locks 0, waits 0");
}

}  // namespace
}  // namespace sluice
