#include <cmath>
#include <functional>

#include "core/kernel/variable.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/control/control_ops.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

double Sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
double Shrink(double x, double by) { return Sign(x) * std::max(std::abs(x) - by, 0.0); }

// A rule as its paper has it: states x (the variable first) and gradient g, with hyper-parameters h in the order of the
// op.
struct Rule {
  const char* name;
  int states;
  std::vector<double> hyper;  // the op's inputs after the states, without gradient and indices
  int gradient_at;            // how many hyper-parameters come before the gradient
  std::function<void(std::vector<double>& x, double g, const std::vector<double>& h)> step;
  AttrMap attrs = {};
  bool sparse = true;
};

std::vector<Rule> Rules() {
  using V = std::vector<double>;
  auto ftrl = [](V& x, double g, const V& h, double shrinkage, double power) {
    const double before = x[1], after = x[1] + g * g;
    x[2] += g + 2 * shrinkage * x[0] - (std::pow(after, -power) - std::pow(before, -power)) / h[0] * x[0];
    x[0] = std::abs(x[2]) > h[1] ? (h[1] * Sign(x[2]) - x[2]) / (std::pow(after, -power) / h[0] + 2 * h[2]) : 0;
    x[1] = after;
  };
  auto adam = [](V& x, double g, const V& h, bool nesterov) {
    x[1] = h[3] * x[1] + (1 - h[3]) * g;
    x[2] = h[4] * x[2] + (1 - h[4]) * g * g;
    const double rate = h[2] * std::sqrt(1 - h[1]) / (1 - h[0]);
    x[0] -= rate * (nesterov ? h[3] * x[1] + (1 - h[3]) * g : x[1]) / (std::sqrt(x[2]) + h[5]);
  };
  return {
      {"GradientDescent", 1, {0.1}, 1, [](V& x, double g, const V& h) { x[0] -= h[0] * g; }, {}, false},
      {"ProximalGradientDescent",
       1,
       {0.1, 0.5, 0.25},
       3,
       [](V& x, double g, const V& h) { x[0] = Shrink(x[0] - h[0] * g, h[0] * h[1]) / (1 + h[0] * h[2]); }},
      {"Momentum",
       2,
       {0.1, 0.9},
       1,
       [](V& x, double g, const V& h) {
         x[1] = h[1] * x[1] + g;
         x[0] -= h[0] * x[1];
       }},
      {"Momentum",
       2,
       {0.1, 0.9},
       1,
       [](V& x, double g, const V& h) {
         x[1] = h[1] * x[1] + g;
         x[0] -= h[0] * (g + h[1] * x[1]);
       },
       {{"use_nesterov", true}}},
      {"KerasMomentum",
       2,
       {0.1, 0.9},
       1,
       [](V& x, double g, const V& h) {
         x[1] = h[1] * x[1] - h[0] * g;
         x[0] += x[1];
       }},
      {"Adagrad",
       2,
       {0.1},
       1,
       [](V& x, double g, const V& h) {
         x[1] += g * g;
         x[0] -= h[0] * g / std::sqrt(x[1]);
       }},
      {"Adagrad",
       2,
       {0.1},
       1,
       [](V& x, double g, const V& h) { x[0] -= h[0] * g / std::sqrt(x[1]); },
       {{"update_slots", false}}},
      {"AdagradV2",
       2,
       {0.1, 0.01},
       2,
       [](V& x, double g, const V& h) {
         x[1] += g * g;
         x[0] -= h[0] * g / (std::sqrt(x[1]) + h[1]);
       }},
      {"AdagradDA",
       3,
       {0.1, 0.05, 0.25, 3},
       0,
       [](V& x, double g, const V& h) {
         x[1] += g;
         x[2] += g * g;
         x[0] = -h[0] * Shrink(x[1], h[1] * h[3]) / (h[2] * h[3] * h[0] + std::sqrt(x[2]));
       }},
      {"ProximalAdagrad",
       2,
       {0.1, 0.5, 0.25},
       3,
       [](V& x, double g, const V& h) {
         x[1] += g * g;
         const double rate = h[0] / std::sqrt(x[1]);
         x[0] = Shrink(x[0] - rate * g, rate * h[1]) / (1 + rate * h[2]);
       }},
      {"Adadelta",
       3,
       {0.5, 0.9, 0.01},
       3,
       [](V& x, double g, const V& h) {
         x[1] = h[1] * x[1] + (1 - h[1]) * g * g;
         const double update = std::sqrt(x[2] + h[2]) / std::sqrt(x[1] + h[2]) * g;
         x[0] -= h[0] * update;
         x[2] = h[1] * x[2] + (1 - h[1]) * update * update;
       }},
      {"RMSProp",
       3,
       {0.1, 0.9, 0.5, 0.01},
       4,
       [](V& x, double g, const V& h) {
         x[1] = h[1] * x[1] + (1 - h[1]) * g * g;
         x[2] = h[2] * x[2] + h[0] * g / std::sqrt(x[1] + h[3]);
         x[0] -= x[2];
       }},
      {"CenteredRMSProp",
       4,
       {0.1, 0.9, 0.5, 2},
       4,
       [](V& x, double g, const V& h) {
         x[1] = h[1] * x[1] + (1 - h[1]) * g;
         x[2] = h[1] * x[2] + (1 - h[1]) * g * g;
         x[3] = h[2] * x[3] + h[0] * g / std::sqrt(x[2] - x[1] * x[1] + h[3]);
         x[0] -= x[3];
       }},
      {"Adam",
       3,
       {0.9, 0.99, 0.1, 0.9, 0.99, 0.01},
       6,
       [adam](V& x, double g, const V& h) { adam(x, g, h, false); },
       {},
       false},
      {"Adam",
       3,
       {0.9, 0.99, 0.1, 0.9, 0.99, 0.01},
       6,
       [adam](V& x, double g, const V& h) { adam(x, g, h, true); },
       {{"use_nesterov", true}},
       false},
      {"AdamWithAmsgrad",
       4,
       {0.9, 0.99, 0.1, 0.9, 0.99, 0.01},
       6,
       [](V& x, double g, const V& h) {
         x[1] = h[3] * x[1] + (1 - h[3]) * g;
         x[2] = h[4] * x[2] + (1 - h[4]) * g * g;
         x[3] = std::max(x[3], x[2]);
         x[0] -= h[2] * std::sqrt(1 - h[1]) / (1 - h[0]) * x[1] / (std::sqrt(x[3]) + h[5]);
       },
       {},
       false},
      {"AdaMax",
       3,
       {0.9, 0.1, 0.9, 0.99, 0.01},
       5,
       [](V& x, double g, const V& h) {
         x[1] = h[2] * x[1] + (1 - h[2]) * g;
         x[2] = std::max(h[3] * x[2], std::abs(g));
         x[0] -= h[1] / (1 - h[0]) * x[1] / (x[2] + h[4]);
       },
       {},
       false},
      {"Ftrl", 3, {0.1, 0.2, 0.3, -0.5}, 0, [ftrl](V& x, double g, const V& h) { ftrl(x, g, h, 0, h[3]); }},
      {"Ftrl", 3, {0.1, 0.2, 0.3, -0.7}, 0, [ftrl](V& x, double g, const V& h) { ftrl(x, g, h, 0, h[3]); }},
      {"FtrlV2", 3, {0.1, 0.2, 0.3, 0.4, -0.5}, 0, [ftrl](V& x, double g, const V& h) { ftrl(x, g, h, h[3], h[4]); }},
      {"AddSign",
       2,
       {0.1, 1, 0.5, 0.9},
       4,
       [](V& x, double g, const V& h) {
         x[1] = h[3] * x[1] + (1 - h[3]) * g;
         x[0] -= h[0] * (h[1] + h[2] * Sign(g) * Sign(x[1])) * g;
       },
       {},
       false},
      {"PowerSign",
       2,
       {0.1, 1.5, 0.5, 0.9},
       4,
       [](V& x, double g, const V& h) {
         x[1] = h[3] * x[1] + (1 - h[3]) * g;
         x[0] -= h[0] * std::exp(h[1] * h[2] * Sign(g) * Sign(x[1])) * g;
       },
       {},
       false},
  };
}

