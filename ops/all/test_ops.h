// All ops, for tests that need real ones.
#ifndef SLUICE_OPS_ALL_TEST_OPS_H_
#define SLUICE_OPS_ALL_TEST_OPS_H_

#include "core/base/status.h"
#include "ops/all/all_ops.h"

namespace sluice {

// Made by the first call and kept.
inline const OpRegistry& TestOps() {
  static const OpRegistry* ops = [] {
    auto* r = new OpRegistry;
    DefineAllOps(*r);
    SLUICE_CHECK(r->Finish().ok());
    return r;
  }();
  return *ops;
}

}  // namespace sluice

#endif  // SLUICE_OPS_ALL_TEST_OPS_H_
