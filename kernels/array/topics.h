// The topics of the array family, one file each, as in ops/array.
#ifndef SLUICE_KERNELS_ARRAY_TOPICS_H_
#define SLUICE_KERNELS_ARRAY_TOPICS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddShapeKernels(KernelRegistry& k);
void AddConstantKernels(KernelRegistry& k);
void AddJoinKernels(KernelRegistry& k);
void AddSplitKernels(KernelRegistry& k);
void AddSliceKernels(KernelRegistry& k);
void AddGatherKernels(KernelRegistry& k);
void AddScatterKernels(KernelRegistry& k);
void AddPermuteKernels(KernelRegistry& k);
void AddPadKernels(KernelRegistry& k);
void AddPartitionKernels(KernelRegistry& k);
void AddUniqueKernels(KernelRegistry& k);
void AddSpaceKernels(KernelRegistry& k);
void AddSelectionKernels(KernelRegistry& k);
void AddQuantizeKernels(KernelRegistry& k);

}  // namespace sluice

#endif  // SLUICE_KERNELS_ARRAY_TOPICS_H_
