// The assembly point: what libsluice.so is made of.
#include "runtime/c_api/environment.h"

#include "compiler/pass/default_passes.h"
#include "kernels/all/all_kernels.h"
#include "kernels/math/fused.h"
#include "kernels/nn/nn_kernels.h"
#include "ops/all/all_ops.h"
#include "runtime/c_api/host_function.h"

namespace sluice {

void FillProcessEnvironment(ProcessEnvironment* environment) {
  DefineAllOps(environment->ops);
  AddAllKernelsCpu(environment->kernels);
  AddHostFunctionKernels(environment->kernels);
  environment->passes = DefaultPasses();
  const KernelRegistry* kernels = &environment->kernels;
  environment->device_passes = DevicePasses([kernels](const NodeInfo& n) { return CanRunFused(*kernels, n); },
                                            [kernels](const NodeInfo& n) { return CanReduceRows(*kernels, n); },
                                            [kernels](const NodeInfo& n) { return CanUpdateTogether(*kernels, n); });
}

}  // namespace sluice
