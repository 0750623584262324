// Removes what no preserved node needs, by data or control.
#ifndef SLUICE_COMPILER_SIMPLIFY_PRUNE_H_
#define SLUICE_COMPILER_SIMPLIFY_PRUNE_H_

#include "core/graph/pass.h"

namespace sluice {

class Prune final : public Pass {
 public:
  std::string name() const override { return "prune"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_SIMPLIFY_PRUNE_H_
