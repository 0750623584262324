// The pass, as graphs before and after.
#include "compiler/fusion/updates.h"

#include "absl/strings/match.h"
#include "compiler/fusion/group_text.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

// A line for each node that does something: "name = op(inputs, ^controls)".
std::string After(absl::string_view text) {
  Graph graph(&TestOps());
  absl::Status status = ParseGraphText(text, &graph);
  PassContext context;
  context.preserve = {"target", "kept"};
  const UpdateFusion pass([](const NodeInfo& n) { return absl::StrContains(n.op->name, "ResourceApply"); });
  if (status.ok()) status = pass.Run(&graph, context).status();
  if (status.ok()) status = VerifyGraph(graph, /*infer=*/true);
  absl::StatusOr<std::vector<Node*>> order = graph.TopologicalOrder();
  if (status.ok()) status = order.status();
  if (!status.ok()) return std::string(status.message());
  std::string out;
  for (const Node* n : *order) {
    if (n->Is(kSource) || n->Is(kConstant) || n->op().name == "VarHandleOp") continue;
    absl::StrAppend(&out, n->name(), " = ", n->op().name, "(");
    for (const Endpoint& e : n->inputs()) absl::StrAppend(&out, e.node->name(), " ");
    for (const Node* c : n->control_inputs()) absl::StrAppend(&out, "^", c->name(), " ");
    absl::StrAppend(&out, ")\n");
  }
  return out;
}

constexpr char kInputs[] =
    "a = VarHandleOp(dtype=float, shape=[3]); b = VarHandleOp(dtype=float, shape=[2,2])\n"
    "c = VarHandleOp(dtype=float, shape=[3]); large = VarHandleOp(dtype=float, shape=[200,200])\n"
    "d = VarHandleOp(dtype=double, shape=[3])\n"
    "ga = Placeholder(dtype=float, shape=[3]); gb = Placeholder(dtype=float, shape=[2,2])\n"
    "gl = Placeholder(dtype=float, shape=[200,200]); gu = Placeholder(dtype=float, shape=[?])\n"
    "gd = Placeholder(dtype=double, shape=[3]); rd = Const(value=double[]{0.1})\n"
    "r = Const(value=float[]{0.1}); s = Const(value=float[]{0.2})\n";

struct Case {
  const char* name;
  const char* before;
  const char* after;
};

class UpdateFusionTest : public ::testing::TestWithParam<Case> {};

TEST_P(UpdateFusionTest, Rewrites) { EXPECT_EQ(After(absl::StrCat(kInputs, GetParam().before)), GetParam().after); }

