#include "kernels/all/all_kernels.h"

#include "kernels/array/array_kernels.h"
#include "kernels/collective/collective_kernels.h"
#include "kernels/control/control_kernels.h"
#include "kernels/data/data_kernels.h"
#include "kernels/image/image_kernels.h"
#include "kernels/math/math_kernels.h"
#include "kernels/nn/nn_kernels.h"
#include "kernels/queue/queue_kernels.h"
#include "kernels/random/random_kernels.h"
#include "kernels/state/state_kernels.h"
#include "kernels/string/string_kernels.h"

namespace sluice {

void AddAllKernelsCpu(KernelRegistry& kernels) {
  AddArrayKernelsCpu(kernels);
  AddControlKernelsCpu(kernels);
  AddNnKernelsCpu(kernels);
  AddMathKernelsCpu(kernels);
  AddRandomKernelsCpu(kernels);
  AddStateKernelsCpu(kernels);
  AddStringKernelsCpu(kernels);
  AddDataKernelsCpu(kernels);
  AddImageKernelsCpu(kernels);
  AddQueueFamilyKernelsCpu(kernels);
  AddCollectiveKernelsCpu(kernels);
}

}  // namespace sluice
