// Kernels of the ops that read, write and decode.
#ifndef SLUICE_KERNELS_DATA_DATA_KERNELS_H_
#define SLUICE_KERNELS_DATA_DATA_KERNELS_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddDataKernelsCpu(KernelRegistry& k);

// The topics, each in a file of its name.
void AddCheckpointKernels(KernelRegistry& k);    // checkpoint.cc
void AddFileKernels(KernelRegistry& k);          // file.cc
void AddDecodeKernels(KernelRegistry& k);        // decode.cc
void AddCsvKernels(KernelRegistry& k);           // csv.cc
void AddExampleKernels(KernelRegistry& k);       // example.cc
void AddPngKernels(KernelRegistry& k);           // png.cc
void AddSummaryKernels(KernelRegistry& k);       // summary.cc: numbers, tensors, merging
void AddMediaSummaryKernels(KernelRegistry& k);  // media_summary.cc: images and sounds

}  // namespace sluice

#endif  // SLUICE_KERNELS_DATA_DATA_KERNELS_H_
