// Kernels that run functions of the host language: PyFunc, PyFuncStateless.
#ifndef SLUICE_RUNTIME_C_API_HOST_FUNCTION_H_
#define SLUICE_RUNTIME_C_API_HOST_FUNCTION_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

void AddHostFunctionKernels(KernelRegistry& kernels);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_C_API_HOST_FUNCTION_H_
