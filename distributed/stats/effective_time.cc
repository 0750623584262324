#include "distributed/stats/effective_time.h"

#include <utility>

#include "absl/synchronization/mutex.h"

namespace sluice {
namespace {

struct Slot {
  absl::Mutex mu;
  std::string serialised ABSL_GUARDED_BY(mu);
};
Slot& TheSlot() {
  static Slot* slot = new Slot;
  return *slot;
}

}  // namespace

void SetEffectiveTime(std::string serialised) {
  absl::MutexLock lock(&TheSlot().mu);
  TheSlot().serialised = std::move(serialised);
}

std::string GetEffectiveTime() {
  absl::MutexLock lock(&TheSlot().mu);
  return TheSlot().serialised;
}

}  // namespace sluice
