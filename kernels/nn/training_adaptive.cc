// Optimisers with moments of the gradient.
#include "kernels/nn/nn_kernels.h"
#include "kernels/nn/training_kernel.h"

namespace sluice {

void AddMomentTrainingCpu(KernelRegistry& k) {
  AddUpdate<AdamRule>(k, "Adam", kDenseRef | kDenseResource);
  AddUpdate<AmsgradRule>(k, "AdamWithAmsgrad", kDenseResource);
  AddUpdate<AdaMaxRule>(k, "AdaMax", kDenseRef | kDenseResource);
  AddUpdate<RmsPropRule>(k, "RMSProp", kAllForms);
  AddUpdate<CenteredRmsPropRule>(k, "CenteredRMSProp", kAllForms);
  AddUpdate<AdadeltaRule>(k, "Adadelta", kAllForms);
}

}  // namespace sluice
