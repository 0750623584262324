// The CPU kernels of ops/random.
#ifndef SLUICE_KERNELS_RANDOM_RANDOM_KERNELS_H_
#define SLUICE_KERNELS_RANDOM_RANDOM_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddRandomKernelsCpu(KernelRegistry& kernels);

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_RANDOM_KERNELS_H_
