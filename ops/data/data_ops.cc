#include "ops/data/data_ops.h"

namespace sluice {

void DefineDataOps(OpRegistry& ops) {
  DefineCheckpointOps(ops);
  DefineFileOps(ops);
  DefineDecodeOps(ops);
  DefineExampleOps(ops);
  DefineSummaryOps(ops);
}

}  // namespace sluice
