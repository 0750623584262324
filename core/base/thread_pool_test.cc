#include "core/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace sluice {
namespace {

constexpr double kExpensive = 1e6;  // ns for a unit: always worth sharing

TEST(ThreadPoolTest, ParallelForCoversEachIndexOnce) {
  for (int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    for (int64_t total : {0, 1, 2, 7, 64, 1000}) {
      for (int64_t align : {1, 8}) {
        std::vector<std::atomic<int>> hits(total);
        pool.ParallelFor(
            total, kExpensive,
            [&](int64_t begin, int64_t end) {
              EXPECT_TRUE(begin % align == 0 && (end % align == 0 || end == total));
              for (int64_t i = begin; i < end; ++i) hits[i].fetch_add(1);
            },
            align);
        for (auto& h : hits) ASSERT_EQ(h.load(), 1);
      }
    }
  }
}

TEST(ThreadPoolTest, TheSplitDependsOnTheNumbersAlone) {
  ThreadPool pool(3);
  auto split = [&] {
    std::mutex mu;
    std::set<std::pair<int64_t, int64_t>> ranges;
    pool.ParallelFor(1000, 1000, [&](int64_t b, int64_t e) {
      std::lock_guard<std::mutex> lock(mu);
      ranges.insert({b, e});
    });
    return ranges;
  };
  auto first = split();
  EXPECT_GT(first.size(), 1u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(split(), first);
}

TEST(ThreadPoolTest, CheapWorkStaysOnTheCaller) {
  ThreadPool pool(4);
  int calls = 0;
  pool.ParallelFor(100, 1, [&](int64_t b, int64_t e) { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPoolTest, NestedLoopsFinish) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  pool.ParallelFor(8, kExpensive, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      pool.ParallelFor(8, kExpensive, [&](int64_t c, int64_t d) {
        for (int64_t j = c; j < d; ++j) {
          pool.ParallelFor(4, kExpensive, [&](int64_t x, int64_t y) { sum.fetch_add(y - x); });
        }
      });
    }
  });
  EXPECT_EQ(sum.load(), 8 * 8 * 4);
}

TEST(ThreadPoolTest, ManyCallersShareAPool) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        pool.ParallelFor(16, 5000, [&](int64_t b, int64_t e) { sum.fetch_add(e - b); });
      }
    });
  }
  for (auto& c : callers) c.join();
  EXPECT_EQ(sum.load(), 4 * 500 * 16);
}

TEST(ThreadPoolTest, WorkersHelpWhenTheyAreParked) {
  ThreadPool pool(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));  // long past the window in which workers spin
  // Each piece waits for the other, so two threads must be in the loop.
  std::atomic<int> inside{0};
  pool.ParallelFor(2, 1e9, [&](int64_t, int64_t) {
    inside.fetch_add(1);
    while (inside.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(inside.load(), 2);
}

TEST(ThreadPoolTest, TheDestructorFinishesWhatWasScheduled) {
  std::atomic<int> done{0};
  {
    ThreadPool pool(2);
    for (int i = 0; i < 100; ++i) pool.Schedule([&] { done.fetch_add(1); });
    for (int i = 0; i < 10; ++i) {
      pool.ScheduleBlocking([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        done.fetch_add(1);
      });
    }
  }
  EXPECT_EQ(done.load(), 110);
}

TEST(ThreadPoolTest, BlockingWorkThatWaitsForOtherBlockingWorkGetsAThread) {
  ThreadPool pool(1);
  std::atomic<int> arrived{0};
  for (int i = 0; i < 8; ++i) {
    pool.ScheduleBlocking([&] {
      arrived.fetch_add(1);
      while (arrived.load() < 8) std::this_thread::yield();
    });
  }
  while (arrived.load() < 8) std::this_thread::yield();
}

}  // namespace
}  // namespace sluice
