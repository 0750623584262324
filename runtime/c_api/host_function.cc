#include "runtime/c_api/host_function.h"

#include <atomic>

#include "runtime/c_api/internal.h"

namespace sluice {
namespace {

struct Host {
  SL_HostFunction function;
  void* arg;
};
std::atomic<const Host*> host{nullptr};  // replaced ones are kept: a step may be in them

class HostFunctionKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(token_, p.Attr<std::string>("token"));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Host* h = host.load(std::memory_order_acquire);
    if (h == nullptr) return FailedPrecondition(c.node().Describe(), ": no host language is there to run its function");
    std::vector<SL_Tensor> holders(c.num_inputs());
    std::vector<SL_Tensor*> inputs(c.num_inputs());
    for (int i = 0; i < c.num_inputs(); ++i) {
      // The function may keep what it is given.
      ASSIGN_OR_RETURN(holders[i].tensor, c.TakeInput(i));
      inputs[i] = &holders[i];
    }
    std::vector<SL_Tensor*> outputs(c.num_outputs(), nullptr);
    SL_Status status;
    h->function(h->arg, token_.c_str(), inputs.data(), c.num_inputs(), outputs.data(), c.num_outputs(), &status);
    absl::Status result = status.ToStatus();
    for (int i = 0; i < c.num_outputs(); ++i) {
      if (result.ok() && outputs[i] == nullptr)
        result = Internal(c.node().Describe(), ": its function gave no output ", i);
      if (result.ok()) {
        const DType wanted = BaseType(c.node().output_types[i]);
        if (outputs[i]->tensor.dtype() != wanted) {
          result = InvalidArgument(c.node().Describe(), ": output ", i, " of its function is ",
                                   DTypeName(outputs[i]->tensor.dtype()), ", wanted ", DTypeName(wanted));
        } else {
          c.SetOutput(i, outputs[i]->tensor);
        }
      }
      delete outputs[i];
    }
    return result;
  }

 private:
  std::string token_;
};

}  // namespace

void AddHostFunctionKernels(KernelRegistry& kernels) {
  for (const char* op : {"PyFunc", "PyFuncStateless"}) kernels.Add(op, kCpu, KernelDef().Make<HostFunctionKernel>());
}

}  // namespace sluice

void SL_SetHostFunction(SL_HostFunction function, void* arg) {
  sluice::host.store(function == nullptr ? nullptr : new sluice::Host{function, arg}, std::memory_order_release);
}
