#include "ops/queue/queue_ops.h"

namespace sluice {

void DefineQueueFamilyOps(OpRegistry& ops) {
  DefineQueues(ops);
  DefineAccumulators(ops);
  DefineBarriers(ops);
  DefineClocks(ops);
  DefineStacks(ops);
}

}  // namespace sluice
