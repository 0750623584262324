// The one pool of a process for work between and inside ops.
//
//   pool.ParallelFor(rows, /*cost_ns=*/40, [&](int64_t begin, int64_t end) { ... });
//
// Workers spin for an adaptive window and then park. The caller of ParallelFor takes part in the work, so nested calls
// never deadlock and a pool of zero workers runs everything inline. Work that may block (files, callbacks into Python)
// goes to ScheduleBlocking, which uses threads of its own.
//
// Threads: any method from any thread. Lifetime: the destructor finishes what was scheduled.
#ifndef SLUICE_CORE_BASE_THREAD_POOL_H_
#define SLUICE_CORE_BASE_THREAD_POOL_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/functional/function_ref.h"

namespace sluice {

class ThreadPool {
 public:
  // `parallelism` counts the calling thread: 1 makes no worker. 0 takes the number of CPUs this process may use.
  explicit ThreadPool(int parallelism);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int parallelism() const;

  void Schedule(std::function<void()> work);
  void ScheduleBlocking(std::function<void()> work);

  // Calls body(begin, end) over disjoint ranges that cover [0, total) and returns when all are done. `cost_ns`
  // estimates one unit: cheap totals run inline on the caller. `align` makes every inner border a multiple of it. The
  // split depends only on total, cost and parallelism, so results that depend on it are repeatable.
  void ParallelFor(int64_t total, double cost_ns, absl::FunctionRef<void(int64_t, int64_t)> body, int64_t align = 1);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_THREAD_POOL_H_
