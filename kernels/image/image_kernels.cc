#include "kernels/image/image_kernels.h"

namespace sluice {

void AddImageKernelsCpu(KernelRegistry& k) {
  AddJpegKernels(k);
  AddResizeKernels(k);
  AddColorKernels(k);
  AddBoxKernels(k);
}

}  // namespace sluice
