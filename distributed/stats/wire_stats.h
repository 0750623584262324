// What a task has received from each other task: messages with tensors, their bytes, and the time between asking and
// having them. A transfer is counted once, by who receives it.
//
//   WireCounters& from = stats.Of("/job:ps/replica:0/task:0");    // keep it: it lives as long as the statistics
//   from.Received(Way::kSharedMemory, bytes, waited_ns);          // three relaxed additions
//
// Waits overlap: two tensors that are waited for during the same second count as two seconds.
//
// Threads: any method from any thread.
#ifndef SLUICE_DISTRIBUTED_STATS_WIRE_STATS_H_
#define SLUICE_DISTRIBUTED_STATS_WIRE_STATS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "distributed/rpc/transport.h"

namespace sluice {

struct WireTotals {
  int64_t messages = 0;
  int64_t bytes = 0;
  int64_t wait_ns = 0;
};

class WireCounters {
 public:
  void Received(Way way, int64_t bytes, int64_t wait_ns) {
    Counter& c = by_way_[static_cast<int>(way)];
    c.messages.fetch_add(1, std::memory_order_relaxed);
    c.bytes.fetch_add(bytes, std::memory_order_relaxed);
    c.wait_ns.fetch_add(wait_ns, std::memory_order_relaxed);
  }
  WireTotals Of(Way way) const {
    const Counter& c = by_way_[static_cast<int>(way)];
    return {c.messages.load(std::memory_order_relaxed), c.bytes.load(std::memory_order_relaxed),
            c.wait_ns.load(std::memory_order_relaxed)};
  }

 private:
  struct Counter {
    std::atomic<int64_t> messages{0}, bytes{0}, wait_ns{0};
  };
  std::array<Counter, kWays> by_way_;
};

class WireStats {
 public:
  struct Row {
    std::string from;
    Way way = Way::kOther;
    WireTotals totals;
  };

  WireCounters& Of(const std::string& from);
  // What has carried something, by task and way.
  std::vector<Row> List() const;

 private:
  mutable absl::Mutex mu_;
  std::map<std::string, std::unique_ptr<WireCounters>> by_task_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_STATS_WIRE_STATS_H_
