#include "core/base/cancellation.h"

#include <utility>

namespace sluice {

void CancellationToken::Cancel(absl::Status why) {
  absl::flat_hash_map<int64_t, std::function<void()>> callbacks;
  {
    absl::MutexLock lock(&mu_);
    if (cancelled_.load(std::memory_order_relaxed)) return;
    why_ = std::move(why);
    callbacks.swap(callbacks_);
    running_ = true;
    cancelled_.store(true, std::memory_order_release);
  }
  for (auto& [id, callback] : callbacks) callback();
  absl::MutexLock lock(&mu_);
  running_ = false;
}

absl::Status CancellationToken::status() const {
  if (!cancelled()) return absl::OkStatus();
  absl::MutexLock lock(&mu_);
  return why_;
}

int64_t CancellationToken::Register(std::function<void()> callback) {
  absl::MutexLock lock(&mu_);
  if (cancelled_.load(std::memory_order_relaxed)) return 0;
  int64_t id = next_id_++;
  callbacks_.emplace(id, std::move(callback));
  return id;
}

void CancellationToken::Unregister(int64_t id) {
  absl::MutexLock lock(&mu_);
  if (callbacks_.erase(id) > 0) return;
  mu_.Await(absl::Condition(
      +[](bool* running) { return !*running; }, &running_));
}

void CancellationToken::Reset() {
  absl::MutexLock lock(&mu_);
  why_ = absl::OkStatus();
  cancelled_.store(false, std::memory_order_release);
}

}  // namespace sluice
