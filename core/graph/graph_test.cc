#include "core/graph/graph.h"

#include "core/base/status.h"
#include "core/graph/gradients.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class GraphTest : public ::testing::Test {
 protected:
  GraphTest() {
    ops_.Define("Const", "")
        .Output("output", "dtype")
        .Attr("value: tensor")
        .Attr("dtype: type")
        .Traits(kConstant)
        .Shape([](ShapeContext& c) -> absl::Status {
          ASSIGN_OR_RETURN(Tensor t, c.Attr<Tensor>("value"));
          c.SetOutput(0, t.shape());
          return absl::OkStatus();
        });
    ops_.Define("Placeholder", "")
        .Output("output", "dtype")
        .Attr("dtype: type")
        .Attr("shape: shape = { unknown_rank: true }")
        .Shape(FromAttr("shape"));
    ops_.Define("Square", "")
        .Input("x", "T")
        .Output("y", "T")
        .Type("T", kArithmeticTypes)
        .Shape(SameAs("x"))
        .Gradient([](GradientScope& g) {
          g.Into("x") = g.Op("Mul", {g.dy(), g["x"]});
        });
    ops_.Define("Mul", "")
        .Input("x", "T")
        .Input("y", "T")
        .Output("z", "T")
        .Type("T", kArithmeticTypes)
        .Shape(BroadcastOf(0, 1))
        .Gradient([](GradientScope& g) {
          g.Into("x") = g.Op("Mul", {g.dy(), g["y"]});
          g.Into("y") = g.Op("Mul", {g.dy(), g["x"]});
        });
    ops_.Define("AddN", "")
        .Input("inputs", "N * T")
        .Output("sum", "T")
        .Type("T", kArithmeticTypes)
        .Shape(MergeInputs());
    ops_.Define("Fill", "")
        .Input("dims", "int32")
        .Input("value", "T")
        .Output("output", "T")
        .Type("T")
        .Shape([](ShapeContext& c) -> absl::Status {
          ASSIGN_OR_RETURN(PartialShape s, c.InputAsShape(0));
          c.SetOutput(0, s);
          return absl::OkStatus();
        });
    ops_.Define("Shape", "").Input("input", "T").Output("output", "int32").Type("T").Shape(UnknownShape());
    ops_.Define("NoOp", "").Shape(NoOutputs());
    EXPECT_EQ(ops_.Finish(), absl::OkStatus());
  }

  OpRegistry ops_;
  Graph graph_{&ops_};
};

TEST_F(GraphTest, TextRoundTripsThroughTheGraph) {
  const char* text =
      "x = Placeholder(dtype=float, shape=[2,?])\n"
      "c = Const(value=float[2,1]{1,2})\n"
      "go = NoOp()\n"
      "y = Mul(x, c, ^go) @/cpu:1\n"
      "s = AddN(y, x)\n";
  ASSERT_EQ(ParseGraphText(text, &graph_), absl::OkStatus());
  EXPECT_EQ(GraphToText(graph_), text);
  EXPECT_EQ(graph_.Find("y")->output_shape(0).ToString(), "[2,?]");
  EXPECT_EQ(VerifyGraph(graph_, /*infer=*/true), absl::OkStatus());
}

TEST_F(GraphTest, MistakesNameOpNodeLineFoundAndWanted) {
  ASSERT_EQ(ParseGraphText("a = Const(value=float[2]{1}); b = Const(value=int32[3]{1}); c = Const(value=float[3]{1})",
                           &graph_),
            absl::OkStatus());
  NodeSpec spec{"Mul", "m", {{graph_.Find("a"), 0}, {graph_.Find("b"), 0}},  {},
                {},    "",  {graph_.Intern("/home/u/model.py"), 41, nullptr}};
  EXPECT_THAT(std::string(graph_.AddNode(spec).status().message()),
              ::testing::AllOf(HasSubstr("Mul 'm' (model.py:41)"), HasSubstr("int32"), HasSubstr("float")));
  spec.inputs[1] = {graph_.Find("c"), 0};
  EXPECT_THAT(std::string(graph_.AddNode(spec).status().message()), HasSubstr("[2] and [3] do not broadcast"));
  EXPECT_EQ(graph_.num_nodes(), 3) << "a failed AddNode leaves nothing behind";
  EXPECT_THAT(std::string(graph_.AddNode({"Mull", "m", {}, {}, {}, "", {}}).status().message()),
              HasSubstr("near: Mul"));
}

