// A token that tells every wait of a step that the step is over.
//
// Threads:  any method from any thread.
// Blocking: none; callbacks run on the thread that calls Cancel, so they must be short.
#ifndef SLUICE_CORE_BASE_CANCELLATION_H_
#define SLUICE_CORE_BASE_CANCELLATION_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace sluice {

class CancellationToken {
 public:
  CancellationToken() = default;
  CancellationToken(const CancellationToken&) = delete;
  CancellationToken& operator=(const CancellationToken&) = delete;

  // The first call sets the reason and runs the callbacks; later ones do nothing.
  void Cancel(absl::Status why);
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  // OK until cancelled, then the reason.
  absl::Status status() const;

  // Registers `callback`, to be run by Cancel. Returns 0 and does not keep it when already cancelled.
  int64_t Register(std::function<void()> callback);
  // After it returns the callback has run or never will (it waits for one that is running).
  void Unregister(int64_t id);
  // Back to "not cancelled", for pooled steps. REQUIRES: no callback registered.
  void Reset();

 private:
  std::atomic<bool> cancelled_{false};
  mutable absl::Mutex mu_;
  absl::Status why_ ABSL_GUARDED_BY(mu_);
  int64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_map<int64_t, std::function<void()>> callbacks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_CANCELLATION_H_
