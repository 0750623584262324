#include "kernels/math/exponential.h"

#include "kernels/common/element_wise.h"
#include "kernels/math/topics.h"

namespace sluice {

void AddExponentialKernels(KernelRegistry& k) {
  k.Add("Sqrt", kCpu, UnaryOnCpu<SqrtFunction>());
  k.Add("Rsqrt", kCpu, UnaryOnCpu<RsqrtFunction>());
  k.Add("Exp", kCpu, UnaryOnCpu<ExpFunction>());
  k.Add("Expm1", kCpu, UnaryOnCpu<Expm1Function>());
  k.Add("Log", kCpu, UnaryOnCpu<LogFunction>());
  k.Add("Log1p", kCpu, UnaryOnCpu<Log1pFunction>());
  k.Add("Tanh", kCpu, UnaryOnCpu<TanhFunction>());
  k.Add("Sigmoid", kCpu, UnaryOnCpu<SigmoidFunction>());
  k.Add("Erf", kCpu, UnaryOnCpu<ErfFunction>());
}

void AddUnaryGradKernels(KernelRegistry& k) {
  k.Add("SqrtGrad", kCpu, BinaryOnCpu<SqrtGradFunction>());
  k.Add("RsqrtGrad", kCpu, BinaryOnCpu<RsqrtGradFunction>());
  k.Add("ReciprocalGrad", kCpu, BinaryOnCpu<ReciprocalGradFunction>());
  k.Add("InvGrad", kCpu, BinaryOnCpu<ReciprocalGradFunction>());
  k.Add("SigmoidGrad", kCpu, BinaryOnCpu<SigmoidGradFunction>());
  k.Add("TanhGrad", kCpu, BinaryOnCpu<TanhGradFunction>());
}

}  // namespace sluice
