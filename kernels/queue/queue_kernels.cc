#include "kernels/queue/queue_kernels.h"

namespace sluice {

void AddQueueFamilyKernelsCpu(KernelRegistry& k) {
  AddQueueKernelsCpu(k);
  AddAccumulatorKernelsCpu(k);
  AddBarrierKernelsCpu(k);
  AddClockKernelsCpu(k);
  AddStackKernelsCpu(k);
}

}  // namespace sluice
