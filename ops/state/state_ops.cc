#include "ops/state/state_ops.h"

namespace sluice {

void DefineStateOps(OpRegistry& ops) {
  DefineVariableOps(ops);
  DefineScatterUpdates(ops);
}

}  // namespace sluice
