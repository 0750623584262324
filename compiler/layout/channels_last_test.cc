// The pass, as graphs before and after.
#include "compiler/layout/channels_last.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/simplify/prune.h"
#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ops/all/test_ops.h"

namespace sluice {
namespace {

// The lines of what is left, without those of placeholders and constants.
std::string After(absl::string_view text) {
  Graph graph(&TestOps());
  absl::Status parsed = ParseGraphText(text, &graph);
  if (!parsed.ok()) return std::string(parsed.message());
  PassContext context;
  for (const Node* n : graph.nodes()) {
    if (absl::StartsWith(n->name(), "y") || n->Is(kSource)) context.preserve.insert(n->name());
  }
  absl::StatusOr<bool> changed = ChannelsLast().Run(&graph, context);
  if (!changed.ok()) return std::string(changed.status().message());
  absl::Status verified = VerifyGraph(graph, /*infer=*/true);
  if (!verified.ok()) return std::string(verified.message());
  if (!Prune().Run(&graph, context).ok()) return "prune failed";
  std::string out = *changed ? "" : "unchanged\n";
  absl::StatusOr<std::vector<Node*>> order = graph.TopologicalOrder();
  if (!order.ok()) return "a cycle";
  for (const Node* n : *order) {
    if (!n->Is(kSource) && !n->Is(kConstant)) absl::StrAppend(&out, NodeToText(*n), "\n");
  }
  return out;
}

constexpr char kInputs[] =
    "x = Placeholder(dtype=float, shape=[2,3,8,9])\n"
    "w = Placeholder(dtype=float, shape=[3,3,3,4])\n"
    "v = Placeholder(dtype=float, shape=[3,3,4,4])\n"
    "b = Placeholder(dtype=float, shape=[4])\n"
    "s = Placeholder(dtype=float, shape=[1,4,1,1])\n"
    "d = Placeholder(dtype=float, shape=[2,4,8,9])\n"
    "go = Placeholder(dtype=float, shape=[])\n";
#define CONV(in, filter) "Conv2D(" in ", " filter ", strides=[1,1,1,1], padding='SAME', data_format='NCHW')"

struct Case {
  const char* name;
  const char* before;
  const char* after;
};
class ChannelsLastTest : public ::testing::TestWithParam<Case> {};

TEST_P(ChannelsLastTest, Rewrites) { EXPECT_EQ(After(absl::StrCat(kInputs, GetParam().before)), GetParam().after); }

INSTANTIATE_TEST_SUITE_P(
    Graphs, ChannelsLastTest,
    ::testing::Values(
        Case{"OneTransposeAtEachBorder",
             "c = " CONV("x", "w") "; h = BiasAdd(c, b, data_format='NCHW'); r = Relu(h); e = " CONV(
                 "r", "v") "; "
                           "p = MaxPool(e, ksize=[1,1,2,3], strides=[1,1,2,3], padding='VALID', "
                           "data_format='NCHW'); y = Identity(p)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "h/channels_last = BiasAdd(c/channels_last, b)\n"
             "r/channels_last = Relu(h/channels_last)\n"
             "e/channels_last = Conv2D(r/channels_last, v, padding='SAME', strides=[1,1,1,1])\n"
             "p/channels_last = MaxPool(e/channels_last, ksize=[1,2,3,1], padding='VALID', strides=[1,2,3,1])\n"
             "p/channels_first = Transpose(p/channels_last, p/layout)\n"
             "y = Identity(p/channels_first)\n"},
        Case{"WithChannelsLastNothing",
             "n = Placeholder(dtype=float, shape=[2,8,9,3]); "
             "c = Conv2D(n, w, strides=[1,1,1,1], padding='SAME'); r = Relu(c); y = Identity(r)",
             "unchanged\n"
             "c = Conv2D(n, w, padding='SAME', strides=[1,1,1,1])\n"
             "r = Relu(c)\n"
             "y = Identity(r)\n"},
        Case{"WithoutAConvolutionNothing", "h = BiasAdd(d, b, data_format='NCHW'); r = Relu(h); y = Identity(r)",
             "unchanged\n"
             "h = BiasAdd(d, b, data_format='NCHW')\n"
             "r = Relu(h)\n"
             "y = Identity(r)\n"},
        Case{"WhatIsReadOutsideIsTurnedBackOnce",
             "c = " CONV("x", "w") "; r = Relu(c); y = Identity(r); y1 = Identity(r); e = Exp(r); y2 = Identity(e)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "r/channels_last = Relu(c/channels_last)\n"
             "e/channels_last = Exp(r/channels_last)\n"
             "r/channels_first = Transpose(r/channels_last, r/layout)\n"
             "y = Identity(r/channels_first)\n"
             "y1 = Identity(r/channels_first)\n"
             "e/channels_first = Transpose(e/channels_last, e/layout)\n"
             "y2 = Identity(e/channels_first)\n"},
        Case{"TransposesOfTheProgramGo",
             "n = Placeholder(dtype=float, shape=[2,8,9,3]); p = Const(value=int32[4]{0,3,1,2}); q = "
             "Const(value=int32[4]{0,2,3,1}); "
             "t = Transpose(n, p); c = " CONV("t", "w") "; r = Relu(c); u = Transpose(r, q); y = Identity(u)",
             "c/channels_last = Conv2D(n, w, padding='SAME', strides=[1,1,1,1])\n"
             "r/channels_last = Relu(c/channels_last)\n"
             "y = Identity(r/channels_last)\n"},
        Case{"OperandsThatBroadcast",
             "c = " CONV(
                 "x",
                 "w") "; k = Const(value=float[]{2}); m = Mul(c, k); a = AddV2(m, s); "
                      "t = Placeholder(dtype=float, shape=[4,1,1]); f = Mul(t, a); g = AddV2(f, d); y = Identity(g)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "m/channels_last = Mul(c/channels_last, k)\n"
             "s/channels_last = Reshape(s, a/layout)\n"
             "a/channels_last = AddV2(m/channels_last, s/channels_last)\n"
             "t/channels_last = Reshape(t, f/layout)\n"
             "f/channels_last = Mul(t/channels_last, a/channels_last)\n"
             "d/channels_last = Transpose(d, d/layout)\n"
             "g/channels_last = AddV2(f/channels_last, d/channels_last)\n"
             "g/channels_first = Transpose(g/channels_last, g/layout)\n"
             "y = Identity(g/channels_first)\n"},
        Case{"RowsThatDoNotBroadcastByChannelStayOutside",
             "c = " CONV("x", "w") "; t = Placeholder(dtype=float, shape=[8,9]); m = Mul(c, t); y = Identity(m)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "c/channels_first = Transpose(c/channels_last, c/layout)\n"
             "m = Mul(c/channels_first, t)\n"
             "y = Identity(m)\n"},
        Case{
            "Reductions",
            "c = " CONV(
                "x",
                "w") "; a = Const(value=int32[2]{2,3}); m = Mean(c, a); y = Identity(m); k = Const(value=int32[1]{1}); "
                     "n = Sum(c, k, keep_dims=true); o = Sub(c, n); l = Const(value=int32[]{-1}); y1 = Max(o, l)",
            "x/channels_last = Transpose(x, x/layout)\n"
            "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
            "m/channels_last = Mean(c/channels_last, m/layout)\n"
            "y = Identity(m/channels_last)\n"
            "n/channels_last = Sum(c/channels_last, n/layout, keep_dims=true)\n"
            "o/channels_last = Sub(c/channels_last, n/channels_last)\n"
            "o/channels_first = Transpose(o/channels_last, o/layout)\n"
            "y1 = Max(o/channels_first, l)\n"},
        Case{"PaddingAndConcatenation",
             "c = " CONV("x", "w") "; z = Const(value=int32[4,2]{0,0,0,0,1,2,3,4}); p = Pad(c, z); r = Relu(p); "
                                   "one = Const(value=int32[]{1}); j = ConcatV2(p, r, one); y = Identity(j)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "p/channels_last = Pad(c/channels_last, p/layout)\n"
             "r/channels_last = Relu(p/channels_last)\n"
             "j/channels_last = ConcatV2(p/channels_last, r/channels_last, j/layout)\n"
             "j/channels_first = Transpose(j/channels_last, j/layout_1)\n"
             "y = Identity(j/channels_first)\n"},
        Case{"BatchNormalisation",
             "c = " CONV("x", "w") "; f = FusedBatchNormV3(c, b, b, b, b, data_format='NCHW'); r = Relu(f); "
                                   "y = Identity(r); y1 = Identity(f:1)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "f/channels_last = FusedBatchNormV3(c/channels_last, b, b, b, b)\n"
             "y1 = Identity(f/channels_last:1)\n"
             "r/channels_last = Relu(f/channels_last)\n"
             "r/channels_first = Transpose(r/channels_last, r/layout)\n"
             "y = Identity(r/channels_first)\n"},
        Case{"Gradients",
             "c = " CONV("x",
                         "w") "; r = Relu(c); z = Const(value=int32[4]{2,3,8,9}); k = Const(value=int32[4]{3,3,3,4}); "
                              "p = MaxPool(r, ksize=[1,1,2,2], strides=[1,1,1,1], padding='SAME', data_format='NCHW'); "
                              "g = MaxPoolGrad(r, p, d, ksize=[1,1,2,2], strides=[1,1,1,1], padding='SAME', "
                              "data_format='NCHW'); h = ReluGrad(g, r); "
                              "y = BiasAddGrad(h, data_format='NCHW'); i = Conv2DBackpropInput(z, w, h, "
                              "strides=[1,1,1,1], padding='SAME', data_format='NCHW'); "
                              "f = Conv2DBackpropFilter(x, k, h, strides=[1,1,1,1], padding='SAME', "
                              "data_format='NCHW'); y1 = Identity(i); y2 = Identity(f)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "r/channels_last = Relu(c/channels_last)\n"
             "p/channels_last = MaxPool(r/channels_last, ksize=[1,2,2,1], padding='SAME', strides=[1,1,1,1])\n"
             "d/channels_last = Transpose(d, d/layout)\n"
             "g/channels_last = MaxPoolGrad(r/channels_last, p/channels_last, d/channels_last, ksize=[1,2,2,1], "
             "padding='SAME', strides=[1,1,1,1])\n"
             "h/channels_last = ReluGrad(g/channels_last, r/channels_last)\n"
             "i/channels_last = Conv2DBackpropInput(i/layout, w, h/channels_last, padding='SAME', strides=[1,1,1,1])\n"
             "f/channels_last = Conv2DBackpropFilter(x/channels_last, k, h/channels_last, padding='SAME', "
             "strides=[1,1,1,1])\n"
             "y2 = Identity(f/channels_last)\n"
             "h/channels_first = Transpose(h/channels_last, h/layout)\n"
             "y = BiasAddGrad(h/channels_first, data_format='NCHW')\n"
             "i/channels_first = Transpose(i/channels_last, i/layout_1)\n"
             "y1 = Identity(i/channels_first)\n"},
        Case{"SizesThatAreNotKnown",
             "u = Placeholder(dtype=float, shape=[?,3,?,?]); c = " CONV(
                 "u", "w") "; r = Relu(c); e = Shape(r); "
                           "g = Conv2DBackpropInput(e, v, r, strides=[1,1,1,1], padding='SAME', "
                           "data_format='NCHW'); y = Identity(g); y1 = Identity(e)",
             "u/channels_last = Transpose(u, u/layout)\n"
             "c/channels_last = Conv2D(u/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "r/channels_last = Relu(c/channels_last)\n"
             "e/channels_last = Shape(r/channels_last)\n"
             "e/layout_sizes = GatherV2(e/channels_last, e/layout, e/layout_1)\n"
             "y1 = Identity(e/layout_sizes)\n"
             "g/layout_sizes = GatherV2(e/layout_sizes, g/layout, g/layout_1)\n"
             "g/channels_last = Conv2DBackpropInput(g/layout_sizes, v, r/channels_last, padding='SAME', "
             "strides=[1,1,1,1])\n"
             "g/channels_first = Transpose(g/channels_last, g/layout_2)\n"
             "y = Identity(g/channels_first)\n"},
        Case{"ControlEdges", "c = " CONV("x", "w") "; r = Relu(c, ^go); n = NoOp(^c, ^r); y = Identity(r, ^n)",
             "x/channels_last = Transpose(x, x/layout)\n"
             "c/channels_last = Conv2D(x/channels_last, w, padding='SAME', strides=[1,1,1,1])\n"
             "r/channels_last = Relu(c/channels_last, ^go)\n"
             "n = NoOp(^r/channels_last, ^c/channels_last)\n"
             "r/channels_first = Transpose(r/channels_last, r/layout)\n"
             "y = Identity(r/channels_first, ^n)\n"},
        Case{"ThreeDimensions",
             "i = Placeholder(dtype=float, shape=[1,3,4,5,6]); f = Placeholder(dtype=float, shape=[1,1,1,3,2]); "
             "c = Conv3D(i, f, strides=[1,1,2,3,4], padding='SAME', data_format='NCDHW'); r = Relu(c); y = "
             "Identity(r)",
             "i/channels_last = Transpose(i, i/layout)\n"
             "c/channels_last = Conv3D(i/channels_last, f, padding='SAME', strides=[1,2,3,4,1])\n"
             "r/channels_last = Relu(c/channels_last)\n"
             "r/channels_first = Transpose(r/channels_last, r/layout)\n"
             "y = Identity(r/channels_first)\n"},
        Case{"GpusKeepTheirs", "c = " CONV("x", "w") " @/device:GPU:0; y = Identity(c)",
             "unchanged\n"
             "c = Conv2D(x, w, data_format='NCHW', padding='SAME', strides=[1,1,1,1]) @/device:GPU:0\n"
             "y = Identity(c)\n"}),
    [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace sluice
