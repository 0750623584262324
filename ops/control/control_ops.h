// Ops that shape a graph rather than compute: constants, feeds, pass-throughs, transfers, calls of functions, and
// checks.
#ifndef SLUICE_OPS_CONTROL_CONTROL_OPS_H_
#define SLUICE_OPS_CONTROL_CONTROL_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineControlOps(OpRegistry& ops);

// The topics, each in a file of its name.
void DefineSourceOps(OpRegistry& ops);        // sources.cc: Const, Placeholder ...
void DefineIdentityOps(OpRegistry& ops);      // identities.cc: Identity, StopGradient ...
void DefineRuntimeOps(OpRegistry& ops);       // runtime_ops.cc: _Arg, _Send ..., made by the runtime only
void DefineFunctionalOps(OpRegistry& ops);    // functional.cc: PartitionedCall, If, While, Case
void DefineHostFunctionOps(OpRegistry& ops);  // host_function.cc: PyFunc
void DefineCheckOps(OpRegistry& ops);         // checks.cc: Assert, Print, CheckNumerics ...

}  // namespace sluice

#endif  // SLUICE_OPS_CONTROL_CONTROL_OPS_H_
