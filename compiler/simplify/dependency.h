// Removes control edges that say what other edges say already.
//
//   b = Neg(a);  c = Exp(b, ^a)   ->   c = Exp(b)
//
// A control edge from c to n goes when n reads something that waits for c anyway, or when c is a constant that waits
// for nothing. A path through a Merge, or in or out of a frame, is no proof: a Merge does not wait for all of its
// inputs.
#ifndef SLUICE_COMPILER_SIMPLIFY_DEPENDENCY_H_
#define SLUICE_COMPILER_SIMPLIFY_DEPENDENCY_H_

#include "core/graph/pass.h"

namespace sluice {

class DependencyReduction final : public Pass {
 public:
  std::string name() const override { return "dependency"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_SIMPLIFY_DEPENDENCY_H_
