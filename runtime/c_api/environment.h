// What the C boundary runs on: the ops, kernels and passes of the process. Declared here and defined by whoever
// assembles the library (python/native, a test), so that nothing below has to know the list of all ops.
#ifndef SLUICE_RUNTIME_C_API_ENVIRONMENT_H_
#define SLUICE_RUNTIME_C_API_ENVIRONMENT_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "core/kernel/kernel_registry.h"
#include "core/op/op_registry.h"
#include "runtime/session/session.h"

namespace sluice {

struct ProcessEnvironment {
  OpRegistry ops;
  KernelRegistry kernels;
  std::vector<std::shared_ptr<const Pass>> passes, device_passes;
  absl::Status status;  // the first mistake of a definition

  Environment view() const { return {&ops, &kernels, passes, device_passes}; }
};

// Made by the first call and kept to the end of the process.
ProcessEnvironment& GetProcessEnvironment();

// Fills an environment: the assembly point's part.
void FillProcessEnvironment(ProcessEnvironment* environment);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_C_API_ENVIRONMENT_H_
