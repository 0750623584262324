// Ops that move elements: shapes, joins and cuts, gathers and scatters, permutations, padding, sorting by position.
#ifndef SLUICE_OPS_ARRAY_ARRAY_OPS_H_
#define SLUICE_OPS_ARRAY_ARRAY_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineArrayOps(OpRegistry& ops);

}  // namespace sluice

#endif  // SLUICE_OPS_ARRAY_ARRAY_OPS_H_
