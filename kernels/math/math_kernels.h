// The CPU kernels of ops/math.
#ifndef SLUICE_KERNELS_MATH_MATH_KERNELS_H_
#define SLUICE_KERNELS_MATH_MATH_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddMathKernelsCpu(KernelRegistry& kernels);

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_MATH_KERNELS_H_
