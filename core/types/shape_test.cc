#include "core/types/shape.h"

#include <gtest/gtest.h>

#include <limits>

#include "core/types/tensor.h"

namespace sluice {
namespace {

constexpr int64_t kHuge = int64_t{1} << 40;
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

TEST(ShapeTest, CountsNeverWrap) {
  EXPECT_EQ(Shape({kHuge, kHuge}).num_elements(), kMost);
  EXPECT_EQ(Shape({kHuge, kHuge, 0}).num_elements(), 0);
  Shape s({kHuge});
  s.AddDim(kHuge);
  EXPECT_EQ(s.num_elements(), kMost);
  s.SetDim(1, 2);
  EXPECT_EQ(s.num_elements(), 2 * kHuge);
  EXPECT_EQ(PartialShape({kHuge, kHuge}).num_elements(), kMost);
  EXPECT_EQ(PartialShape({kHuge, kHuge, 0}).num_elements(), 0);
  EXPECT_EQ(PartialShape({0, kHuge, kHuge}).num_elements(), 0);
  EXPECT_EQ(PartialShape({kHuge, -1}).num_elements(), -1);
}

TEST(ShapeTest, WhatCannotBeCountedIsNoShapeAndNoTensor) {
  EXPECT_FALSE(Shape::Make({kHuge, kHuge}).ok());
  EXPECT_TRUE(Shape::Make({kHuge, kHuge, 0}).ok());
  Shape wrapped({int64_t{1} << 33});
  wrapped.AddDim(int64_t{1} << 33);
  for (DType t : {DType::kUint8, DType::kDouble}) {
    EXPECT_EQ(Tensor::Make(t, wrapped).status().code(), absl::StatusCode::kResourceExhausted);
  }
}

}  // namespace
}  // namespace sluice
