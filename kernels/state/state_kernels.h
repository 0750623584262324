// CPU kernels of the ops in ops/state.
#ifndef SLUICE_KERNELS_STATE_STATE_KERNELS_H_
#define SLUICE_KERNELS_STATE_STATE_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddStateKernelsCpu(KernelRegistry& k);

// The topics, each in a file of its name.
void AddVariableKernelsCpu(KernelRegistry& k);       // variables.cc
void AddScatterUpdateKernelsCpu(KernelRegistry& k);  // scatter_updates.cc

}  // namespace sluice

#endif  // SLUICE_KERNELS_STATE_STATE_KERNELS_H_
