#include "kernels/all/all_kernels.h"

#include "kernels/control/control_kernels.h"
#include "kernels/nn/nn_kernels.h"
#include "kernels/state/state_kernels.h"

namespace sluice {

void AddAllKernelsCpu(KernelRegistry& kernels) {
  AddControlKernelsCpu(kernels);
  AddNnKernelsCpu(kernels);
  AddStateKernelsCpu(kernels);
}

}  // namespace sluice
