// What a task has received from each other task: tensors, their bytes, and the time between asking and having them. A
// transfer is counted once, by who receives it; so the rows of all tasks are the pairs of the cluster, none twice.
//
//   std::shared_ptr<WireCounters> ps = stats.Of("/job:ps/replica:0/task:0");    // keep it: finding it takes a lock
//   ps->Received(Way::kSharedMemory, message.tensors, waited_ns);               // three relaxed additions
//
// What counts: every tensor that came from another task, in whatever call (RecvTensor, the feeds of RunGraph and
// SendTensors, the fetches of their replies, collectives), and what members of a collective read in each other's
// memory. What does not: what a task sends itself, clients (they are no tasks), constants of graphs that are
// registered.
//
// Waits overlap: two tensors that are waited for during the same second count as two seconds. Who is sent a tensor
// without asking (feeds) waits for nothing.
//
// Threads:  any method from any thread.
// Lifetime: counters outlive the statistics while somebody holds them: answers may come when the task has gone.
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
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "core/types/tensor.h"
#include "distributed/rpc/transport.h"

namespace sluice {

struct WireTotals {
  int64_t tensors = 0;
  int64_t bytes = 0;
  int64_t wait_ns = 0;
};

// Of the values alone: those of strings are their texts; handles and dead tensors have none.
int64_t BytesOf(absl::Span<const Tensor> tensors);

class WireCounters {
 public:
  // Returns the bytes.
  int64_t Received(Way way, absl::Span<const Tensor> tensors, int64_t wait_ns) {
    if (tensors.empty()) return 0;
    const int64_t bytes = BytesOf(tensors);
    Add(way, {static_cast<int64_t>(tensors.size()), bytes, wait_ns});
    return bytes;
  }
  void Add(Way way, const WireTotals& more) {
    Counter& c = by_way_[static_cast<int>(way)];
    c.tensors.fetch_add(more.tensors, std::memory_order_relaxed);
    c.bytes.fetch_add(more.bytes, std::memory_order_relaxed);
    c.wait_ns.fetch_add(more.wait_ns, std::memory_order_relaxed);
  }
  WireTotals Of(Way way) const {
    const Counter& c = by_way_[static_cast<int>(way)];
    return {c.tensors.load(std::memory_order_relaxed), c.bytes.load(std::memory_order_relaxed),
            c.wait_ns.load(std::memory_order_relaxed)};
  }

 private:
  struct Counter {
    std::atomic<int64_t> tensors{0}, bytes{0}, wait_ns{0};
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

  explicit WireStats(std::string task) : task_(std::move(task)) {}

  // Null for the task itself: nothing crosses. Callers say who they are, so names beyond the first thousand are counted
  // together, under "others".
  std::shared_ptr<WireCounters> Of(absl::string_view task);
  // What has carried something, by task and way.
  std::vector<Row> List() const;

 private:
  const std::string task_;
  mutable absl::Mutex mu_;
  std::map<std::string, std::shared_ptr<WireCounters>, std::less<>> by_task_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_STATS_WIRE_STATS_H_
