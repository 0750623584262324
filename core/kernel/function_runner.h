// Runs functions of the graph on behalf of kernels (PartitionedCall, If, While ...). Implemented by the runtime.
#ifndef SLUICE_CORE_KERNEL_FUNCTION_RUNNER_H_
#define SLUICE_CORE_KERNEL_FUNCTION_RUNNER_H_

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "core/op/attr_value.h"
#include "core/types/tensor.h"

namespace sluice {

class KernelContext;

class FunctionRunner {
 public:
  using Handle = int;
  virtual ~FunctionRunner() = default;
  // Plans the function (once for each name and attributes). Called from Prepare.
  virtual absl::StatusOr<Handle> Instantiate(const FuncRef& function) = 0;
  virtual int num_results(Handle handle) const = 0;
  // The function may wait for something outside its caller (it dequeues, receives): do not run it where waiting is
  // forbidden.
  virtual bool MayBlock(Handle handle) const = 0;
  // Runs it within the caller's step, on the calling thread where it can.
  virtual absl::Status Run(Handle handle, KernelContext& caller, std::vector<Tensor> args,
                           std::vector<Tensor>* results) = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_KERNEL_FUNCTION_RUNNER_H_
