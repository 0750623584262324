#include "kernels/state/state_kernels.h"

namespace sluice {

void AddStateKernelsCpu(KernelRegistry& k) {
  AddVariableKernelsCpu(k);
  AddScatterUpdateKernelsCpu(k);
}

}  // namespace sluice
