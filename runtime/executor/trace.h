// What a traced step records: when each node ran, where, and what it made.
//
// Threads: Add from any thread.
#ifndef SLUICE_RUNTIME_EXECUTOR_TRACE_H_
#define SLUICE_RUNTIME_EXECUTOR_TRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace sluice {

struct TracedNode {
  std::string device;
  std::string name;
  std::string op;
  int64_t scheduled_ns = 0;  // of the monotonic clock, like the other two
  int64_t start_ns = 0;
  int64_t end_ns = 0;
  int64_t thread = 0;
  int64_t output_bytes = 0;
  std::vector<std::string> inputs;   // "node:output", those of the plan
  std::vector<std::string> outputs;  // "float [2,3]"
};

class StepTrace {
 public:
  static int64_t Now();  // of the monotonic clock
  StepTrace() : begin_ns_(Now()) {}
  int64_t begin_ns() const { return begin_ns_; }
  void Add(TracedNode node) {
    absl::MutexLock lock(&mu_);
    nodes_.push_back(std::move(node));
  }
  std::vector<TracedNode> Take() {
    absl::MutexLock lock(&mu_);
    return std::move(nodes_);
  }

 private:
  const int64_t begin_ns_;
  absl::Mutex mu_;
  std::vector<TracedNode> nodes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_TRACE_H_
