#include "runtime/executor/progress.h"

#include "core/graph/graph.h"

namespace sluice {

std::vector<std::string> StepProgress::WaitingFor() const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> all;
  for (Waiter* w : waiters_) {
    for (std::string& text : w->WaitingFor()) all.push_back(std::move(text));
  }
  return all;
}

std::string StepProgress::RunningNow() const {
  absl::MutexLock lock(&mu_);
  const Node* node = running_.load(std::memory_order_relaxed);
  return node == nullptr ? std::string() : node->info().Describe();
}

}  // namespace sluice
