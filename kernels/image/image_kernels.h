// Kernels of the ops on images.
#ifndef SLUICE_KERNELS_IMAGE_IMAGE_KERNELS_H_
#define SLUICE_KERNELS_IMAGE_IMAGE_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddImageKernelsCpu(KernelRegistry& k);

// The topics, each in a file of its name.
void AddJpegKernels(KernelRegistry& k);    // jpeg.cc
void AddResizeKernels(KernelRegistry& k);  // resize.cc
void AddColorKernels(KernelRegistry& k);   // color.cc
void AddBoxKernels(KernelRegistry& k);     // box.cc

}  // namespace sluice

#endif  // SLUICE_KERNELS_IMAGE_IMAGE_KERNELS_H_
