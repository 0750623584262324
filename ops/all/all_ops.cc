#include "ops/all/all_ops.h"

#include "ops/array/array_ops.h"
#include "ops/collective/collective_ops.h"
#include "ops/control/control_ops.h"
#include "ops/data/data_ops.h"
#include "ops/image/image_ops.h"
#include "ops/math/math_ops.h"
#include "ops/nn/nn_ops.h"
#include "ops/queue/queue_ops.h"
#include "ops/random/random_ops.h"
#include "ops/state/state_ops.h"
#include "ops/string/string_ops.h"

namespace sluice {

void DefineAllOps(OpRegistry& ops) {
  DefineControlOps(ops);
  DefineArrayOps(ops);
  DefineMathOps(ops);
  DefineNnOps(ops);
  DefineRandomOps(ops);
  DefineStateOps(ops);
  DefineStringOps(ops);
  DefineDataOps(ops);
  DefineImageOps(ops);
  DefineQueueFamilyOps(ops);
  DefineCollectiveOps(ops);
}

}  // namespace sluice
