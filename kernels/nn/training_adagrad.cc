// Adagrad, its kin, and Ftrl.
#include "kernels/nn/nn_kernels.h"
#include "kernels/nn/training_kernel.h"

namespace sluice {

void AddAdagradTrainingCpu(KernelRegistry& k) {
  AddUpdate<AdagradRule>(k, "Adagrad", kAllForms);
  AddUpdate<AdagradV2Rule>(k, "AdagradV2", kAllForms);
  AddUpdate<AdagradDaRule>(k, "AdagradDA", kAllForms);
  AddUpdate<ProximalAdagradRule>(k, "ProximalAdagrad", kAllForms);
  AddUpdate<FtrlRule>(k, "Ftrl", kAllForms);
  AddUpdate<FtrlV2Rule>(k, "FtrlV2", kAllForms);
}

}  // namespace sluice
