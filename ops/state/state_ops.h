// Ops with state: variables in TensorFlow's two forms (references and resources), and changes of them.
#ifndef SLUICE_OPS_STATE_STATE_OPS_H_
#define SLUICE_OPS_STATE_STATE_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineStateOps(OpRegistry& ops);

// The topics, each in a file of its name.
void DefineVariableOps(OpRegistry& ops);     // variables.cc
void DefineScatterUpdates(OpRegistry& ops);  // scatter_updates.cc

}  // namespace sluice

#endif  // SLUICE_OPS_STATE_STATE_OPS_H_
