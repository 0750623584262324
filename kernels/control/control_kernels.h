// CPU kernels of the ops in ops/control.
#ifndef SLUICE_KERNELS_CONTROL_CONTROL_KERNELS_H_
#define SLUICE_KERNELS_CONTROL_CONTROL_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddControlKernelsCpu(KernelRegistry& k);

// The topics, each in a file of its name.
void AddPassKernelsCpu(KernelRegistry& k);        // passes.cc: constants, identities, reads of references
void AddTransferKernelsCpu(KernelRegistry& k);    // transfers.cc: _Send, _Recv
void AddFunctionalKernelsCpu(KernelRegistry& k);  // functional.cc: PartitionedCall, If, While, Case
void AddCheckKernelsCpu(KernelRegistry& k);       // checks.cc: Assert, Print, CheckNumerics ...

}  // namespace sluice

#endif  // SLUICE_KERNELS_CONTROL_CONTROL_KERNELS_H_
