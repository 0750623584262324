#include "kernels/math/math_kernels.h"

#include "kernels/math/topics.h"

namespace sluice {

void AddMathKernelsCpu(KernelRegistry& k) {
  AddExponentialKernels(k);
  AddTrigonometryKernels(k);
  AddSignKernels(k);
  AddComplexKernels(k);
  AddCastKernel(k);
  AddSumKernels(k);
  AddProductKernels(k);
  AddDivisionKernels(k);
  AddPowerKernels(k);
  AddExtremeKernels(k);
  AddBitKernels(k);
  AddUnaryGradKernels(k);
  AddOrderKernels(k);
  AddEqualityKernels(k);
  AddSelectKernels(k);
  AddSpecialFunctionKernels(k);
  AddReductionKernels(k);
  AddArgKernels(k);
  AddScanKernels(k);
  AddSegmentKernels(k);
  AddSparseSegmentKernels(k);
  AddMatMulKernels(k);
  AddMatrixKernels(k);
  AddLinearAlgebraKernels(k);
  AddSequenceKernels(k);
  AddHistogramKernels(k);
  AddFusedKernels(k);
  AddFusedMatMulKernels(k);
  AddFusedRowsKernels(k);
}

}  // namespace sluice