INSTANTIATE_TEST_SUITE_P(
    Groups, UpdateFusionTest,
    ::testing::Values(
        Case{"SameRule",
             "x = ResourceApplyGradientDescent(a, r, ga); y = ResourceApplyGradientDescent(b, r, gb); n = NoOp(^x, ^y)",
             "x/_fused = _FusedUpdates(a ga b gb r )\nn = NoOp(^x/_fused )\n"},
        Case{"ControlEdgesOfAll",
             "p = NoOp(); q = NoOp(); x = ResourceApplyGradientDescent(a, r, ga, ^p, ^q); "
             "y = ResourceApplyGradientDescent(b, r, gb, ^q); n = NoOp(^x); m = NoOp(^y)",
             "p = NoOp()\nq = NoOp()\nx/_fused = _FusedUpdates(a ga b gb r ^p ^q )\nn = NoOp(^x/_fused )\n"
             "m = NoOp(^x/_fused )\n"},
        Case{"OtherRateRuleAndType",
             "x = ResourceApplyGradientDescent(a, r, ga); y = ResourceApplyGradientDescent(b, s, gb); "
             "z = ResourceApplyAdagrad(c, a, r, ga); w = ResourceApplyGradientDescent(d, rd, gd)",
             "x = ResourceApplyGradientDescent(a r ga )\ny = ResourceApplyGradientDescent(b s gb )\n"
             "z = ResourceApplyAdagrad(c a r ga )\nw = ResourceApplyGradientDescent(d rd gd )\n"},
        Case{"SlotsAndAttributes",
             "x = ResourceApplyMomentum(a, c, r, ga, s, use_nesterov=true); "
             "y = ResourceApplyMomentum(b, b, r, gb, s, use_nesterov=true); z = ResourceApplyMomentum(b, b, r, gb, s)",
             "z = ResourceApplyMomentum(b b r gb s )\nx/_fused = _FusedUpdates(a c ga b b gb r s )\n"},
        Case{"RatesThatAreReadAnew",
             "v = VarHandleOp(dtype=float, shape=[]); p = NoOp(); r1 = ReadVariableOp(v, dtype=float); "
             "r2 = ReadVariableOp(v, dtype=float); r3 = ReadVariableOp(v, dtype=float, ^p); "
             "x = ResourceApplyGradientDescent(a, r1, ga); y = ResourceApplyGradientDescent(b, r2, gb); "
             "z = ResourceApplyGradientDescent(c, r3, ga)",
             "p = NoOp()\nr1 = ReadVariableOp(v )\nr3 = ReadVariableOp(v ^p )\n"
             "z = ResourceApplyGradientDescent(c r3 ga )\nx/_fused = _FusedUpdates(a ga b gb r1 )\n"},
        Case{"ReadsThatAreFetched",
             "v = VarHandleOp(dtype=float, shape=[]); r1 = ReadVariableOp(v, dtype=float); "
             "kept = ReadVariableOp(v, dtype=float); x = ResourceApplyGradientDescent(a, r1, ga); "
             "y = ResourceApplyGradientDescent(b, kept, gb)",
             "r1 = ReadVariableOp(v )\nkept = ReadVariableOp(v )\nx/_fused = _FusedUpdates(a ga b gb r1 )\n"},
        Case{"OneAfterTheOther",
             "x = ResourceApplyGradientDescent(a, r, ga); n = NoOp(^x); y = ResourceApplyGradientDescent(b, r, gb, ^n)",
             "x = ResourceApplyGradientDescent(a r ga )\nn = NoOp(^x )\n"
             "y = ResourceApplyGradientDescent(b r gb ^n )\n"},
        // x before w and z before y: x with y and z with w would wait for each other.
        Case{"CrossedOrders",
             "x = ResourceApplyGradientDescent(a, r, ga); z = ResourceApplyGradientDescent(c, s, ga); "
             "w = ResourceApplyGradientDescent(a, s, ga, ^x); y = ResourceApplyGradientDescent(c, r, ga, ^z)",
             "x = ResourceApplyGradientDescent(a r ga )\nz = ResourceApplyGradientDescent(c s ga )\n"
             "w = ResourceApplyGradientDescent(a s ga ^x )\ny = ResourceApplyGradientDescent(c r ga ^z )\n"},
        Case{"TwiceTheSameVariable",
             "x = ResourceApplyGradientDescent(a, r, ga); i = Identity(a); y = ResourceApplyGradientDescent(i, r, ga)",
             "x = ResourceApplyGradientDescent(a r ga )\ni = Identity(a )\n"
             "y = ResourceApplyGradientDescent(i r ga )\n"},
        Case{"LargeUnknownAndTargets",
             "x = ResourceApplyGradientDescent(a, r, ga); y = ResourceApplyGradientDescent(large, r, gl); "
             "z = ResourceApplyGradientDescent(c, r, gu); target = ResourceApplyGradientDescent(b, r, gb)",
             "x = ResourceApplyGradientDescent(a r ga )\ny = ResourceApplyGradientDescent(large r gl )\n"
             "z = ResourceApplyGradientDescent(c r gu )\ntarget = ResourceApplyGradientDescent(b r gb )\n"},
        // What comes from elsewhere may need that x has run.
        Case{"WaitingForWhatOneSends",
             "q = FIFOQueueV2(component_types=[float], shapes=[[3]]); e = QueueDequeueV2(q, component_types=[float]); "
             "x = ResourceApplyGradientDescent(a, r, ga); y = ResourceApplyGradientDescent(c, r, e:0); "
             "t = QueueEnqueueV2(q, ga, ^x)",
             "q = FIFOQueueV2()\ne = QueueDequeueV2(q )\nx = ResourceApplyGradientDescent(a r ga )\n"
             "y = ResourceApplyGradientDescent(c r e )\nt = QueueEnqueueV2(q ga ^x )\n"},
        Case{"WaitingBeforeBoth",
             "q = FIFOQueueV2(component_types=[float], shapes=[[3]]); e = QueueDequeueV2(q, component_types=[float]); "
             "x = ResourceApplyGradientDescent(a, r, e:0); y = ResourceApplyGradientDescent(c, r, e:0)",
             "q = FIFOQueueV2()\ne = QueueDequeueV2(q )\nx/_fused = _FusedUpdates(a e c e r )\n"}),
    [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

TEST(UpdateFusionTest, ANodeHoldsAsManyAsItsKernelTakes) {
  std::string text = "r = Const(value=float[]{0.1})";
  for (int i = 0; i < 70; ++i) {
    absl::StrAppend(&text, "; v", i, " = VarHandleOp(dtype=float, shape=[2]); g", i,
                    " = Placeholder(dtype=float, shape=[2]); x", i, " = ResourceApplyGradientDescent(v", i, ", r, g", i,
                    ")");
  }
  const std::string after = After(text);
  EXPECT_EQ(std::count(after.begin(), after.end(), '\n'), 3) << after;  // 32, 32 and 6
}

}  // namespace
}  // namespace sluice
