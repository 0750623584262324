#include "third_party/cuda/check/scale.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(CudaToolkitTest, CompiledKernelRunsOnTheGpu) {
  std::vector<float> values(1000, 2.0f);
  values[999] = -1.0f;
  ASSERT_EQ(ScaleOnGpu(3.0f, values), "");
  EXPECT_EQ(values[0], 6.0f);
  EXPECT_EQ(values[999], -3.0f);
}

}  // namespace
}  // namespace sluice
