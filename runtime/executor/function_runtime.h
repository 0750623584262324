// Plans and runs the functions of a graph for the kernels of one device. A function is planned once for each name, as a
// step of its own that runs inside the caller's: same cancellation, same resources, on the calling thread.
//
// Threads: Instantiate while one thread plans; Run from any thread.
// Lifetime: outlives the plans whose kernels hold its handles.
#ifndef SLUICE_RUNTIME_EXECUTOR_FUNCTION_RUNTIME_H_
#define SLUICE_RUNTIME_EXECUTOR_FUNCTION_RUNTIME_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/graph/function.h"
#include "core/kernel/function_runner.h"
#include "core/kernel/kernel_registry.h"
#include "runtime/executor/step.h"

namespace sluice {

class FunctionRuntime final : public FunctionRunner {
 public:
  // Shares the functions of `library`, and plans them for `environment`.
  FunctionRuntime(const FunctionLibrary& library, const OpRegistry* ops, PlanEnvironment environment);

  absl::StatusOr<Handle> Instantiate(const FuncRef& function) override;
  int num_results(Handle handle) const override;
  bool MayBlock(Handle handle) const override;
  absl::Status Run(Handle handle, KernelContext& caller, std::vector<Tensor> args,
                   std::vector<Tensor>* results) override;

  std::string Dump() const;

 private:
  struct Instance {
    std::string name;
    int num_args = 0;
    int num_results = 0;
    std::unique_ptr<StepPlan> plan;  // null while it is being planned
  };
  absl::Status Plan(const Function& function, Instance* instance);

  Graph functions_;  // keeps the library
  PlanEnvironment environment_;
  std::vector<std::unique_ptr<Instance>> instances_;
  absl::flat_hash_map<std::string, Handle> by_name_;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_FUNCTION_RUNTIME_H_
