#include "ops/all/all_ops.h"

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(AllOpsTest, EveryDefinitionIsComplete) {
  OpRegistry ops;
  DefineAllOps(ops);
  EXPECT_EQ(ops.Finish(), absl::OkStatus());
}

TEST(AllOpsTest, EveryOpSaysWhatItDoes) {
  OpRegistry ops;
  DefineAllOps(ops);
  ASSERT_EQ(ops.Finish(), absl::OkStatus());
  for (const OpDef* op : ops.List()) EXPECT_FALSE(op->summary.empty()) << op->name;
}

}  // namespace
}  // namespace sluice
