// The ops of neural networks: activations, bias, convolution, pooling, normalization, softmax and losses, candidate
// sampling, and the update steps of optimisers. DefineNnOps defines them all.
#ifndef SLUICE_OPS_NN_NN_OPS_H_
#define SLUICE_OPS_NN_NN_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineNnOps(OpRegistry& ops);

void DefineActivationOps(OpRegistry& ops);
void DefineBiasOps(OpRegistry& ops);
void DefineConvOps(OpRegistry& ops);
void DefinePoolOps(OpRegistry& ops);
void DefineDilationOps(OpRegistry& ops);
void DefineNormalizationOps(OpRegistry& ops);
void DefineSoftmaxOps(OpRegistry& ops);
void DefineCandidateOps(OpRegistry& ops);
void DefineTrainingOps(OpRegistry& ops);

}  // namespace sluice

#endif  // SLUICE_OPS_NN_NN_OPS_H_
