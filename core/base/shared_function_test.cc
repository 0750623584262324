#include "core/base/shared_function.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace sluice {
namespace {

TEST(SharedFunctionTest, CopiesShareOneClosureThatGoesWithTheLast) {
  auto held = std::make_shared<int>(7);
  std::weak_ptr<int> watch = held;
  SharedFunction<int(int)> f = [held = std::move(held), calls = 0](int x) mutable { return *held * x + calls++; };
  SharedFunction<int(int)> copy = f;
  EXPECT_EQ(f(2), 14);
  EXPECT_EQ(copy(2), 15) << "the same closure";
  SharedFunction<int(int)> moved = std::move(f);
  EXPECT_FALSE(f);  // NOLINT: what it promises
  EXPECT_EQ(moved(1), 9);
  moved = nullptr;
  EXPECT_FALSE(watch.expired());
  copy = nullptr;
  EXPECT_TRUE(watch.expired());
}

TEST(SharedFunctionTest, TakesWhatCannotBeCopiedAndMovesArguments) {
  SharedFunction<std::string(std::unique_ptr<std::string>)> f = [own = std::make_unique<std::string>("a")](auto given) {
    return *own + *given;
  };
  EXPECT_EQ(f(std::make_unique<std::string>("b")), "ab");
}

TEST(SharedFunctionTest, ExactlyOnceGoesWithItsCall) {
  auto held = std::make_shared<int>(7);
  std::weak_ptr<int> watch = held;
  std::function<int(int)> once =
      SharedFunction<int(int)>::ExactlyOnce([held = std::move(held)](int x) { return *held * x; });
  EXPECT_FALSE(watch.expired());
  EXPECT_EQ(once(3), 21);
  EXPECT_TRUE(watch.expired());
}

TEST(SharedFunctionTest, EmptyOnesAreNull) {
  SharedFunction<void()> none;
  EXPECT_TRUE(none == nullptr);
  EXPECT_TRUE(SharedFunction<void()>(std::function<void()>()) == nullptr);
  EXPECT_TRUE(SharedFunction<void()>([] {}) != nullptr);
}

TEST(RecycledMemoryTest, BlocksOfEverySizeAreWholeAndAligned) {
  for (size_t bytes : {size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{4096}, size_t{4097}, kMaxRecycledBytes,
                       kMaxRecycledBytes + 1}) {
    std::vector<char*> blocks;
    for (int i = 0; i < 20; ++i) {
      blocks.push_back(static_cast<char*>(TakeRecycled(bytes)));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(blocks.back()) % alignof(std::max_align_t), 0u);
      std::memset(blocks.back(), i, bytes);
    }
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(blocks[i][0], i);
      EXPECT_EQ(blocks[i][bytes - 1], i) << bytes;
      GiveRecycled(blocks[i], bytes);
    }
  }
}

TEST(RecycledMemoryTest, ThreadsGiveBackWhatOthersTook) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      std::map<int, std::string, std::less<int>, RecyclingAllocator<std::pair<const int, std::string>>> map;
      for (int i = 0; i < 2000; ++i) {
        map.emplace(i, std::to_string(t));
        if (i >= 50) map.erase(i - 50);
      }
      EXPECT_EQ(map.size(), 50u);
      for (const auto& [k, v] : map) EXPECT_EQ(v, std::to_string(t));
    });
  }
  for (std::thread& t : threads) t.join();
}

}  // namespace
}  // namespace sluice
