#include "ops/array/array_ops.h"

#include "core/base/status.h"
#include "core/graph/graph.h"
#include "core/graph/text.h"
#include "core/op/shape_context.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

const OpRegistry& Ops() {
  static const OpRegistry* const ops = [] {
    auto* r = new OpRegistry;
    r->Define("Const", "")
        .Output("output", "dtype")
        .Attr("value: tensor")
        .Attr("dtype: type")
        .Traits(kConstant)
        .Shape([](ShapeContext& c) -> absl::Status {
          ASSIGN_OR_RETURN(Tensor t, c.Attr<Tensor>("value"));
          c.SetOutput(0, t.shape());
          return absl::OkStatus();
        });
    r->Define("In", "")
        .Output("output", "dtype")
        .Attr("dtype: type = float")
        .Attr("shape: shape = { unknown_rank: true }")
        .Shape(FromAttr("shape"));
    DefineArrayOps(*r);
    EXPECT_EQ(r->Finish(), absl::OkStatus());
    return r;
  }();
  return *ops;
}

// The shapes of the outputs of node `y` of a graph, or the error.
std::string ShapesOf(const std::string& text) {
  Graph graph(&Ops());
  const absl::Status status = ParseGraphText(text, &graph);
  if (!status.ok()) return std::string(status.message());
  std::string shapes;
  Node* y = graph.Find("y");
  for (int i = 0; i < y->num_outputs(); ++i) absl::StrAppend(&shapes, i ? ";" : "", y->output_shape(i).ToString());
  return shapes;
}

struct Case {
  const char* graph;
  const char* shapes;
};

class ShapeRuleTest : public ::testing::TestWithParam<Case> {};

TEST_P(ShapeRuleTest, InfersWhatCanBeKnown) {
  EXPECT_EQ(ShapesOf(GetParam().graph), GetParam().shapes) << GetParam().graph;
}

#define X(shape) "x = In(shape=" shape "); "
#define C(name, value) name " = Const(value=" value "); "

INSTANTIATE_TEST_SUITE_P(
    Shapes, ShapeRuleTest,
    ::testing::Values(
        Case{X("[2,?]") "y = Shape(x)", "[2]"}, Case{X("?") "y = Shape(x)", "[?]"},
        Case{X("[2,6]") C("s", "int32[2]{3,-1}") "y = Reshape(x, s)", "[3,4]"},
        Case{X("[2,?]") C("s", "int32[2]{3,-1}") "y = Reshape(x, s)", "[3,?]"},
        Case{X("[4,6]") "n = In(dtype=int32, shape=[]); " C("t", "int32[]{8}") "s = Pack(n, t); y = Reshape(x, s)",
             "[3,8]"},
        Case{X("[?,4,6]") C("m", "int32[1]{-1}") C("b", "int32[1]{1}") C("e", "int32[1]{3}") C("o", "int32[1]{1}")
                 C("a",
                   "int32[]{0}") "s = Shape(x); t = StridedSlice(s, b, e, o); u = ConcatV2(m, t, a); y = Reshape(x, u)",
             "[?,4,6]"},
        Case{X("[2,3]") C("a", "int32[]{-1}") "y = ExpandDims(x, a)", "[2,3,1]"},
        Case{X("[2,3]") "a = In(dtype=int32, shape=[]); y = ExpandDims(x, a)", "[?,?,?]"},
        Case{X("[2,1,1]") "y = Squeeze(x)", "[2]"}, Case{X("[2,1,1]") "y = Squeeze(x, squeeze_dims=[-1])", "[2,1]"},
        Case{X("[2,?]") "y = Squeeze(x)", "?"}, Case{X("[2,4]") "y = Bitcast(x, type=uint8)", "[2,4,4]"},
        Case{X("[2,2]") "y = Bitcast(x, type=double)", "[2]"},
        Case{X("[2,3]") "z = In(shape=[?,5]); " C("a", "int32[]{1}") "y = ConcatV2(x, z, a)", "[2,8]"},
        Case{X("[2,3]") "y = Pack(x, x, axis=-1)", "[2,3,2]"},
        Case{X("[2,3]") "y = Unpack(x, num=3, axis=1)", "[2];[2];[2]"},
        Case{X("[2,6]") C("a", "int32[]{1}") "y = Split(a, x, num_split=3)", "[2,2];[2,2];[2,2]"},
        Case{X("[2,6]") C("a", "int32[]{1}") C("s", "int64[3]{1,-1,2}") "y = SplitV(x, s, a, num_split=3)",
             "[2,1];[2,3];[2,2]"},
        Case{X("[4,?]") C("b", "int32[2]{1,0}") C("s", "int32[2]{-1,2}") "y = Slice(x, b, s)", "[3,2]"},
        Case{
            X("[5,6,7]") C("b", "int32[3]{0,0,-1}") C("e", "int32[3]{0,0,0}")
                C("s", "int32[3]{1,1,-2}") "y = StridedSlice(x, b, e, s, ellipsis_mask=1, new_axis_mask=2, end_mask=4)",
            "[5,6,1,4]"},
        Case{X("[5,6]") C("b", "int32[1]{2}") C("e", "int32[1]{3}")
                 C("s", "int32[1]{1}") "y = StridedSlice(x, b, e, s, shrink_axis_mask=1)",
             "[6]"},
        Case{X("[5,6]") "b = In(dtype=int32, shape=[2]); " C(
                 "s", "int32[2]{1,1}") "y = StridedSlice(x, b, b, s, shrink_axis_mask=1)",
             "[?]"},
        Case{X("[5,6]") "i = In(dtype=int32, shape=[3,?]); y = Gather(x, i)", "[3,?,6]"},
        Case{X("[5,6,7]") "i = In(dtype=int32, shape=[5,4]); " C("a",
                                                                 "int32[]{2}") "y = GatherV2(x, i, a, batch_dims=1)",
             "[5,6,4]"},
        Case{X("[5,6,7]") "i = In(dtype=int32, shape=[3,2]); y = GatherNd(x, i)", "[3,7]"},
        Case{X("[2,3,4]") C("p", "int32[3]{2,0,1}") "y = Transpose(x, p)", "[4,2,3]"},
        Case{X("[2,?]") C("p", "int32[2,2]{1,1,0,3}") "y = Pad(x, p)", "[4,?]"},
        Case{X("[2,?]") C("m", "int32[2]{3,2}") "y = Tile(x, m)", "[6,?]"},
        Case{X("[8,4,4,3]") C("b", "int32[2]{2,2}") C("p", "int32[2,2]{0,0,1,1}") "y = SpaceToBatchND(x, b, p)",
             "[32,2,3,3]"},
        Case{X("[8,4,4,3]") C("b", "int32[2]{2,2}") C("p", "int32[2,2]{0,0,1,1}") "y = BatchToSpaceND(x, b, p)",
             "[2,8,6,3]"},
        Case{X("[1,4,6,8]") "y = DepthToSpace(x, block_size=2)", "[1,8,12,2]"},
        Case{X("[2,9,9,3]") "y = ExtractImagePatches(x, ksizes=[1,3,3,1], strides=[1,2,2,1], rates=[1,2,2,1], "
                            "padding='VALID')",
             "[2,3,3,27]"},
        Case{X("[2,9]") C("k", "int32[]{3}") "y = TopKV2(x, k)", "[2,3];[2,3]"},
        Case{X("[?]") "y = Unique(x)", "[?];[?]"}, Case{"x = In(dtype=bool, shape=[2,3]); y = Where(x)", "[?,2]"},
        Case{"x = In(dtype=int32, shape=[2,3]); " C("d", "int32[]{5}") C("o", "float[]{1}")
                 C("z", "float[]{0}") "y = OneHot(x, d, o, z, axis=1)",
             "[2,5,3]"}));

