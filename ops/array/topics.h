// The topics of the array family, one file each.
#ifndef SLUICE_OPS_ARRAY_TOPICS_H_
#define SLUICE_OPS_ARRAY_TOPICS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineShapeOps(OpRegistry& ops);
void DefineConstantOps(OpRegistry& ops);
void DefineJoinOps(OpRegistry& ops);
void DefineSplitOps(OpRegistry& ops);
void DefineSliceOps(OpRegistry& ops);
void DefineGatherOps(OpRegistry& ops);
void DefineScatterOps(OpRegistry& ops);
void DefinePermuteOps(OpRegistry& ops);
void DefinePadOps(OpRegistry& ops);
void DefinePartitionOps(OpRegistry& ops);
void DefineUniqueOps(OpRegistry& ops);
void DefineSpaceOps(OpRegistry& ops);
void DefineSelectionOps(OpRegistry& ops);
void DefineQuantizeOps(OpRegistry& ops);

}  // namespace sluice

#endif  // SLUICE_OPS_ARRAY_TOPICS_H_
