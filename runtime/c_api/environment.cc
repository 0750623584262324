#include "runtime/c_api/environment.h"

#include "core/base/status.h"

namespace sluice {

ProcessEnvironment& GetProcessEnvironment() {
  static ProcessEnvironment* environment = [] {
    auto* e = new ProcessEnvironment;
    FillProcessEnvironment(e);
    e->status = e->ops.Finish();
    if (e->status.ok()) e->status = e->kernels.Finish();
    return e;
  }();
  return *environment;
}

}  // namespace sluice