TEST(ShapeValueTest, ShapesComputedBySlicesAndPacksAreKnown) {
  EXPECT_EQ(ShapesOf(X("[?,4,6]") C("b", "int32[1]{1}") C("e", "int32[1]{2}") C("o", "int32[1]{1}")
                         C("seven", "int32[]{7}") "s = Shape(x); d = StridedSlice(s, b, e, o, shrink_axis_mask=1); r = "
                                                  "Rank(x); w = Pack(d, seven, r); "
                                                  "f = Const(value=float[]{1}); y = Fill(w, f)"),
            "[4,7,3]");
}

TEST(ShapeErrorTest, MessagesSayWhatWasFoundAndWanted) {
  const std::vector<Case> cases = {
      {X("[2,3]") C("s", "int32[2]{4,-1}") "y = Reshape(x, s)", "6 is not a multiple of 4"},
      {X("[2,3]") C("s", "int32[2]{-1,-1}") "y = Reshape(x, s)", "only one size may be -1"},
      {X("[2,3]") "y = Squeeze(x, squeeze_dims=[0])", "can not squeeze dim[0]"},
      {X("[2,3]") "z = In(shape=[3,3]); " C("a", "int32[]{1}") "y = ConcatV2(x, z, a)",
       "may differ in dimension 1 only"},
      {X("[2,3]") C("p", "int32[2]{1,1}") "y = Transpose(x, p)", "perm must hold each of [0, 2) once"},
      {X("[2]") C("b", "int32[1]{2}") C("s", "int32[1]{1}") "y = StridedSlice(x, b, b, s, shrink_axis_mask=1)",
       "slice index 2 of dimension 0 out of bounds"},
      {X("[2]") C("b", "int32[1]{0}") C("s", "int32[1]{0}") "y = StridedSlice(x, b, b, s)",
       "strides[0] must be non-zero"},
      {X("[2,3]") C("k", "int32[]{4}") "y = TopKV2(x, k)", "must have at least k = 4 columns"},
      {X("[2,3]") C("b", "int32[2]{0,2}") C("s", "int32[2]{1,2}") "y = Slice(x, b, s)", "beyond dimension 1 of [2,3]"},
  };
  for (const Case& c : cases) EXPECT_THAT(ShapesOf(c.graph), HasSubstr(c.shapes)) << c.graph;
}

}  // namespace
}  // namespace sluice
