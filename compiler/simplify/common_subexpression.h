// Computes equal expressions once: nodes with the same op, attributes, device, inputs (in any order for commutative
// ops) and control inputs. Nodes with state or side effects are left alone.
#ifndef SLUICE_COMPILER_SIMPLIFY_COMMON_SUBEXPRESSION_H_
#define SLUICE_COMPILER_SIMPLIFY_COMMON_SUBEXPRESSION_H_

#include "core/graph/pass.h"

namespace sluice {

class CommonSubexpression final : public Pass {
 public:
  std::string name() const override { return "common_subexpression"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_SIMPLIFY_COMMON_SUBEXPRESSION_H_
