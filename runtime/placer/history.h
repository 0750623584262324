// Where the state of a session lives. Each signature is placed by itself; what keeps state must be where the first plan
// put it, or a later step would look for a variable on a device that never had it.
//
// Threads: any method from any thread.
#ifndef SLUICE_RUNTIME_PLACER_HISTORY_H_
#define SLUICE_RUNTIME_PLACER_HISTORY_H_

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace sluice {

class PlacementHistory {
 public:
  // The full name of the device, or "" when the node is not known.
  std::string Find(absl::string_view node) const {
    absl::MutexLock lock(&mu_);
    auto it = devices_.find(node);
    return it == devices_.end() ? "" : it->second;
  }
  // The first device of a node is the one that stays.
  void Remember(absl::string_view node, absl::string_view device) {
    absl::MutexLock lock(&mu_);
    devices_.emplace(node, device);
  }
  void Forget() {
    absl::MutexLock lock(&mu_);
    devices_.clear();
  }

 private:
  mutable absl::Mutex mu_;
  absl::flat_hash_map<std::string, std::string> devices_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_HISTORY_H_
