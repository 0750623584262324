#include "kernels/nn/nn_kernels.h"

namespace sluice {

void AddNnKernelsCpu(KernelRegistry& k) {
  AddActivationsCpu(k);
  AddBiasCpu(k);
  AddConvCpu(k);
  AddMaxPoolCpu(k);
  AddMaxPoolWithArgmaxCpu(k);
  AddAvgPoolCpu(k);
  AddDilationCpu(k);
  AddBatchNormCpu(k);
  AddLrnCpu(k);
  AddSoftmaxCpu(k);
  AddCandidatesCpu(k);
  AddTrainingCpu(k);
}

}  // namespace sluice
