#include "runtime/c_api/environment.h"

#include "absl/synchronization/mutex.h"
#include "core/base/status.h"

namespace sluice {

ProcessEnvironment& GetProcessEnvironment() {
  static ProcessEnvironment* environment = [] {
#ifdef NDEBUG
    // Debian's Abseil looks for cycles among locks at each one that is taken, behind one lock of the whole process.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
    auto* e = new ProcessEnvironment;
    FillProcessEnvironment(e);
    e->status = e->ops.Finish();
    if (e->status.ok()) e->status = e->kernels.Finish();
    return e;
  }();
  return *environment;
}

}  // namespace sluice
