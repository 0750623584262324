#include "distributed/transport/arena.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <set>
#include <string>

#include "distributed/transport/stream_copy.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(RangeAllocatorTest, RangesNeverOverlapAndMergeWhenFreed) {
  RangeAllocator ranges(1 << 20);
  std::map<uint64_t, uint64_t> taken;
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    if (random() % 2 == 0 || taken.empty()) {
      const uint64_t bytes = 4096 * (1 + random() % 20);
      uint64_t offset = 0;
      if (!ranges.Allocate(bytes, &offset)) continue;
      auto next = taken.lower_bound(offset);
      ASSERT_TRUE(next == taken.end() || offset + bytes <= next->first);
      ASSERT_TRUE(next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= offset);
      taken.emplace(offset, bytes);
    } else {
      auto it = std::next(taken.begin(), random() % taken.size());
      ranges.Free(it->first, it->second);
      taken.erase(it);
    }
  }
  for (const auto& [offset, bytes] : taken) ranges.Free(offset, bytes);
  uint64_t offset = 1;
  EXPECT_TRUE(ranges.Allocate(1 << 20, &offset));
  EXPECT_EQ(offset, 0u);
}

TEST(ArenaTest, ReceiverSeesTheBytesAndGivesTheBlockBack) {
  auto sender = SendArena::Make(1 << 20);
  ASSERT_TRUE(sender.ok()) << sender.status();
  auto receiver = ReceiveArena::Map(dup((*sender)->fd()), (*sender)->bytes());
  ASSERT_TRUE(receiver.ok()) << receiver.status();
  const std::string text(100000, 'x');
  ArenaBlock block;
  ASSERT_TRUE((*sender)->Put(text.data(), text.size(), &block));
  auto buffer = (*receiver)->Borrow(block, text.size());
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(std::memcmp((*buffer)->data(), text.data(), text.size()), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*buffer)->data()) % kBufferAlignment, 0u);
  EXPECT_FALSE((*buffer)->writable());
  EXPECT_GE((*sender)->used(), text.size());
  *buffer = RefPtr<Buffer>();
  EXPECT_EQ((*sender)->used(), 0u);
}

TEST(ArenaTest, FullArenaRefusesUntilABlockComesBack) {
  auto sender = SendArena::Make(256 << 10);
  ASSERT_TRUE(sender.ok());
  auto receiver = ReceiveArena::Map(dup((*sender)->fd()), (*sender)->bytes());
  ASSERT_TRUE(receiver.ok());
  const std::string text(100 << 10, 'y');
  ArenaBlock a, b, c;
  EXPECT_FALSE((*sender)->Put(text.data(), 300 << 10, &a));
  ASSERT_TRUE((*sender)->Put(text.data(), text.size(), &a));
  ASSERT_TRUE((*sender)->Put(text.data(), text.size(), &b));
  EXPECT_FALSE((*sender)->Put(text.data(), text.size(), &c));
  { auto buffer = (*receiver)->Borrow(a, text.size()); }
  EXPECT_TRUE((*sender)->Put(text.data(), text.size(), &c));
  EXPECT_EQ(c.offset, a.offset);
}

TEST(ArenaTest, BytesOutliveTheSender) {
  auto sender = SendArena::Make(1 << 20);
  ASSERT_TRUE(sender.ok());
  auto receiver = ReceiveArena::Map(dup((*sender)->fd()), (*sender)->bytes());
  ASSERT_TRUE(receiver.ok());
  ArenaBlock block;
  ASSERT_TRUE((*sender)->Put("hello", 5, &block));
  auto buffer = (*receiver)->Borrow(block, 5);
  ASSERT_TRUE(buffer.ok());
  *sender = nullptr;
  *receiver = nullptr;
  EXPECT_EQ(std::memcmp((*buffer)->data(), "hello", 5), 0);
}

TEST(ArenaTest, WhatIsNoArenaIsRefused) {
  const int plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(plain, (1 << 20) + 16384), 0);
  EXPECT_FALSE(ReceiveArena::Map(dup(plain), 1 << 20).ok());  // it could shrink
  close(plain);
  auto sender = SendArena::Make(1 << 20);
  ASSERT_TRUE(sender.ok());
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{4096}, uint64_t{2 << 20}, ~uint64_t{0}}) {
    EXPECT_FALSE(ReceiveArena::Map(dup((*sender)->fd()), bytes).ok()) << bytes;
  }
  EXPECT_NE(ftruncate((*sender)->fd(), 100), 0);
  auto receiver = ReceiveArena::Map(dup((*sender)->fd()), (*sender)->bytes());
  ASSERT_TRUE(receiver.ok());
  struct Row {
    ArenaBlock block;
    uint64_t bytes;
  };
  for (const Row& row : {Row{{0, 5000}, 10}, Row{{1, 0}, 10}, Row{{0, 0}, (1 << 20) + 1}, Row{{1 << 20, 0}, 1},
                         Row{{~uint64_t{0} << 12, 0}, 8192}, Row{{0, 0}, ~uint64_t{0}}}) {
    EXPECT_FALSE((*receiver)->Borrow(row.block, row.bytes).ok());
  }
}

TEST(StreamCopyTest, CopiesEveryByteAtEveryAlignment) {
  std::vector<unsigned char> from((5 << 20) + 300), to(from.size());
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<unsigned char>(i * 31 + (i >> 8));
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{1000}, size_t{4 << 20}, size_t{(5 << 20) + 77}}) {
    for (const size_t shift : {0, 1, 31, 63}) {
      std::fill(to.begin(), to.end(), 0);
      StreamCopy(to.data() + shift, from.data() + 2 * (shift % 3), bytes);
      EXPECT_EQ(std::memcmp(to.data() + shift, from.data() + 2 * (shift % 3), bytes), 0);
      EXPECT_TRUE(shift == 0 || to[shift - 1] == 0);
      EXPECT_EQ(to[shift + bytes], 0);
    }
  }
}

}  // namespace
}  // namespace sluice
