// That every gradient rule of this folder builds a well-formed graph, twice over. The values are compared with finite
// differences by tests/conformance.
#include "core/base/status.h"
#include "core/graph/gradients.h"
#include "core/graph/graph.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "gtest/gtest.h"
#include "ops/all/all_ops.h"

namespace sluice {
namespace {

TEST(NnGradientTest, RulesDifferentiateTwice) {
  OpRegistry ops;
  DefineAllOps(ops);
  ASSERT_EQ(ops.Finish(), absl::OkStatus());
  const std::string pool = "ksize=[1,2,2,1], strides=[1,2,2,1], padding='SAME'";
  const std::string x4 = "x = Placeholder(dtype=float, shape=[2,4,4,2]); ";
  const std::string window = "k = Const(value=int32[4]{1,2,2,1}); ";
  std::vector<std::string> graphs = {
      x4 + "f = Placeholder(dtype=float, shape=[3,3,2,4]); y = Conv2D(x, f, strides=[1,1,1,1], padding='SAME')",
      x4 + "f = Placeholder(dtype=float, shape=[3,3,2,2]); y = DepthwiseConv2dNative(x, f, strides=[1,1,1,1], "
           "padding='SAME')",
      "x = Placeholder(dtype=float, shape=[1,3,3,3,1]); f = Placeholder(dtype=float, shape=[2,2,2,1,1]); "
      "y = Conv3D(x, f, strides=[1,1,1,1,1], padding='VALID')",
      x4 + "y = MaxPool(x, " + pool + ")",
      x4 + window + "y = MaxPoolV2(x, k, k, padding='SAME')",
      x4 + "y = MaxPoolWithArgmax(x, " + pool + ")",
      x4 + "y = AvgPool(x, " + pool + ")",
      "x = Placeholder(dtype=float, shape=[1,3,3,3,1]); y = MaxPool3D(x, ksize=[1,2,2,2,1], strides=[1,1,1,1,1], "
      "padding='SAME')",
      "x = Placeholder(dtype=float, shape=[1,3,3,3,1]); y = AvgPool3D(x, ksize=[1,2,2,2,1], strides=[1,1,1,1,1], "
      "padding='SAME')",
      x4 + "b = Placeholder(dtype=float, shape=[2]); y = BiasAdd(x, b)",
      x4 + "b = Placeholder(dtype=float, shape=[2]); y = BiasAddV1(x, b)",
      "x = Placeholder(dtype=float, shape=[3,4]); l = Placeholder(dtype=float, shape=[1,4]); y = "
      "SoftmaxCrossEntropyWithLogits(x, l)",
      "x = Placeholder(dtype=float, shape=[3,4]); l = Const(value=int64[3]{0,1,2}); y = "
      "SparseSoftmaxCrossEntropyWithLogits(x, l)",
      "x = Placeholder(dtype=half, shape=[?,?]); l = Const(value=int64[3]{0,1,2}); y = "
      "SparseSoftmaxCrossEntropyWithLogits(x, l)",
      x4 + "y = LRN(x)",
  };
  for (const char* op :
       {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "Softmax", "LogSoftmax", "L2Loss"}) {
    graphs.push_back(x4 + "y = " + op + "(x)");
    graphs.push_back(absl::StrCat("x = Placeholder(dtype=half, shape=?); y = ", op, "(x)"));
  }
  for (const char* version : {"", "V2", "V3"}) {
    for (const char* attrs : {"is_training=true", "is_training=false", "is_training=true, data_format='NCHW'"}) {
      graphs.push_back(
          absl::StrCat("x = Placeholder(dtype=float, shape=[2,2,2,2]); c = Placeholder(dtype=float, shape=[2]); "
                       "y = FusedBatchNorm",
                       version, "(x, c, c, c, c, ", attrs, ")"));
    }
  }
  for (const std::string& text : graphs) {
    SCOPED_TRACE(text);
    Graph graph(&ops);
    ASSERT_EQ(ParseGraphText(text, &graph), absl::OkStatus());
    const bool lrn = text.find("LRN") != std::string::npos;  // has a first derivative only, as in TensorFlow
    const Endpoint x{graph.Find("x"), 0}, y{graph.Find("y"), 0};
    absl::StatusOr<std::vector<Grad>> first = AddGradients(&graph, {y}, {x}, {}, {});
    ASSERT_TRUE(first.ok()) << first.status();
    ASSERT_TRUE((*first)[0].dense.valid());
    EXPECT_TRUE((*first)[0].dense.shape().IsCompatibleWith(x.node->output_shape(0)));
    if (!lrn) {
      GradientOptions options;
      options.scope = "second";
      absl::StatusOr<std::vector<Grad>> second =
          AddGradients(&graph, {(*first)[0].dense.endpoint()}, {x, y}, {}, options);
      ASSERT_TRUE(second.ok()) << second.status();
    }
    EXPECT_EQ(VerifyGraph(graph, /*infer=*/true), absl::OkStatus());
  }
}

}  // namespace
}  // namespace sluice
