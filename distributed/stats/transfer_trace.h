// What a traced step received from other tasks, and when.
//
// Threads: Add from any thread.
#ifndef SLUICE_DISTRIBUTED_STATS_TRANSFER_TRACE_H_
#define SLUICE_DISTRIBUTED_STATS_TRANSFER_TRACE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "distributed/rpc/transport.h"

namespace sluice {

struct TracedTransfer {
  std::string key;       // of the rendezvous
  int64_t asked_ns = 0;  // of the task's clock, like the other
  int64_t got_ns = 0;
  int64_t bytes = 0;
  Way way = Way::kOther;
};

class TransferTrace {
 public:
  void Add(TracedTransfer transfer) {
    absl::MutexLock lock(&mu_);
    transfers_.push_back(std::move(transfer));
  }
  std::vector<TracedTransfer> Take() {
    absl::MutexLock lock(&mu_);
    return std::move(transfers_);
  }

 private:
  absl::Mutex mu_;
  std::vector<TracedTransfer> transfers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_STATS_TRANSFER_TRACE_H_
