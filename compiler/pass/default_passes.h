// The passes every session runs, in order. A session switches one off by its name.
#ifndef SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_
#define SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_

#include <memory>
#include <vector>

#include "compiler/fusion/element_wise.h"
#include "core/graph/pass.h"

namespace sluice {

// constant_folding, arithmetic, common_subexpression, prune.
std::vector<std::shared_ptr<const Pass>> DefaultPasses();
// What runs on the part of a graph that one device has: fusion.
std::vector<std::shared_ptr<const Pass>> DevicePasses(ElementWiseFusion::CanRunFused can_run_fused);

}  // namespace sluice

#endif  // SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_
