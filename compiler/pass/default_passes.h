// The passes every session runs, in order. A session switches one off by its name.
#ifndef SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_
#define SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_

#include <memory>
#include <vector>

#include "core/graph/pass.h"

namespace sluice {

// constant_folding, arithmetic, common_subexpression, prune.
std::vector<std::shared_ptr<const Pass>> DefaultPasses();

}  // namespace sluice

#endif  // SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_
