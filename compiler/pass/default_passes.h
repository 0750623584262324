// The passes every session runs, in order. A session switches one off by its name.
#ifndef SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_
#define SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_

#include <memory>
#include <vector>

#include "compiler/fusion/group.h"
#include "core/graph/pass.h"

namespace sluice {

// constant_folding, arithmetic, common_subexpression, prune, dependency.
std::vector<std::shared_ptr<const Pass>> DefaultPasses();
// What runs on the part of a graph that one device has: layout, epilogue_fusion, row_fusion, fusion, update_fusion. The
// predicates say whether a node's kernel can be a member of a group: as a loop over elements, as a reduction, as an
// update of variables.
std::vector<std::shared_ptr<const Pass>> DevicePasses(NodePredicate element_wise, NodePredicate reduction,
                                                      NodePredicate update);

}  // namespace sluice

#endif  // SLUICE_COMPILER_PASS_DEFAULT_PASSES_H_
