#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

// Race-free programs: under --config=tsan each fails if ThreadSanitizer does not know the lock that orders it.
namespace {

template <class F>
void OnFourThreads(F f) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 1000; ++k) f(k);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(AbslLocksTest, MutexOrdersWriters) {
  absl::Mutex mu;
  int count = 0;
  OnFourThreads([&](int) {
    absl::MutexLock lock(&mu);
    ++count;
  });
  EXPECT_EQ(count, 4000);
}

TEST(AbslLocksTest, MutexOrdersReadersAndWriters) {
  absl::Mutex mu;
  int count = 0;
  OnFourThreads([&](int k) {
    if (k % 10 == 0) {
      absl::WriterMutexLock lock(&mu);
      ++count;
    } else {
      absl::ReaderMutexLock lock(&mu);
      if (count < 0) ADD_FAILURE();
    }
  });
  EXPECT_EQ(count, 400);
}

TEST(AbslLocksTest, CondVarOrdersItsWaiter) {
  absl::Mutex mu;
  absl::CondVar ready_changed;
  bool ready = false;
  int data = 0;
  std::thread waiter([&] {
    absl::MutexLock lock(&mu);
    while (!ready) ready_changed.Wait(&mu);
    ++data;
  });
  {
    absl::MutexLock lock(&mu);
    data = 3;
    ready = true;
    ready_changed.Signal();
  }
  waiter.join();
  EXPECT_EQ(data, 4);
}

TEST(AbslLocksTest, AwaitOrdersItsWaiter) {
  absl::Mutex mu;
  bool ready = false;
  int data = 0;
  std::thread waiter([&] {
    absl::MutexLock lock(&mu);
    mu.Await(absl::Condition(&ready));
    ++data;
  });
  {
    absl::MutexLock lock(&mu);
    data = 3;
    ready = true;
  }
  waiter.join();
  EXPECT_EQ(data, 4);
}

TEST(AbslLocksTest, NotificationOrdersItsWaiter) {
  absl::Notification done;
  int data = 0;
  std::thread worker([&] {
    data = 1;
    done.Notify();
  });
  done.WaitForNotification();
  EXPECT_EQ(data, 1);
  data = 2;
  worker.join();
}

TEST(AbslLocksTest, BlockingCounterOrdersItsWaiter) {
  absl::BlockingCounter left(2);
  int a = 0;
  int b = 0;
  std::thread first([&] {
    a = 1;
    left.DecrementCount();
  });
  std::thread second([&] {
    b = 2;
    left.DecrementCount();
  });
  left.Wait();
  EXPECT_EQ(a + b, 3);
  a = b = 0;
  first.join();
  second.join();
}

}  // namespace