class TrainingTest : public ::testing::Test {
 protected:
  RefPtr<Variable> Make(const Tensor& value) {
    auto v = MakeRef<Variable>("w", value.dtype(), PartialShape(value.shape()));
    EXPECT_TRUE(v->Assign(value).ok());
    return v;
  }
  static Tensor HandleOf(const RefPtr<Variable>& v) {
    ResourceHandle h;
    h.resource = v;
    return Tensor::Scalar(std::move(h));
  }

  // Runs the op on fresh states of 4 rows and 5 columns and compares with the rule.
  template <typename T>
  void Check(const Rule& rule, bool sparse, double tolerance) {
    const std::string op = std::string(sparse ? "ResourceSparseApply" : "ResourceApply") + rule.name;
    SCOPED_TRACE(op + " " + std::string(DTypeName(kDTypeOf<T>)));
    const std::vector<int32_t> indices = {2, 0, 2};
    const int64_t rows = sparse ? 3 : 4, columns = 5;
    auto value = [](int state, int64_t i) {
      return state == 0 ? 0.5 * std::sin(i + 1.0) : 0.3 + 0.1 * state + 0.01 * i;
    };
    auto gradient = [](int64_t i) { return i % 4 == 3 ? 0.0 : std::cos(2.0 * i); };

    std::vector<RefPtr<Variable>> variables;
    std::vector<std::vector<double>> states(20);
    std::vector<Tensor> inputs;
    for (int k = 0; k < rule.states; ++k) {
      Tensor t = Tensor::Make(kDTypeOf<T>, Shape({4, columns})).value();
      for (int64_t i = 0; i < 20; ++i) {
        t.data<T>()[i] = static_cast<T>(value(k, i));
        states[i].push_back(static_cast<double>(t.data<T>()[i]));
      }
      variables.push_back(Make(t));
      inputs.push_back(HandleOf(variables.back()));
    }
    Tensor g = Tensor::Make(kDTypeOf<T>, Shape({rows, columns})).value();
    for (int64_t i = 0; i < g.num_elements(); ++i) g.data<T>()[i] = static_cast<T>(gradient(i));
    std::vector<double> hyper;
    for (size_t i = 0; i <= rule.hyper.size(); ++i) {
      if (static_cast<int>(i) == rule.gradient_at) {
        inputs.push_back(g);
        if (sparse) inputs.push_back(Tensor::Vector<int32_t>(indices));
      }
      if (i == rule.hyper.size()) break;
      if (std::string(rule.name) == "AdagradDA" && i == 3) {
        inputs.push_back(Tensor::Scalar<int64_t>(static_cast<int64_t>(rule.hyper[i])));
        hyper.push_back(rule.hyper[i]);
      } else {
        inputs.push_back(Tensor::Scalar<T>(static_cast<T>(rule.hyper[i])));
        hyper.push_back(static_cast<double>(static_cast<T>(rule.hyper[i])));
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        rule.step(states[(sparse ? indices[r] : r) * columns + c], static_cast<double>(g.data<T>()[r * columns + c]),
                  hyper);
      }
    }
    auto out = tester_.RunOp(op, inputs, rule.attrs);
    ASSERT_TRUE(out.ok()) << out.status();
    for (int k = 0; k < rule.states; ++k) {
      const Tensor got = variables[k]->Read().value();
      for (int64_t i = 0; i < 20; ++i) {
        ASSERT_NEAR(static_cast<double>(got.data<T>()[i]), states[i][k], tolerance * (1 + std::abs(states[i][k])))
            << "state " << k << " element " << i;
      }
    }
  }

