#include "kernels/nn/activation.h"

#include "kernels/common/element_wise.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {

void AddActivationsCpu(KernelRegistry& k) {
  k.Add("Relu", kCpu, UnaryOnCpu<Relu>());
  k.Add("ReluGrad", kCpu, BinaryOnCpu<ReluGrad>());
  k.Add("Relu6", kCpu, UnaryOnCpu<Relu6>());
  k.Add("Relu6Grad", kCpu, BinaryOnCpu<Relu6Grad>());
  k.Add("LeakyRelu", kCpu, UnaryOnCpu<LeakyRelu>());
  k.Add("LeakyReluGrad", kCpu, BinaryOnCpu<LeakyReluGrad>());
  k.Add("Elu", kCpu, UnaryOnCpu<Elu>());
  k.Add("EluGrad", kCpu, BinaryOnCpu<EluGrad>());
  k.Add("Selu", kCpu, UnaryOnCpu<Selu>());
  k.Add("SeluGrad", kCpu, BinaryOnCpu<SeluGrad>());
  k.Add("Softplus", kCpu, UnaryOnCpu<Softplus>());
  k.Add("SoftplusGrad", kCpu, BinaryOnCpu<SoftplusGrad>());
  k.Add("Softsign", kCpu, UnaryOnCpu<Softsign>());
  k.Add("SoftsignGrad", kCpu, BinaryOnCpu<SoftsignGrad>());
}

}  // namespace sluice
