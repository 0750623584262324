#include "kernels/data/data_kernels.h"

namespace sluice {

void AddDataKernelsCpu(KernelRegistry& k) {
  AddCheckpointKernels(k);
  AddFileKernels(k);
  AddDecodeKernels(k);
  AddCsvKernels(k);
  AddExampleKernels(k);
  AddPngKernels(k);
  AddSummaryKernels(k);
  AddMediaSummaryKernels(k);
}

}  // namespace sluice
