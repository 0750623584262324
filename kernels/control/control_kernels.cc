#include "kernels/control/control_kernels.h"

namespace sluice {

void AddControlKernelsCpu(KernelRegistry& k) {
  AddPassKernelsCpu(k);
  AddTransferKernelsCpu(k);
  AddFunctionalKernelsCpu(k);
  AddCheckKernelsCpu(k);
}

}  // namespace sluice
