// The lists that AddRandomKernelsCpu is made of.
#ifndef SLUICE_KERNELS_RANDOM_TOPICS_H_
#define SLUICE_KERNELS_RANDOM_TOPICS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddFillKernels(KernelRegistry& k);
void AddStatelessKernels(KernelRegistry& k);
void AddShuffleKernels(KernelRegistry& k);
void AddSamplerKernels(KernelRegistry& k);

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_TOPICS_H_
