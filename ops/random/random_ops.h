// Random numbers: drawn from the state of an op, or from a seed that is given.
#ifndef SLUICE_OPS_RANDOM_RANDOM_OPS_H_
#define SLUICE_OPS_RANDOM_RANDOM_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineRandomOps(OpRegistry& ops);

}  // namespace sluice

#endif  // SLUICE_OPS_RANDOM_RANDOM_OPS_H_
