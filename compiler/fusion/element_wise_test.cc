// The pass, as graphs before and after.
#include "compiler/fusion/element_wise.h"

#include "compiler/fusion/group_text.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

// Of the nodes that are no inputs.
std::string After(absl::string_view text, PassContext context = {}) {
  context.preserve.insert("y");
  const ElementWiseFusion pass([](const NodeInfo& n) { return n.input_types.size() <= 2 && n.op->name != "Cast"; });
  return GroupsAfter(pass, text, context, [](const Node& n) { return !n.Is(kSource) && !n.Is(kConstant); });
}

constexpr char kInputs[] =
    "x = Placeholder(dtype=float, shape=[2,3])\n"
    "u = Placeholder(dtype=float, shape=[2,3])\n"
    "r = Placeholder(dtype=float, shape=[3])\n"
    "c = Const(value=float[]{2})\n"
    "m = Placeholder(dtype=float, shape=[?,3])\n";

struct Case {
  const char* name;
  const char* before;
  const char* after;
};

class FusionTest : public ::testing::TestWithParam<Case> {};

TEST_P(FusionTest, Rewrites) { EXPECT_EQ(After(absl::StrCat(kInputs, GetParam().before)), GetParam().after); }

INSTANTIATE_TEST_SUITE_P(
    Groups, FusionTest,
    ::testing::Values(Case{"Chain", "a = Exp(x); b = Mul(a, c); z = Tanh(b); y = Identity(z)",
                           "z/_fused = _Fused(x, c) Exp Mul Tanh 0 -1 2 1 3 -1\ny = Identity(z/_fused)\n"},
                      Case{"Diamond", "a = Exp(x); b = Mul(a, u); d = Sub(a, u); z = AddV2(b, d); y = Identity(z)",
                           "z/_fused = _Fused(x, u) Exp Mul Sub AddV2 0 -1 2 1 2 1 3 4\ny = Identity(z/_fused)\n"},
                      Case{"ReadTwiceByOne", "a = Exp(x); z = Mul(a, a); y = Identity(z)",
                           "z/_fused = _Fused(x) Exp Mul 0 -1 1 1\ny = Identity(z/_fused)\n"},
                      Case{"AloneIsLeft", "z = Exp(x); y = Identity(z)", "z = Exp(x)\ny = Identity(z)\n"},
                      Case{"WhatOthersReadStays",
                           "a = Exp(x); b = Tanh(a); z = Neg(b); s = Rank(a); y = Pack(z, z); t = Cast(s, DstT=float)",
                           "a = Exp(x)\ns = Rank(a)\nt = Cast(s)\nz/_fused = _Fused(a) Tanh Neg 0 -1 1 -1\n"
                           "y = Pack(z/_fused, z/_fused)\n"},
                      Case{"FetchedStays", "y = Exp(x); b = Tanh(y); z = Neg(b); o = Identity(z)",
                           "y = Exp(x)\nz/_fused = _Fused(y) Tanh Neg 0 -1 1 -1\no = Identity(z/_fused)\n"},
                      Case{"SmallerShapesStay", "a = Exp(r); b = Mul(x, a); z = Tanh(b); y = Identity(z)",
                           "a = Exp(r)\nz/_fused = _Fused(x, a) Mul Tanh 0 1 2 -1\ny = Identity(z/_fused)\n"},
                      Case{"UnknownSizes", "a = Exp(m); b = Mul(a, c); z = Tanh(b); y = Identity(z)",
                           "z/_fused = _Fused(m, c) Exp Mul Tanh 0 -1 2 1 3 -1\ny = Identity(z/_fused)\n"},
                      Case{"RowBias", "b = BiasAdd(x, r); z = Relu(b); y = Identity(z)",
                           "z/_fused = _Fused(x, r) AddV2 Relu 0 1 2 -1\ny = Identity(z/_fused)\n"},
                      Case{"ControlEdgesStay", "a = Exp(x); b = Neg(a, ^u); z = Tanh(b); y = Identity(z)",
                           "a = Exp(x)\nb = Neg(a)\nz = Tanh(b)\ny = Identity(z)\n"},
                      Case{"OtherTypes", "a = Less(x, u); b = Equal(a, a); z = LogicalNot(b); y = Identity(z)",
                           "z/_fused = _Fused(x, u) Less Equal LogicalNot 0 1 2 2 3 -1\ny = Identity(z/_fused)\n"}),
    [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

TEST(FusionTest, ALongChainIsCutToWhatTheKernelHolds) {
  std::string text = kInputs;
  absl::StrAppend(&text, "a0 = Exp(x)\n");
  for (int i = 1; i < 200; ++i) absl::StrAppend(&text, "a", i, " = Neg(a", i - 1, ")\n");
  absl::StrAppend(&text, "y = Identity(a199)");
  const std::string after = After(text);
  EXPECT_EQ(std::count(after.begin(), after.end(), '\n'), 5) << after;  // 64 + 64 + 64 + 8 of 200, and y
}

TEST(FusionTest, ManyInputsAreSplit) {
  std::string text = kInputs;
  for (int i = 0; i < 20; ++i) absl::StrAppend(&text, "p", i, " = Placeholder(dtype=float, shape=[2,3])\n");
  absl::StrAppend(&text, "a0 = AddV2(x, p0)\n");
  for (int i = 1; i < 20; ++i) absl::StrAppend(&text, "a", i, " = AddV2(a", i - 1, ", p", i, ")\n");
  absl::StrAppend(&text, "y = Identity(a19)");
  const std::string after = After(text);
  EXPECT_EQ(after.find(" = AddV2("), std::string::npos) << after;
  EXPECT_EQ(std::count(after.begin(), after.end(), '\n'), 3) << after;  // 16 and 6 inputs, and y
}

}  // namespace
}  // namespace sluice