  static void DefineOps(OpRegistry& ops) {
    DefineNnOps(ops);
    DefineRuntimeOps(ops);
  }

  KernelTester tester_{DefineOps, AddNnKernelsCpu, 2};
};

TEST_F(TrainingTest, DenseUpdatesFollowTheirRules) {
  for (const Rule& rule : Rules()) {
    Check<float>(rule, false, 2e-6);
    Check<double>(rule, false, 1e-13);
    Check<half>(rule, false, 4e-3);
    Check<bfloat16>(rule, false, 3e-2);
  }
}

TEST_F(TrainingTest, SparseUpdatesTakeRepeatedRowsInOrder) {
  for (const Rule& rule : Rules()) {
    if (!rule.sparse) continue;
    Check<float>(rule, true, 2e-6);
    Check<double>(rule, true, 1e-13);
  }
}

// `_FusedUpdates` of variables of several sizes beside the op on each: the same bits.
TEST_F(TrainingTest, UpdatesTogetherAreThoseOfEach) {
  const std::vector<int64_t> sizes = {5, 1, 0, 40000, 17, 16};
  for (const Rule& rule : Rules()) {
    SCOPED_TRACE(rule.name);
    std::vector<Tensor> hyper;
    for (size_t i = 0; i < rule.hyper.size(); ++i) {
      const bool is_step = std::string(rule.name) == "AdagradDA" && i == 3;
      hyper.push_back(is_step ? Tensor::Scalar<int64_t>(static_cast<int64_t>(rule.hyper[i]))
                              : Tensor::Scalar<float>(static_cast<float>(rule.hyper[i])));
    }
    std::vector<Tensor> inputs, wanted;
    std::vector<RefPtr<Variable>> updated;
    for (size_t u = 0; u < sizes.size(); ++u) {
      std::vector<RefPtr<Variable>> alone;
      std::vector<Tensor> one;
      for (int k = 0; k <= rule.states; ++k) {
        Tensor t = Tensor::Make(DType::kFloat, Shape({sizes[u]})).value();
        for (int64_t i = 0; i < sizes[u]; ++i) {
          t.data<float>()[i] = static_cast<float>(k == 0 || k == rule.states ? std::sin(i + u) : 0.3 + 0.1 * k);
        }
        if (k == rule.states) {
          inputs.push_back(t);
          one.insert(one.end(), hyper.begin(), hyper.end());
          one.insert(one.begin() + rule.states + rule.gradient_at, t);
          continue;
        }
        alone.push_back(Make(t.Clone().value()));
        updated.push_back(Make(t));
        one.push_back(HandleOf(alone.back()));
        inputs.push_back(HandleOf(updated.back()));
      }
      auto out = tester_.RunOp(std::string("ResourceApply") + rule.name, one, rule.attrs);
      ASSERT_TRUE(out.ok()) << out.status();
      for (const auto& v : alone) wanted.push_back(v->Read().value());
    }
    inputs.insert(inputs.end(), hyper.begin(), hyper.end());
    AttrMap attrs = rule.attrs;
    attrs.Set("op", std::string("ResourceApply") + rule.name);
    attrs.Set("T", DType::kFloat);
    attrs.Set("count", static_cast<int64_t>(sizes.size()));
    attrs.Set("states", std::vector<std::string>(rule.states, "state"));
    attrs.Set("sources", std::vector<std::string>(sizes.size(), "node"));
    auto out = tester_.RunOp("_FusedUpdates", inputs, attrs);
    ASSERT_TRUE(out.ok()) << out.status();
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_TRUE(IdenticalTensors(updated[i]->Read().value(), wanted[i])) << "state " << i;
    }
  }
}

