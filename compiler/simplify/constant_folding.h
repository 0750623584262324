// Replaces what can be computed now by constants: nodes whose inputs are all constants, and integer tensors (shapes,
// sizes) whose elements shape inference knows. A node whose evaluation fails stays, so that its error appears when it
// runs.
#ifndef SLUICE_COMPILER_SIMPLIFY_CONSTANT_FOLDING_H_
#define SLUICE_COMPILER_SIMPLIFY_CONSTANT_FOLDING_H_

#include "core/graph/pass.h"

namespace sluice {

class ConstantFolding final : public Pass {
 public:
  std::string name() const override { return "constant_folding"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_SIMPLIFY_CONSTANT_FOLDING_H_
