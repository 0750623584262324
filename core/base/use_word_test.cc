#include "core/base/use_word.h"

#include <unistd.h>

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace sluice {
namespace {

TEST(UseWordTest, WritersExcludeEachOtherAndReadersSeeWholeChanges) {
  constexpr int kRounds = 20000;
  UseWord use;
  int64_t a = 0, b = 0;  // changed together
  std::atomic<bool> torn{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        use.BeginWrite();
        ++a;
        ++b;
        use.EndWrite();
      }
    });
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        use.BeginRead();
        if (a != b) torn = true;
        use.EndRead();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(a, 3 * kRounds);
  EXPECT_EQ(b, 3 * kRounds);
  EXPECT_FALSE(torn);
}

TEST(UseWordTest, ReadersAreInsideTogether) {
  UseWord use;
  use.BeginRead();
  std::thread([&] {
    use.BeginRead();  // would wait for ever if readers excluded each other
    use.EndRead();
  }).join();
  use.EndRead();
}

// Long enough for those who wait to park: readers and writers that nobody wakes would hang here.
TEST(UseWordTest, WhoWaitsIsWoken) {
  UseWord use;
  std::atomic<int> done{0};
  use.BeginWrite();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      if (t % 2 == 0) {
        use.BeginRead();
        use.EndRead();
      } else {
        use.BeginWrite();
        use.EndWrite();
      }
      ++done;
    });
  }
  usleep(20'000);
  EXPECT_EQ(done, 0);
  use.EndWrite();
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(done, 4);
}

}  // namespace
}  // namespace sluice
