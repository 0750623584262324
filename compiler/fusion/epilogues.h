// A product of matrices and the element-wise ops that follow it become one `_FusedMatMul` node: bias, activation and
// the like are computed on parts of the product that are still in a cache.
//
// The ops form a chain, each the only reader of the one before. What they take besides is one element, a row of the
// product's columns, or a tensor of the product's shape when that is known. Nodes with control edges stay by
// themselves.
#ifndef SLUICE_COMPILER_FUSION_EPILOGUES_H_
#define SLUICE_COMPILER_FUSION_EPILOGUES_H_

#include <string>
#include <utility>

#include "compiler/fusion/group.h"
#include "core/graph/pass.h"

namespace sluice {

class EpilogueFusion final : public Pass {
 public:
  // `can_run_fused`: whether a node's kernel can be a member.
  explicit EpilogueFusion(NodePredicate can_run_fused) : can_run_fused_(std::move(can_run_fused)) {}

  std::string name() const override { return "epilogue_fusion"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;

 private:
  const NodePredicate can_run_fused_;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_FUSION_EPILOGUES_H_
