// Which nodes a fused kernel can take over.
#ifndef SLUICE_KERNELS_MATH_FUSED_H_
#define SLUICE_KERNELS_MATH_FUSED_H_

#include "core/kernel/kernel_registry.h"

namespace sluice {

// The node's CPU kernel is a loop over elements that cannot fail.
bool CanRunFused(const KernelRegistry& kernels, const NodeInfo& node);
// The node's CPU kernel is a reduction that can join the rows of a tensor.
bool CanReduceRows(const KernelRegistry& kernels, const NodeInfo& node);

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_FUSED_H_
