#include "ops/nn/nn_ops.h"

namespace sluice {

void DefineNnOps(OpRegistry& ops) {
  DefineActivationOps(ops);
  DefineBiasOps(ops);
  DefineConvOps(ops);
  DefinePoolOps(ops);
  DefineDilationOps(ops);
  DefineNormalizationOps(ops);
  DefineSoftmaxOps(ops);
  DefineCandidateOps(ops);
  DefineTrainingOps(ops);
}

}  // namespace sluice
