// The CPU kernels of the array family.
#ifndef SLUICE_KERNELS_ARRAY_ARRAY_KERNELS_H_
#define SLUICE_KERNELS_ARRAY_ARRAY_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddArrayKernelsCpu(KernelRegistry& kernels);

}  // namespace sluice

#endif  // SLUICE_KERNELS_ARRAY_ARRAY_KERNELS_H_