TEST_F(TrainingTest, UpdatesTogetherOfOneVariableFollowEachOther) {
  auto v = Make(Tensor::Vector<float>({1, 2}));
  AttrMap attrs;
  attrs.Set("op", std::string("ResourceApplyGradientDescent"));
  attrs.Set("T", DType::kFloat);
  attrs.Set("count", int64_t{2});
  attrs.Set("states", std::vector<std::string>{"var"});
  attrs.Set("sources", std::vector<std::string>{"a", "b"});
  const Tensor g = Tensor::Vector<float>({1, 1});
  auto out = tester_.RunOp("_FusedUpdates", {HandleOf(v), g, HandleOf(v), g, Tensor::Scalar(0.5f)}, attrs);
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(v->Read()->ToString(), "float [2] 0 1");
}

TEST_F(TrainingTest, MistakesInOneOfSeveralAreFoundBeforeAnythingIsWritten) {
  auto v = Make(Tensor::Vector<float>({1, 2}));
  auto w = Make(Tensor::Vector<float>({1, 2, 3}));
  auto empty = MakeRef<Variable>("layer/w", DType::kFloat, PartialShape({2}));
  const Tensor g = Tensor::Vector<float>({1, 1}), rate = Tensor::Scalar(0.5f);
  auto message = [&](std::vector<Tensor> inputs, int64_t count = 2, const char* op = "ResourceApplyGradientDescent") {
    AttrMap attrs;
    attrs.Set("op", std::string(op));
    attrs.Set("T", DType::kFloat);
    attrs.Set("count", count);
    attrs.Set("states", std::vector<std::string>{"var"});
    attrs.Set("sources", std::vector<std::string>{"update a", "update b"});
    return std::string(tester_.RunOp("_FusedUpdates", std::move(inputs), attrs).status().message());
  };
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(w), g, rate}),
              HasSubstr("update b: the gradient is [2], wanted the shape of var, [3]"));
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(empty), g, rate}), HasSubstr("update b: "));
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(empty), g, rate}), HasSubstr("layer/w"));
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(v), g, Tensor::Vector<float>({1, 1})}),
              HasSubstr("alpha is [2], wanted a scalar"));
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(w), rate}), HasSubstr("found 4 inputs"));
  EXPECT_THAT(message({HandleOf(v), g, g, g, rate}), HasSubstr("input 2 is float, wanted a variable of float"));
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(w), g, rate}, 3), HasSubstr("count is 3 with 2 sources"));
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(w), g, rate}, 2, "MatMul"), HasSubstr("'MatMul' is no update"));
  EXPECT_THAT(message({HandleOf(v), g, HandleOf(w), g, rate}, 2, "_FusedUpdates"), HasSubstr("is no update"));
  EXPECT_EQ(v->Read()->ToString(), "float [2] 1 2");
}

