// Ops that the members of a group do together.
#ifndef SLUICE_OPS_COLLECTIVE_COLLECTIVE_OPS_H_
#define SLUICE_OPS_COLLECTIVE_COLLECTIVE_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineCollectiveOps(OpRegistry& ops);

}  // namespace sluice

#endif  // SLUICE_OPS_COLLECTIVE_COLLECTIVE_OPS_H_
