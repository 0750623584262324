#include "ops/control/control_ops.h"

namespace sluice {

void DefineControlOps(OpRegistry& ops) {
  DefineSourceOps(ops);
  DefineIdentityOps(ops);
  DefineRuntimeOps(ops);
  DefineFunctionalOps(ops);
  DefineCheckOps(ops);
  DefineHostFunctionOps(ops);
}

}  // namespace sluice
