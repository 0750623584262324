// CPU kernels of the ops in ops/queue.
#ifndef SLUICE_KERNELS_QUEUE_QUEUE_KERNELS_H_
#define SLUICE_KERNELS_QUEUE_QUEUE_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddQueueFamilyKernelsCpu(KernelRegistry& k);

// The topics, each in a file of its name.
void AddQueueKernelsCpu(KernelRegistry& k);        // queues.cc
void AddAccumulatorKernelsCpu(KernelRegistry& k);  // accumulators.cc
void AddBarrierKernelsCpu(KernelRegistry& k);      // barriers.cc
void AddClockKernelsCpu(KernelRegistry& k);        // clocks.cc
void AddStackKernelsCpu(KernelRegistry& k);        // stacks.cc

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_QUEUE_KERNELS_H_
