// CPU kernels of the ops in ops/collective.
#ifndef SLUICE_KERNELS_COLLECTIVE_COLLECTIVE_KERNELS_H_
#define SLUICE_KERNELS_COLLECTIVE_COLLECTIVE_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddCollectiveKernelsCpu(KernelRegistry& k);

}  // namespace sluice

#endif  // SLUICE_KERNELS_COLLECTIVE_COLLECTIVE_KERNELS_H_
