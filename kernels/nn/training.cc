// Gradient descent, momentum and the sign methods; the list of all optimisers' kernels.
#include "kernels/nn/nn_kernels.h"
#include "kernels/nn/training_kernel.h"

namespace sluice {

void AddTrainingCpu(KernelRegistry& k) {
  AddUpdate<GradientDescentRule>(k, "GradientDescent", kDenseRef | kDenseResource);
  AddUpdate<ProximalGradientDescentRule>(k, "ProximalGradientDescent", kAllForms);
  AddUpdate<MomentumRule>(k, "Momentum", kAllForms);
  AddUpdate<KerasMomentumRule>(k, "KerasMomentum", kDenseResource | kSparseResource);
  AddUpdate<AddSignRule>(k, "AddSign", kDenseRef | kDenseResource);
  AddUpdate<PowerSignRule>(k, "PowerSign", kDenseRef | kDenseResource);
  AddMomentTrainingCpu(k);
  AddAdagradTrainingCpu(k);
  AddTogetherTrainingCpu(k);
}

}  // namespace sluice
