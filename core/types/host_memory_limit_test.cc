// The limit of host memory is read once, so it has a process of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/types/allocator.h"
#include "core/types/tensor.h"

namespace sluice {
namespace {

constexpr size_t kMiB = 1 << 20;

TEST(HostMemoryLimitTest, ARequestBeyondTheLimitIsRefusedAndTheProcessLives) {
  EXPECT_EQ(HostAllocator()->stats().limit_bytes, 64 * kMiB);
  auto t = Tensor::Make(DType::kFloat, Shape({1000, 1000, 100}));
  EXPECT_EQ(t.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(t.status().message()), ::testing::HasSubstr("limit 67108864"));
  EXPECT_TRUE(Tensor::Make(DType::kFloat, Shape({1000})).ok());
}

TEST(HostMemoryLimitTest, AtTheLimitUnusedBlocksOfOtherSizesMakeRoom) {
  Allocator* a = HostAllocator();
  void* p = a->Allocate(40 * kMiB);
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(a->Allocate(48 * kMiB), nullptr) << "the first block is in use";
  a->Deallocate(p, 40 * kMiB);
  void* q = a->Allocate(48 * kMiB);
  EXPECT_NE(q, nullptr) << "the unused block goes back to the system";
  a->Deallocate(q, 48 * kMiB);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  setenv("SLUICE_HOST_MEMORY_LIMIT", "64M", 1);
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
