// Reverse-mode differentiation of a graph: adds the nodes that compute d(sum of ys)/d(xs).
//
// Gradients that meet are added (AddN; sparse ones by concatenation). New nodes are named under `options.scope`, placed
// with the forward node's device, carry its source line, and are colocated with it when asked. Second order works
// because gradient nodes are ordinary nodes.
#ifndef SLUICE_CORE_GRAPH_GRADIENTS_H_
#define SLUICE_CORE_GRAPH_GRADIENTS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/gradient_scope.h"

namespace sluice {

// Replaces the registered rule of a node, for rules written in Python and gradient_override_map. Returns false when it
// has none for this node. It may add nodes to the graph.
using GradientOverride = std::function<absl::StatusOr<bool>(GradientScope& g)>;

struct GradientOptions {
  std::string scope = "gradients";
  bool colocate = false;
  std::vector<Endpoint> stop_gradients;  // taken as constants
  GradientOverride override_rule;
  // Unconnected xs: an invalid Grad when false, zeros when true.
  bool zeros_for_unconnected = false;
  // Aggregation stays in the order of the graph, so results are repeatable.
};

// `grad_ys` is empty or has an entry for each y (an Endpoint without node means ones).
absl::StatusOr<std::vector<Grad>> AddGradients(Graph* graph, const std::vector<Endpoint>& ys,
                                               const std::vector<Endpoint>& xs, const std::vector<Endpoint>& grad_ys,
                                               const GradientOptions& options);

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_GRADIENTS_H_
