// What can be asked about a step while it runs: whether it gets on, what it does, what it waits for, and how long it
// had nothing to do but wait.
//
//   StepProgress progress;
//   call.progress = &progress;          // the executor then tells it
//   progress.completed();               // changes when an instruction has completed
//   progress.WaitingFor();              // "QueueDequeueV2 'd' (train.py:12)"
//
// Threads: any. Telling takes a store or two; asking may come at any time, also when the step has ended.
#ifndef SLUICE_RUNTIME_EXECUTOR_PROGRESS_H_
#define SLUICE_RUNTIME_EXECUTOR_PROGRESS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace sluice {

class Node;

class StepProgress {
 public:
  // A part of the step that has asynchronous instructions.
  class Waiter {
   public:
    virtual ~Waiter() = default;
    // Instructions that have begun and not completed, in words.
    virtual std::vector<std::string> WaitingFor() = 0;
  };

  // --- The executor ---

  void Begin(Waiter* waiter) {
    absl::MutexLock lock(&mu_);
    waiters_.push_back(waiter);
  }
  // After it returns nobody asks the waiter any more.
  void End(Waiter* waiter) {
    absl::MutexLock lock(&mu_);
    waiters_.erase(std::remove(waiters_.begin(), waiters_.end(), waiter), waiters_.end());
  }
  // Null: none. Threads that help each other may overwrite it. REQUIRES: the node lives until Over.
  void Running(const Node* node) { running_.store(node, std::memory_order_relaxed); }
  // Threads may lose a count to each other: what matters is that it changes.
  void Completed() { completed_.store(completed_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  void Waited(int64_t ns) { waited_ns_.fetch_add(ns, std::memory_order_relaxed); }
  // The step's nodes may go.
  void Over() {
    absl::MutexLock lock(&mu_);
    running_.store(nullptr, std::memory_order_relaxed);
  }

  // --- Who watches ---

  int64_t completed() const { return completed_.load(std::memory_order_relaxed); }
  // While every instruction that was left waited for something outside of the step.
  int64_t waited_ns() const { return waited_ns_.load(std::memory_order_relaxed); }
  std::vector<std::string> WaitingFor() const;
  // The instruction that runs, in words, or nothing.
  std::string RunningNow() const;

 private:
  std::atomic<int64_t> completed_{0};
  std::atomic<int64_t> waited_ns_{0};
  std::atomic<const Node*> running_{nullptr};
  mutable absl::Mutex mu_;
  std::vector<Waiter*> waiters_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_PROGRESS_H_
