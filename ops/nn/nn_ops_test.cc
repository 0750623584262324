#include "ops/nn/nn_ops.h"

#include "core/base/status.h"
#include "core/graph/graph.h"
#include "core/graph/text.h"
#include "core/op/shape_context.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

class NnOpsTest : public ::testing::Test {
 protected:
  NnOpsTest() {
    DefineNnOps(ops_);
    ops_.Define("P", "").Output("o", "dtype").Attr("dtype: type = float").Attr("s: shape").Shape(FromAttr("s"));
    ops_.Define("Ref", "").Output("o", "Ref(dtype)").Attr("dtype: type = float").Attr("s: shape").Shape(FromAttr("s"));
    EXPECT_EQ(ops_.Finish(), absl::OkStatus());
  }
  // The shapes of the node "y" of a graph, or the error.
  std::string Shapes(absl::string_view text) {
    Graph graph(&ops_);
    absl::Status status = ParseGraphText(text, &graph);
    if (!status.ok()) return std::string(status.message());
    std::string shapes;
    Node* y = graph.Find("y");
    for (int i = 0; i < y->num_outputs(); ++i)
      absl::StrAppend(&shapes, i > 0 ? " " : "", y->output_shape(i).ToString());
    return shapes;
  }
  OpRegistry ops_;
};

TEST_F(NnOpsTest, ShapesFollowFromInputs) {
  struct Row {
    const char* graph;
    const char* shapes;
  };
  for (const Row& r : std::initializer_list<Row>{
           {"x = P(s=[8,28,28,1]); f = P(s=[5,5,1,32]); y = Conv2D(x, f, strides=[1,1,1,1], padding='SAME')",
            "[8,28,28,32]"},
           {"x = P(s=[?,28,?,3]); f = P(s=[5,5,3,32]); y = Conv2D(x, f, strides=[1,2,2,1], padding='VALID')",
            "[?,12,?,32]"},
           {"x = P(s=?); f = P(s=?); y = Conv2D(x, f, strides=[1,1,1,1], padding='SAME')", "[?,?,?,?]"},
           {"x = P(s=[2,6,9,9]); f = P(s=[3,3,3,8]); y = Conv2D(x, f, strides=[1,1,2,2], padding='SAME', "
            "data_format='NCHW')",
            "[2,8,5,5]"},
           {"x = P(s=[2,9,9,4]); f = P(s=[3,3,4,2]); y = DepthwiseConv2dNative(x, f, strides=[1,1,1,1], "
            "padding='VALID')",
            "[2,7,7,8]"},
           {"x = P(s=[2,5,5,5,1]); f = P(s=[3,3,3,1,2]); y = Conv3D(x, f, strides=[1,1,1,1,1], padding='VALID')",
            "[2,3,3,3,2]"},
           {"x = P(s=[0,8,8,3]); y = MaxPool(x, ksize=[1,2,2,1], strides=[1,2,2,1], padding='VALID')", "[0,4,4,3]"},
           {"x = P(s=[4,8,8,6]); y = MaxPool(x, ksize=[1,1,1,2], strides=[1,1,1,2], padding='VALID')", "[4,8,8,3]"},
           {"x = P(s=[2,8,7,3]); y = MaxPoolWithArgmax(x, ksize=[1,2,2,1], strides=[1,2,2,1], padding='SAME')",
            "[2,4,4,3] [2,4,4,3]"},
           {"x = P(s=[2,3,8,8]); y = AvgPool(x, ksize=[1,1,2,2], strides=[1,1,2,2], padding='VALID', "
            "data_format='NCHW')",
            "[2,3,4,4]"},
           {"x = P(s=[2,3,?,?]); b = P(s=[4]); y = BiasAdd(x, b)", "[2,3,?,4]"},
           {"x = P(s=[2,?,5]); y = BiasAddGrad(x, data_format='NCHW')", "[?]"},
           {"x = P(s=[5,3]); l = P(s=[5], dtype=int64); y = SparseSoftmaxCrossEntropyWithLogits(x, l)", "[5] [5,3]"},
           {"x = P(s=[?,3]); l = P(s=[5,3]); y = SoftmaxCrossEntropyWithLogits(x, l)", "[5] [5,3]"},
           {"x = P(s=[2,4,4,?]); c = P(s=[3]); e = P(s=[0]); y = FusedBatchNormV3(x, c, c, e, e)",
            "[2,4,4,3] [3] [3] [3] [3] [0]"},
           {"v = Ref(s=[4,2]); s = P(s=[]); g = P(s=[4,?]); y = ApplyMomentum(v, v, s, g, s)", "[4,2]"},
       }) {
    EXPECT_EQ(Shapes(r.graph), r.shapes) << r.graph;
  }
}

TEST_F(NnOpsTest, MistakesAreReportedWhenTheNodeIsMade) {
  struct Row {
    const char* graph;
    const char* message;
  };
  for (const Row& r : std::initializer_list<Row>{
           {"x = P(s=[8,28,28,4]); f = P(s=[5,5,3,32]); y = Conv2D(x, f, strides=[1,1,1,1], padding='SAME')",
            "has 4 channels (data_format NHWC), but the filter takes 3"},
           {"x = P(s=[8,3,3,4]); f = P(s=[5,5,4,32]); y = Conv2D(x, f, strides=[1,1,1,1], padding='VALID')", "spans 5"},
           {"x = P(s=[8,3,3,4]); f = P(s=[1,1,4,32]); y = Conv2D(x, f, strides=[1,-1,1,1], padding='VALID')",
            "strides"},
           {"x = P(s=[8,3,3,4]); f = P(s=[0,1,4,32]); y = Conv2D(x, f, strides=[1,1,1,1], padding='VALID')",
            "filter is 0"},
           {"x = P(s=[8,3,4]); y = MaxPool(x, ksize=[1,2,2,1], strides=[1,2,2,1], padding='VALID')", "rank"},
           {"x = P(s=[8,3,4,4]); y = MaxPool(x, ksize=[1,2,2,2], strides=[1,2,2,2], padding='VALID')",
            "over channels alone"},
           {"x = P(s=[2,3]); b = P(s=[4]); y = BiasAdd(x, b)", "3 channels, but bias has 4"},
           {"x = P(s=[5,3]); l = P(s=[4], dtype=int64); y = SparseSoftmaxCrossEntropyWithLogits(x, l)",
            "one label for each row"},
           {"v = Ref(s=[4,2]); s = P(s=[]); g = P(s=[4,3]); y = ApplyMomentum(v, v, s, g, s)", "the shape of var"},
           {"v = Ref(s=[4,2]); s = P(s=[1]); g = P(s=[4,2]); y = ApplyGradientDescent(v, s, g)", "rank"},
           {"v = Ref(s=[4,2]); s = P(s=[]); g = P(s=[3,2]); i = P(s=[2], dtype=int32); y = SparseApplyMomentum(v, v, "
            "s, g, i, s)",
            "a row for each index"},
       }) {
    EXPECT_THAT(Shapes(r.graph), HasSubstr(r.message)) << r.graph;
  }
}

}  // namespace
}  // namespace sluice
