// What the fusion passes share: which nodes may go into a group, and how a group becomes one node.
#ifndef SLUICE_COMPILER_FUSION_GROUP_H_
#define SLUICE_COMPILER_FUSION_GROUP_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/graph/pass.h"

namespace sluice {

using NodePredicate = std::function<bool(const NodeInfo&)>;

inline constexpr int kMaxFusedMembers = 64;

// One output under no promised name, no control edges and no references.
bool IsFreeToFuse(const Node& n, const PassContext& context);

// A bias along the last axis, of the length that the kernel would ask for: as a member it is an addition.
bool IsRowBias(const Node& n);

// The first inputs of a member are its operands; the axes of a reduction are none.
int NumFusedOperands(const Node& n);

// Whether the kernels' blocks hold the group's inputs and the values that are alive at once. `order` is topological.
bool FitsFusedKernel(const std::vector<Node*>& order);

// Puts a node of the op `op` in the place of the last node of `order`, whose other results nobody else reads, and
// removes them all. `attrs` are those beyond the inputs, the type and the program. With a `head`, whose only readers
// are in `order`, that node goes too: its inputs come first, and its result is what instructions read as input 0.
absl::StatusOr<Node*> ReplaceByFused(Graph* graph, const std::vector<Node*>& order, const std::string& op,
                                     AttrMap attrs, Node* head = nullptr);

}  // namespace sluice

#endif  // SLUICE_COMPILER_FUSION_GROUP_H_