TEST_F(GraphTest, GradientsThatMeetAreAdded) {
  ASSERT_EQ(ParseGraphText("x = Placeholder(dtype=float, shape=[2]); a = Square(x); y = Mul(a, x)", &graph_),
            absl::OkStatus());
  Endpoint y{graph_.Find("y"), 0}, x{graph_.Find("x"), 0};
  auto grads = AddGradients(&graph_, {y}, {x}, {}, {});
  ASSERT_EQ(grads.status(), absl::OkStatus());
  ASSERT_TRUE((*grads)[0].dense.valid());
  EXPECT_EQ((*grads)[0].dense.node()->op().name, "AddN");
  EXPECT_EQ((*grads)[0].dense.shape().ToString(), "[2]");
  EXPECT_NE(graph_.Find("gradients/y_grad/Mul"), nullptr);
  EXPECT_EQ(VerifyGraph(graph_, true), absl::OkStatus());
}

TEST_F(GraphTest, UnconnectedInputsHaveNoGradientAndMissingRulesAreNamed) {
  ASSERT_EQ(
      ParseGraphText("x = Placeholder(dtype=float, shape=[2]); z = Placeholder(dtype=float, shape=[2]); y = AddN(x, x)",
                     &graph_),
      absl::OkStatus());
  Endpoint y{graph_.Find("y"), 0};
  auto none = AddGradients(&graph_, {y}, {{graph_.Find("z"), 0}}, {}, {});
  ASSERT_EQ(none.status(), absl::OkStatus());
  EXPECT_FALSE((*none)[0].valid());
  EXPECT_THAT(std::string(AddGradients(&graph_, {y}, {{graph_.Find("x"), 0}}, {}, {}).status().message()),
              HasSubstr("AddN has no gradient"));
}

TEST_F(GraphTest, CyclesAreReportedByName) {
  ASSERT_EQ(ParseGraphText("x = Placeholder(dtype=float, shape=[2]); a = Square(x); b = Square(a)", &graph_),
            absl::OkStatus());
  ASSERT_EQ(graph_.UpdateInput(graph_.Find("a"), 0, {graph_.Find("b"), 0}), absl::OkStatus());
  EXPECT_THAT(std::string(graph_.TopologicalOrder().status().message()), HasSubstr("a, b"));
}

TEST_F(GraphTest, RemovedNodesPassTheirOrderOn) {
  ASSERT_EQ(ParseGraphText("first = NoOp(); mid = NoOp(^first); last = NoOp(^mid)", &graph_), absl::OkStatus());
  graph_.RemoveNode(graph_.Find("mid"));
  EXPECT_EQ(GraphToText(graph_), "first = NoOp()\nlast = NoOp(^first)\n");
}

TEST_F(GraphTest, CloneKeepsWhatItIsAskedTo) {
  ASSERT_EQ(ParseGraphText("x = Placeholder(dtype=float, shape=[2]); a = Square(x); b = Square(x)", &graph_),
            absl::OkStatus());
  auto copy = graph_.Clone([](const Node& n) { return n.name() != "b"; });
  ASSERT_EQ(copy.status(), absl::OkStatus());
  EXPECT_EQ(GraphToText(**copy), "x = Placeholder(dtype=float, shape=[2])\na = Square(x)\n");
  EXPECT_EQ(VerifyGraph(**copy), absl::OkStatus());
  EXPECT_EQ(graph_.Clone([](const Node& n) { return n.name() != "x"; }).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace sluice
