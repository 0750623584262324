// The pass, as graphs before and after.
#include "compiler/fusion/epilogues.h"

#include "compiler/fusion/group_text.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

std::string After(absl::string_view text) {
  PassContext context;
  context.preserve = {"y", "fetched"};
  const EpilogueFusion pass([](const NodeInfo& n) { return n.input_types.size() <= 2 && n.op->name != "Cast"; });
  return GroupsAfter(pass, text, context, [](const Node& n) { return !n.Is(kSource) && n.name() != "one"; });
}

constexpr char kInputs[] =
    "x = Placeholder(dtype=float, shape=[?,4])\n"
    "x8 = Placeholder(dtype=float, shape=[8,4])\n"
    "w = Placeholder(dtype=float, shape=[4,3])\n"
    "b = Placeholder(dtype=float, shape=[3])\n"
    "any = Placeholder(dtype=float, shape=[?,3])\n"
    "all = Placeholder(dtype=float, shape=[8,3])\n"
    "b1 = Placeholder(dtype=float, shape=[1,4])\n"
    "i = Placeholder(dtype=int32, shape=[?,4])\n"
    "iw = Placeholder(dtype=int32, shape=[4,3])\n"
    "one = Const(value=float[]{0.5})\n";

struct Case {
  const char* name;
  const char* before;
  const char* after;
};

class EpilogueFusionTest : public ::testing::TestWithParam<Case> {};

TEST_P(EpilogueFusionTest, Rewrites) { EXPECT_EQ(After(absl::StrCat(kInputs, GetParam().before)), GetParam().after); }

INSTANTIATE_TEST_SUITE_P(
    Groups, EpilogueFusionTest,
    ::testing::Values(Case{"BiasAndActivation", "p = MatMul(x, w); s = BiasAdd(p, b); z = Relu(s); y = Identity(z)",
                           "z/_fused = _FusedMatMul(x, w, b) AddV2 Relu 0 2 3 -1\ny = Identity(z/_fused)\n"},
                      Case{"ScalarsAndEitherSide", "p = MatMul(x, w); s = Sub(one, p); z = Mul(s, s); y = Identity(z)",
                           "z/_fused = _FusedMatMul(x, w, one) Sub Mul 2 0 3 3\ny = Identity(z/_fused)\n"},
                      Case{"ATensorOfTheSameShape", "p = MatMul(x8, w); z = Mul(p, all); y = Identity(z)",
                           "z/_fused = _FusedMatMul(x8, w, all) Mul 0 2\ny = Identity(z/_fused)\n"},
                      Case{"ATensorOfAnUnknownShapeStays", "p = MatMul(x, w); z = Mul(p, any); y = Identity(z)",
                           "p = MatMul(x, w)\nz = Mul(p, any)\ny = Identity(z)\n"},
                      Case{"ProductsThatOthersSpreadStay", "p = MatMul(b1, w); z = Add(p, all); y = Identity(z)",
                           "p = MatMul(b1, w)\nz = Add(p, all)\ny = Identity(z)\n"},
                      Case{"WhatOthersReadStays", "p = MatMul(x, w); z = Relu(p); y = Add(z, p)",
                           "p = MatMul(x, w)\nz = Relu(p)\ny = Add(z, p)\n"},
                      Case{"FetchedStays", "fetched = MatMul(x, w); z = Relu(fetched); y = Identity(z)",
                           "fetched = MatMul(x, w)\nz = Relu(fetched)\ny = Identity(z)\n"},
                      Case{"ControlEdgesStay", "p = MatMul(x, w, ^b); z = Relu(p); y = Identity(z)",
                           "p = MatMul(x, w)\nz = Relu(p)\ny = Identity(z)\n"},
                      Case{"IntegersStay", "p = MatMul(i, iw); z = Neg(p); y = Identity(z)",
                           "p = MatMul(i, iw)\nz = Neg(p)\ny = Identity(z)\n"}),
    [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace sluice
