#include "kernels/array/array_kernels.h"

#include "kernels/array/topics.h"

namespace sluice {

void AddArrayKernelsCpu(KernelRegistry& kernels) {
  AddShapeKernels(kernels);
  AddConstantKernels(kernels);
  AddJoinKernels(kernels);
  AddSplitKernels(kernels);
  AddSliceKernels(kernels);
  AddGatherKernels(kernels);
  AddScatterKernels(kernels);
  AddPermuteKernels(kernels);
  AddPadKernels(kernels);
  AddPartitionKernels(kernels);
  AddUniqueKernels(kernels);
  AddSpaceKernels(kernels);
  AddSelectionKernels(kernels);
  AddQuantizeKernels(kernels);
}

}  // namespace sluice
