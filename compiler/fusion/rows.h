// Ops on the rows of a tensor become one `_FusedRows` node, which reads and writes memory once: element-wise ops and
// reductions over the last axis that feed each other, as in a layer normalisation or a softmax written out.
//
//   h = x + r;  m = Mean(h, -1, keep_dims);  c = h - m;  v = Mean(Square(c), -1, keep_dims);  y = c * Rsqrt(v + e) * g
//   + b
//
// A group has one output and at least one reduction. A node joins when every reader of its result is in the group
// already, and its result is a row of a known length, or one number, for each row of the output.
#ifndef SLUICE_COMPILER_FUSION_ROWS_H_
#define SLUICE_COMPILER_FUSION_ROWS_H_

#include <string>
#include <utility>

#include "compiler/fusion/group.h"
#include "core/graph/pass.h"

namespace sluice {

class RowFusion final : public Pass {
 public:
  // Whether a node's kernel can be a member: as a loop over elements, as a reduction.
  RowFusion(NodePredicate element_wise, NodePredicate reduction)
      : element_wise_(std::move(element_wise)), reduction_(std::move(reduction)) {}

  std::string name() const override { return "row_fusion"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;

 private:
  const NodePredicate element_wise_, reduction_;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_FUSION_ROWS_H_
