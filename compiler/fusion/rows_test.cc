// The pass, as graphs before and after.
#include "compiler/fusion/rows.h"

#include "compiler/fusion/group_text.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

// Of the nodes that are no inputs.
std::string After(absl::string_view text) {
  PassContext context;
  context.preserve = {"y", "fetched"};
  const RowFusion pass(
      [](const NodeInfo& n) { return n.input_types.size() <= 2 && n.op->name != "Cast"; },
      [](const NodeInfo& n) { return n.op->name == "Sum" || n.op->name == "Mean" || n.op->name == "Max"; });
  return GroupsAfter(pass, text, context,
                     [](const Node& n) { return !n.Is(kSource) && n.name() != "last" && n.name() != "e"; });
}

constexpr char kInputs[] =
    "x = Placeholder(dtype=float, shape=[?,8])\n"
    "g = Placeholder(dtype=float, shape=[8])\n"
    "wide = Placeholder(dtype=float, shape=[?,9000])\n"
    "unknown = Placeholder(dtype=float)\n"
    "e = Const(value=float[]{0.5})\n"
    "last = Const(value=int32[]{1})\n";

struct Case {
  const char* name;
  const char* before;
  const char* after;
};

class RowFusionTest : public ::testing::TestWithParam<Case> {};

TEST_P(RowFusionTest, Rewrites) { EXPECT_EQ(After(absl::StrCat(kInputs, GetParam().before)), GetParam().after); }

INSTANTIATE_TEST_SUITE_P(
    Groups, RowFusionTest,
    ::testing::Values(
        Case{"LayerNorm",
             "m = Mean(x, last, keep_dims=true); c = Sub(x, m); s = Square(c); v = Mean(s, last, keep_dims=true); "
             "a = AddV2(v, e); r = Rsqrt(a); n = Mul(c, r); z = Mul(n, g); y = Identity(z)",
             "z/_fused = _FusedRows(x, e, g) Mean Sub Square Mean AddV2 Rsqrt Mul Mul "
             "0 -1 0 3 4 -1 5 -1 6 1 7 -1 4 8 9 2 rows of 8 [?,8]\ny = Identity(z/_fused)\n"},
        Case{"Softmax",
             "m = Max(x, last, keep_dims=true); c = Sub(x, m); p = Exp(c); t = Sum(p, last, keep_dims=true); "
             "z = RealDiv(p, t); y = Identity(z)",
             "z/_fused = _FusedRows(x) Max Sub Exp Sum RealDiv 0 -1 0 1 2 -1 3 -1 3 4 rows of 8 [?,8]\n"
             "y = Identity(z/_fused)\n"},
        Case{"AReductionCanBeTheEnd", "s = Square(x); z = Sum(s, last); y = Identity(z)",
             "z/_fused = _FusedRows(x) Square Sum 0 -1 1 -1 rows of 8 [?]\ny = Identity(z/_fused)\n"},
        Case{"WhatFollowsAReductionCanBeTheEnd",
             "s = Square(x); v = Mean(s, last, keep_dims=true); a = AddV2(v, e); z = Rsqrt(a); y = Identity(z)",
             "z/_fused = _FusedRows(x, e) Square Mean AddV2 Rsqrt 0 -1 2 -1 3 1 4 -1 rows of 8 [?,1]\n"
             "y = Identity(z/_fused)\n"},
        Case{"WhatOthersReadStays",
             "h = Exp(x); m = Mean(h, last, keep_dims=true); z = Sub(h, m); y = Identity(z); fetched = Identity(h)",
             "h = Exp(x)\nfetched = Identity(h)\nz/_fused = _FusedRows(h) Mean Sub 0 -1 0 1 rows of 8 [?,8]\n"
             "y = Identity(z/_fused)\n"},
        Case{"FetchedStays", "fetched = Mean(x, last, keep_dims=true); z = Sub(x, fetched); y = Identity(z)",
             "fetched = Mean(x, last)\nz = Sub(x, fetched)\ny = Identity(z)\n"},
        Case{"WithoutReductionsNothing", "a = Exp(x); z = Neg(a); y = Identity(z)",
             "a = Exp(x)\nz = Neg(a)\ny = Identity(z)\n"},
        Case{"AReductionAloneStays", "z = Mean(x, last, keep_dims=true); y = Identity(z)",
             "z = Mean(x, last)\ny = Identity(z)\n"},
        Case{"OtherAxesStay",
             "axis = Const(value=int32[1]{0}); s = Square(x); z = Mean(s, axis, keep_dims=true); y = Identity(z)",
             "axis = Const()\ns = Square(x)\nz = Mean(s, axis)\ny = Identity(z)\n"},
        Case{"LongRowsStay", "m = Mean(wide, last, keep_dims=true); z = Sub(wide, m); y = Identity(z)",
             "m = Mean(wide, last)\nz = Sub(wide, m)\ny = Identity(z)\n"},
        Case{"UnknownRanksStay", "m = Mean(unknown, last, keep_dims=true); z = Sub(unknown, m); y = Identity(z)",
             "m = Mean(unknown, last)\nz = Sub(unknown, m)\ny = Identity(z)\n"},
        Case{"ControlEdgesStay", "m = Mean(x, last, keep_dims=true); z = Sub(x, m, ^g); y = Identity(z)",
             "m = Mean(x, last)\nz = Sub(x, m)\ny = Identity(z)\n"}),
    [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

TEST(RowFusionTest, AxesThatNobodyReadsAnyMoreGo) {
  const std::string text =
      absl::StrCat(kInputs, "axis = Const(value=int32[1]{-1}); s = Square(x); z = Sum(s, axis); y = Identity(z)");
  EXPECT_EQ(After(text), "z/_fused = _FusedRows(x) Square Sum 0 -1 1 -1 rows of 8 [?]\ny = Identity(z/_fused)\n");
}

}  // namespace
}  // namespace sluice
