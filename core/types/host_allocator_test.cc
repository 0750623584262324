#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "core/types/allocator.h"

namespace sluice {
namespace {

TEST(HostAllocatorTest, BlocksAreAlignedAndDoNotOverlap) {
  Allocator* a = HostAllocator();
  std::mt19937 random(1);
  struct Held {
    unsigned char* p;
    size_t bytes;
    unsigned char mark;
  };
  std::vector<Held> held;
  for (int i = 0; i < 20000; ++i) {
    if (held.size() > 200 || (!held.empty() && random() % 3 == 0)) {
      size_t k = random() % held.size();
      Held h = held[k];
      for (size_t b : {size_t{0}, h.bytes / 2, h.bytes - 1}) ASSERT_EQ(h.p[b], h.mark);
      a->Deallocate(h.p, h.bytes);
      held[k] = held.back();
      held.pop_back();
    } else {
      size_t bytes = 1 + random() % (random() % 50 == 0 ? 3 << 20 : 3000);
      auto* p = static_cast<unsigned char*>(a->Allocate(bytes));
      ASSERT_NE(p, nullptr);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % kBufferAlignment, 0u);
      auto mark = static_cast<unsigned char>(random());
      std::memset(p, mark, bytes);
      held.push_back({p, bytes, mark});
    }
  }
  for (const Held& h : held) a->Deallocate(h.p, h.bytes);
}

TEST(HostAllocatorTest, CountsWhatIsLiveAndReusesWhatWasFreed) {
  Allocator* a = HostAllocator();
  const int64_t before = a->stats().live_bytes;
  constexpr size_t kBytes = 10 << 20;
  void* p = a->Allocate(kBytes);
  EXPECT_GE(a->stats().live_bytes - before, static_cast<int64_t>(kBytes));
  EXPECT_GE(a->stats().peak_bytes, static_cast<int64_t>(kBytes));
  a->Deallocate(p, kBytes);
  EXPECT_EQ(a->stats().live_bytes, before);
#if !defined(__SANITIZE_ADDRESS__)
  const int64_t reserved = a->stats().reserved_bytes;
  void* q = a->Allocate(kBytes - 100000);
  EXPECT_EQ(q, p) << "a freed block is kept for the next request of about its size";
  EXPECT_EQ(a->stats().reserved_bytes, reserved);
  a->Deallocate(q, kBytes - 100000);
#endif
}

TEST(HostAllocatorTest, BlocksMayBeFreedByAnotherThread) {
  Allocator* a = HostAllocator();
  const int64_t before = a->stats().live_bytes;
  std::vector<void*> blocks(5000);
  std::thread maker([&] {
    for (void*& p : blocks) p = a->Allocate(256);
  });
  maker.join();
  EXPECT_EQ(std::set<void*>(blocks.begin(), blocks.end()).size(), blocks.size());
  std::thread freer([&] {
    for (void* p : blocks) a->Deallocate(p, 256);
  });
  freer.join();
  EXPECT_EQ(a->stats().live_bytes, before);
}

TEST(HostAllocatorTest, RefusesWhatNoMachineHas) { EXPECT_EQ(HostAllocator()->Allocate(size_t{1} << 55), nullptr); }

}  // namespace
}  // namespace sluice
