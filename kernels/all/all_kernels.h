// The one list of kernel families.
#ifndef SLUICE_KERNELS_ALL_ALL_KERNELS_H_
#define SLUICE_KERNELS_ALL_ALL_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

// Adds every CPU kernel; the caller checks kernels.Finish().
void AddAllKernelsCpu(KernelRegistry& kernels);

}  // namespace sluice

#endif  // SLUICE_KERNELS_ALL_ALL_KERNELS_H_
