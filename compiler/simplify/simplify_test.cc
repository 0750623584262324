// The passes, as graphs before and after.
#include <algorithm>

#include "absl/strings/match.h"
#include "compiler/simplify/arithmetic.h"
#include "compiler/simplify/common_subexpression.h"
#include "compiler/simplify/constant_folding.h"
#include "compiler/simplify/dependency.h"
#include "compiler/simplify/prune.h"
#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ops/all/test_ops.h"

namespace sluice {
namespace {

// `text` after the pass, with "y" (and what is named in keep) preserved, pruned to what they need.
std::string After(const Pass& pass, absl::string_view text, PassContext context = {}) {
  Graph graph(&TestOps());
  absl::Status parsed = ParseGraphText(text, &graph);
  if (!parsed.ok()) return std::string(parsed.message());
  context.preserve.insert("y");
  absl::StatusOr<bool> changed = pass.Run(&graph, context);
  if (!changed.ok()) return std::string(changed.status().message());
  absl::Status verified = VerifyGraph(graph, /*infer=*/true);
  if (!verified.ok()) return std::string(verified.message());
  Prune prune;
  if (!prune.Run(&graph, context).ok()) return "prune failed";
  return GraphToText(graph);
}

constexpr char kX[] = "x = Placeholder(dtype=float, shape=[2,3])\n";

// What y reads, when `body` makes z from x and y is Identity-like on z.
std::string Simplified(absl::string_view body) {
  std::string after = After(ArithmeticSimplification(), absl::StrCat(kX, body, "\ny = Exp(z)"));
  size_t at = after.rfind("y = Exp(");
  return at == std::string::npos ? after : after.substr(0, at) + after.substr(at);
}

struct RuleCase {
  const char* body;
  const char* after;  // without the line of x
};

class ArithmeticTest : public ::testing::TestWithParam<RuleCase> {};

TEST_P(ArithmeticTest, RewritesExactly) { EXPECT_EQ(Simplified(GetParam().body), absl::StrCat(kX, GetParam().after)); }

INSTANTIATE_TEST_SUITE_P(
    Rules, ArithmeticTest,
    ::testing::Values(RuleCase{"z = Identity(x)", "y = Exp(x)\n"},
                      RuleCase{"one = Const(value=float[]{1}); z = Mul(x, one)", "y = Exp(x)\n"},
                      RuleCase{"one = Const(value=float[]{1}); z = RealDiv(x, one)", "y = Exp(x)\n"},
                      RuleCase{"zero = Const(value=float[]{0}); z = Sub(x, zero)", "y = Exp(x)\n"},
                      RuleCase{"a = Neg(x); z = Neg(a)", "y = Exp(x)\n"},
                      RuleCase{"a = Neg(x); z = AddV2(x, a)", "z/Sub = Sub(x, x)\ny = Exp(z/Sub)\n"},
                      RuleCase{"z = Mul(x, x)", "z/Square = Square(x)\ny = Exp(z/Square)\n"},
                      RuleCase{"a = Relu(x); z = Relu(a)", "a = Relu(x)\ny = Exp(a)\n"},
                      RuleCase{"s = Const(value=int32[2]{2,3}); z = Reshape(x, s)", "y = Exp(x)\n"},
                      RuleCase{"p = Const(value=int32[2]{0,1}); z = Transpose(x, p)", "y = Exp(x)\n"},
                      RuleCase{"p = Const(value=int32[2]{1,0}); a = Transpose(x, p); z = Transpose(a, p)",
                               "y = Exp(x)\n"},
                      RuleCase{"p = Const(value=int32[2]{1,0}); a = Transpose(x, p); z = MatMul(a, x)",
                               "z/MatMul = MatMul(x, x, transpose_a=true)\ny = Exp(z/MatMul)\n"},
                      RuleCase{"z = AddN(x)", "y = Exp(x)\n"},
                      RuleCase{"m = Const(value=int32[2]{1,1}); z = Tile(x, m)", "y = Exp(x)\n"}));

TEST(ArithmeticTest, LeavesWhatWouldChangeBits) {
  // -0 + 0 is +0: adding zero to floats is no identity.
  EXPECT_THAT(Simplified("zero = Const(value=float[]{0}); z = AddV2(x, zero)"), ::testing::HasSubstr("AddV2(x, zero)"));
  // Broadcasting makes the result larger than x.
  EXPECT_THAT(Simplified("one = Const(value=float[4,1,1]{1}); z = Mul(x, one)"), ::testing::HasSubstr("Mul(x, one)"));
  // x * 0 is NaN for infinite x.
  EXPECT_THAT(Simplified("zero = Const(value=float[2,3]{0}); z = Mul(x, zero)"), ::testing::HasSubstr("Mul(x, zero)"));
}

TEST(ArithmeticTest, KeepsTheOrderThatControlEdgesAsk) {
  EXPECT_THAT(Simplified("go = NoOp(); z = Identity(x, ^go)"), ::testing::HasSubstr("z = Identity(x, ^go)"));
}

TEST(ArithmeticTest, KeepsTheOrderThatComesWithAConstant) {
  EXPECT_THAT(Simplified("go = NoOp(); zero = Const(^go, value=float[]{0}); z = Sub(x, zero)"),
              ::testing::HasSubstr("z = Sub(x, zero)"));
  EXPECT_THAT(Simplified("go = NoOp(); zero = Const(value=int32[]{0}); i = Const(^go, value=int32[]{3}); m = Neg(i); "
                         "k = Mul(m, zero); z = Cast(k, DstT=float)"),
              ::testing::HasSubstr("k = Mul(m, zero)"));
}

TEST(CommonSubexpressionTest, EqualNodesBecomeOne) {
  EXPECT_EQ(After(CommonSubexpression(), absl::StrCat(kX, "a = Exp(x); b = Exp(x); y = Mul(a, b)")),
            absl::StrCat(kX, "a = Exp(x)\ny = Mul(a, a)\n"));
  EXPECT_EQ(
      After(CommonSubexpression(), absl::StrCat(kX, "e = Exp(x); a = AddV2(x, e); b = AddV2(e, x); y = Mul(a, b)")),
      absl::StrCat(kX, "e = Exp(x)\na = AddV2(x, e)\ny = Mul(a, a)\n"))
      << "AddV2 is commutative";
}

TEST(CommonSubexpressionTest, StateConstantsAndAttributesAreToldApart) {
  std::string two =
      absl::StrCat(kX, "a = Const(value=float[]{1})\nb = Const(value=float[]{2})\nc = AddV2(a, b)\ny = Mul(x, c)\n");
  EXPECT_EQ(After(CommonSubexpression(), two), two);
  std::string random =
      "s = Const(value=int32[1]{2})\na = RandomUniform(s, dtype=float)\nb = RandomUniform(s, dtype=float)\ny = Mul(a, "
      "b)\n";
  EXPECT_EQ(After(CommonSubexpression(), random), random);
}

TEST(CommonSubexpressionTest, WhatTwoVariablesKeepStaysTwo) {
  auto assigns = [](int columns) {
    const std::string variable = absl::StrCat(" = VariableV2(dtype=float, shape=[1024,", columns, "])\n");
    return After(CommonSubexpression(),
                 absl::StrCat("d = Const(value=int32[2]{1024,", columns, "})\nz = Const(value=float[]{0})\nv", variable,
                              "w", variable, "a = Fill(d, z)\nb = Fill(d, z)\ni = Assign(v, a)\nj = Assign(w, b)\n",
                              "y = NoOp(^i, ^j)\n"));
  };
  EXPECT_THAT(assigns(256), ::testing::HasSubstr("Assign(w, b"));
  EXPECT_THAT(assigns(128), ::testing::HasSubstr("Assign(w, a"));
}

TEST(ConstantFoldingTest, ShapesThatInferenceKnowsBecomeConstants) {
  EXPECT_EQ(After(ConstantFolding(), absl::StrCat(kX, "s = Shape(x); y = Reshape(x, s)")),
            absl::StrCat(kX, "s/folded_0 = Const(value=int32[2]{2,3})\ny = Reshape(x, s/folded_0)\n"));
}

TEST(ConstantFoldingTest, NodesOnConstantsAreEvaluated) {
  PassContext context;
  context.evaluate = [](const NodeInfo& node,
                        const std::vector<Tensor>& inputs) -> absl::StatusOr<std::vector<Tensor>> {
    if (node.op->name != "Neg") return Unimplemented("only Neg");
    return std::vector<Tensor>{Tensor::Scalar(-inputs[0].scalar<float>())};
  };
  EXPECT_EQ(
      After(ConstantFolding(),
            absl::StrCat(kX, "c = Const(value=float[]{3}); n = Neg(c); e = Exp(n); m = Mul(x, e); y = Neg(m)"),
            context),
      absl::StrCat(kX, "n/folded_0 = Const(value=float[]{-3})\ne = Exp(n/folded_0)\nm = Mul(x, e)\ny = Neg(m)\n"));
}

TEST(ConstantFoldingTest, LeavesWhatGrowsLarge) {
  PassContext context;
  context.evaluate = [](const NodeInfo& node,
                        const std::vector<Tensor>& inputs) -> absl::StatusOr<std::vector<Tensor>> {
    ASSIGN_OR_RETURN(Tensor t, Tensor::Make(DType::kFloat, Shape({inputs[0].IntAt(0)})));
    std::fill_n(t.data<float>(), t.num_elements(), 0.0f);
    return std::vector<Tensor>{t};
  };
  auto folded = [&](int elements) {
    const std::string text = absl::StrCat("d = Const(value=int32[1]{", elements, "}); v = Const(value=float[]{0}); ",
                                          "f = Fill(d, v); y = Sum(f, k)");
    return !absl::StrContains(After(ConstantFolding(), absl::StrCat("k = Const(value=int32[1]{0}); ", text), context),
                              "f = Fill");
  };
  EXPECT_TRUE(folded(1000));
  EXPECT_TRUE(folded(262144));
  EXPECT_FALSE(folded(262145));
}

TEST(ConstantFoldingTest, KeepsTheOrderThatComesWithAnInput) {
  EXPECT_THAT(After(ConstantFolding(), absl::StrCat(kX,
                                                    "go = NoOp(); i = Identity(x, ^go); n = Neg(i); s = Shape(n); "
                                                    "y = Neg(s)")),
              ::testing::HasSubstr("s/folded_0 = Const(value=int32[2]{2,3}, ^n)"));
}

TEST(PruneTest, OnlyWhatIsNeededStays) {
  EXPECT_EQ(After(Prune(), absl::StrCat(kX, "a = Exp(x); go = NoOp(); y = Neg(x, ^go)")),
            absl::StrCat(kX, "go = NoOp()\ny = Neg(x, ^go)\n"));
}

TEST(DependencyTest, WhatOtherEdgesSayGoes) {
  const std::pair<const char*, const char*> cases[] = {
      // A reader of a, directly and through b.
      {"a = Exp(x); y = Neg(a, ^a)", "a = Exp(x)\ny = Neg(a)\n"},
      {"a = Exp(x); b = Neg(a); y = Exp(b, ^a)", "a = Exp(x)\nb = Neg(a)\ny = Exp(b)\n"},
      // Through control edges, also of what is waited for only.
      {"a = NoOp(); b = NoOp(^a); y = Exp(x, ^a, ^b)", "a = NoOp()\nb = NoOp(^a)\ny = Exp(x, ^b)\n"},
      {"a = NoOp(); b = Exp(x, ^a); c = NoOp(^b); y = Neg(x, ^a, ^b, ^c)",
       "a = NoOp()\nb = Exp(x, ^a)\nc = NoOp(^b)\ny = Neg(x, ^c)\n"},
      // What depends on nothing is there from the start.
      {"k = Const(value=float[]{1}); y = Exp(x, ^k)", "y = Exp(x)\n"},
      {"a = NoOp(); k = Const(value=float[]{1}, ^a); y = Mul(x, k, ^a)",
       "a = NoOp()\nk = Const(value=float[]{1}, ^a)\ny = Mul(x, k)\n"},
      // These say something.
      {"a = NoOp(); b = NoOp(); y = Exp(x, ^a, ^b)", "a = NoOp()\nb = NoOp()\ny = Exp(x, ^a, ^b)\n"},
      {"a = NoOp(); k = Const(value=float[]{1}, ^a); y = Exp(x, ^k)",
       "a = NoOp()\nk = Const(value=float[]{1}, ^a)\ny = Exp(x, ^k)\n"},
  };
  for (auto [before, after] : cases) {
    EXPECT_EQ(After(DependencyReduction(), absl::StrCat(kX, before)), absl::StrCat(kX, after)) << before;
  }
}

TEST(DependencyTest, ManyNodesThatWaitForManyTakeLittleTime) {
  // 2,000 nodes in layers of 40, each of which waits for all of the layer before: what it says of layers further away
  // goes.
  std::string text = kX;
  for (int i = 0; i < 2000; ++i) {
    absl::StrAppend(&text, "n", i, " = NoOp(");
    const char* comma = "";
    for (int layer = 1; layer <= 2; ++layer) {
      for (int k = 0; k < 40 && i / 40 >= layer; ++k, comma = ", ") {
        absl::StrAppend(&text, comma, "^n", (i / 40 - layer) * 40 + k);
      }
    }
    text += ")\n";
  }
  text += "y = Exp(x, ^n1999)\n";
  Graph graph(&TestOps());
  ASSERT_TRUE(ParseGraphText(text, &graph).ok());
  ASSERT_TRUE(*DependencyReduction().Run(&graph, {}));
  for (int i = 40; i < 2000; ++i) {
    ASSERT_EQ(graph.Find(absl::StrCat("n", i))->control_inputs().size(), 40) << i;
  }
}

}  // namespace
}  // namespace sluice
