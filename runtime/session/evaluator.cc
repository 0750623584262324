#include "runtime/session/evaluator.h"

#include <utility>

#include "core/base/status.h"

namespace sluice {
namespace {

absl::StatusOr<std::vector<Tensor>> Evaluate(const KernelRegistry& kernels, Device* device, const NodeInfo& node,
                                             std::vector<Tensor> inputs) {
  if (node.op->traits & (kStateful | kReadsState | kWritesState | kBlocking | kSource)) {
    return Unimplemented(node.Describe(), ": depends on more than its inputs");
  }
  if (kernels.Find(node, device->type()) == nullptr)
    return Unimplemented(node.Describe(), ": no kernel on ", device->type());
  ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, kernels.MakeKernel(node, device->type()));
  ResourceStore resources;
  CancellationToken cancellation;
  PrepareContext prepare;
  prepare.info = &node;
  prepare.device = device;
  prepare.resources = &resources;
  for (const Tensor& t : inputs) {
    prepare.input_shapes.push_back(t.shape());
    prepare.constant_inputs.push_back(&t);
  }
  prepare.output_shapes.resize(node.output_types.size());
  RETURN_IF_ERROR(kernel->Prepare(prepare));
  if (kernel->IsAsync()) return Unimplemented(node.Describe(), ": may wait");
  StepContext step;
  step.device = device;
  step.pool = device->pool();
  step.resources = &resources;
  step.cancellation = &cancellation;
  std::vector<Tensor> outputs(node.output_types.size());
  std::vector<Tensor*> operands;
  for (Tensor& t : inputs) operands.push_back(&t);
  for (Tensor& t : outputs) operands.push_back(&t);
  KernelContext context;
  context.Bind(&step, &node, operands.data(), static_cast<int>(inputs.size()), operands.data() + inputs.size(),
               static_cast<int>(outputs.size()), nullptr, 0);
  RETURN_IF_ERROR(kernel->Run(context));
  return outputs;
}

}  // namespace

NodeEvaluator MakeEvaluator(const KernelRegistry* kernels, Device* device) {
  return [kernels, device](const NodeInfo& node, const std::vector<Tensor>& inputs) {
    return Evaluate(*kernels, device, node, inputs);
  };
}

}  // namespace sluice
