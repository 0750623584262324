// The CPU kernels of the ops in ops/nn. AddNnKernelsCpu adds them all.
#ifndef SLUICE_KERNELS_NN_NN_KERNELS_H_
#define SLUICE_KERNELS_NN_NN_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddNnKernelsCpu(KernelRegistry& k);

void AddActivationsCpu(KernelRegistry& k);
void AddBiasCpu(KernelRegistry& k);
void AddConvCpu(KernelRegistry& k);
void AddMaxPoolCpu(KernelRegistry& k);
void AddMaxPoolWithArgmaxCpu(KernelRegistry& k);
void AddAvgPoolCpu(KernelRegistry& k);
void AddDilationCpu(KernelRegistry& k);
void AddBatchNormCpu(KernelRegistry& k);
void AddLrnCpu(KernelRegistry& k);
void AddSoftmaxCpu(KernelRegistry& k);
void AddCandidatesCpu(KernelRegistry& k);
void AddTrainingCpu(KernelRegistry& k);
void AddMomentTrainingCpu(KernelRegistry& k);
void AddAdagradTrainingCpu(KernelRegistry& k);
// _FusedUpdates, by the kernels of the rules in the same registry.
void AddTogetherTrainingCpu(KernelRegistry& k);

// Whether the node is a dense update by one of our rules, which _FusedUpdates can run with others.
bool CanUpdateTogether(const KernelRegistry& kernels, const NodeInfo& node);

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_NN_KERNELS_H_
