// Kernels of the ops on strings.
#ifndef SLUICE_KERNELS_STRING_STRING_KERNELS_H_
#define SLUICE_KERNELS_STRING_STRING_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddStringKernelsCpu(KernelRegistry& k);

// The topics, each in a file of its name.
void AddStringTextKernels(KernelRegistry& k);    // text.cc
void AddRegexKernels(KernelRegistry& k);         // regex.cc
void AddStringFormatKernels(KernelRegistry& k);  // format.cc
void AddStringJoinKernels(KernelRegistry& k);    // join.cc
void AddStringSplitKernels(KernelRegistry& k);   // split.cc
void AddStringNumberKernels(KernelRegistry& k);  // number.cc

}  // namespace sluice

#endif  // SLUICE_KERNELS_STRING_STRING_KERNELS_H_
