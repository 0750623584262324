// The one list of op families.
#ifndef SLUICE_OPS_ALL_ALL_OPS_H_
#define SLUICE_OPS_ALL_ALL_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

// Defines every op; the caller checks ops.Finish().
void DefineAllOps(OpRegistry& ops);

}  // namespace sluice

#endif  // SLUICE_OPS_ALL_ALL_OPS_H_