TEST_F(TrainingTest, ReadersKeepWhatTheyRead) {
  auto v = Make(Tensor::Vector<float>({1, 2}));
  const Tensor before = v->Read().value();
  auto out =
      tester_.RunOp("ResourceApplyGradientDescent", {HandleOf(v), Tensor::Scalar(1.f), Tensor::Vector<float>({1, 1})});
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_EQ(before.ToString(), "float [2] 1 2");
  EXPECT_EQ(v->Read()->ToString(), "float [2] 0 1");
}

TEST_F(TrainingTest, MistakesAreFoundBeforeAnythingIsWritten) {
  auto v = Make(Tensor::FromValues<float>(Shape({2, 2}), {1, 2, 3, 4}));
  auto accum = Make(Tensor::FromValues<float>(Shape({2, 2}), {1, 1, 1, 1}));
  const Tensor lr = Tensor::Scalar(1.f), g = Tensor::FromValues<float>(Shape({2, 2}), {1, 1, 1, 1});
  auto message = [&](const std::string& op, std::vector<Tensor> inputs) {
    return std::string(tester_.RunOp(op, std::move(inputs)).status().message());
  };
  EXPECT_THAT(
      message("ResourceSparseApplyAdagrad", {HandleOf(v), HandleOf(accum), lr, g, Tensor::Vector<int64_t>({0, 2})}),
      HasSubstr("indices[1] is 2, wanted a row of var in [0, 2)"));
  EXPECT_THAT(message("ResourceApplyAdagrad", {HandleOf(v), HandleOf(accum), lr, Tensor::Vector<float>({1, 1})}),
              HasSubstr("the gradient is [2], wanted the shape of var, [2,2]"));
  EXPECT_THAT(message("ResourceApplyAdagrad", {HandleOf(v), HandleOf(v), lr, g}), HasSubstr("the same variable"));
  EXPECT_THAT(message("ResourceApplyAdagrad", {HandleOf(v), lr, lr, g}), HasSubstr("ResourceApplyAdagrad"));
  auto empty = MakeRef<Variable>("layer/w", DType::kFloat, PartialShape({2, 2}));
  EXPECT_THAT(message("ResourceApplyAdagrad", {HandleOf(empty), HandleOf(accum), lr, g}), HasSubstr("layer/w"));
  EXPECT_EQ(v->Read()->ToString(), "float [2,2] 1 2 3 4");
  EXPECT_EQ(accum->Read()->ToString(), "float [2,2] 1 1 1 1");
}

}  // namespace
}  // namespace sluice
