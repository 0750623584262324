#include "ops/array/array_ops.h"

#include "ops/array/topics.h"

namespace sluice {

void DefineArrayOps(OpRegistry& ops) {
  DefineShapeOps(ops);
  DefineConstantOps(ops);
  DefineJoinOps(ops);
  DefineSplitOps(ops);
  DefineSliceOps(ops);
  DefineGatherOps(ops);
  DefineScatterOps(ops);
  DefinePermuteOps(ops);
  DefinePadOps(ops);
  DefinePartitionOps(ops);
  DefineUniqueOps(ops);
  DefineSpaceOps(ops);
  DefineSelectionOps(ops);
  DefineQuantizeOps(ops);
}

}  // namespace sluice
