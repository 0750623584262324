// Runs single nodes on known inputs, for passes that fold constants.
#ifndef SLUICE_RUNTIME_SESSION_EVALUATOR_H_
#define SLUICE_RUNTIME_SESSION_EVALUATOR_H_

#include "core/device/device.h"
#include "core/graph/pass.h"
#include "core/kernel/kernel_registry.h"

namespace sluice {

// UNIMPLEMENTED for nodes without a kernel on `device`, with state, or that wait. Both must outlive the evaluator.
NodeEvaluator MakeEvaluator(const KernelRegistry* kernels, Device* device);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_EVALUATOR_H_
