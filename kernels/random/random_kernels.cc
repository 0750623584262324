#include "kernels/random/random_kernels.h"

#include "kernels/random/topics.h"

namespace sluice {

void AddRandomKernelsCpu(KernelRegistry& k) {
  AddFillKernels(k);
  AddStatelessKernels(k);
  AddShuffleKernels(k);
  AddSamplerKernels(k);
}

}  // namespace sluice
