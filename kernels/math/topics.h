// The lists that AddMathKernelsCpu is made of: one for each file, so that each compiles quickly.
#ifndef SLUICE_KERNELS_MATH_TOPICS_H_
#define SLUICE_KERNELS_MATH_TOPICS_H_

#include "core/kernel/kernel_registry.h"
#include "kernels/common/element_wise.h"

namespace sluice {

void AddExponentialKernels(KernelRegistry& k);
void AddTrigonometryKernels(KernelRegistry& k);
void AddSignKernels(KernelRegistry& k);
void AddComplexKernels(KernelRegistry& k);
void AddCastKernel(KernelRegistry& k);
void AddSumKernels(KernelRegistry& k);
void AddProductKernels(KernelRegistry& k);
void AddDivisionKernels(KernelRegistry& k);
void AddPowerKernels(KernelRegistry& k);
void AddExtremeKernels(KernelRegistry& k);
void AddBitKernels(KernelRegistry& k);
void AddUnaryGradKernels(KernelRegistry& k);
void AddOrderKernels(KernelRegistry& k);
void AddEqualityKernels(KernelRegistry& k);
void AddSelectKernels(KernelRegistry& k);
void AddSpecialFunctionKernels(KernelRegistry& k);
void AddReductionKernels(KernelRegistry& k);
void AddArgKernels(KernelRegistry& k);
void AddScanKernels(KernelRegistry& k);
void AddSegmentKernels(KernelRegistry& k);
void AddSparseSegmentKernels(KernelRegistry& k);
void AddMatMulKernels(KernelRegistry& k);
void AddMatrixKernels(KernelRegistry& k);
void AddLinearAlgebraKernels(KernelRegistry& k);
void AddSequenceKernels(KernelRegistry& k);
void AddHistogramKernels(KernelRegistry& k);
void AddFusedKernels(KernelRegistry& k);
void AddFusedMatMulKernels(KernelRegistry& k);
void AddFusedRowsKernels(KernelRegistry& k);

// z = x op y for runs of one type, or null: for kernels that join rows.
BinaryLoop SumLoop(DType dtype);
BinaryLoop ProductLoop(DType dtype);
BinaryLoop MaximumLoop(DType dtype);
BinaryLoop MinimumLoop(DType dtype);

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_TOPICS_H_
