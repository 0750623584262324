// Checks the invariants of a graph after it was imported or rewritten: names, ids, edges known from both ends, types of
// every edge, attributes, resolved ops, no cycle, shapes that agree with the rules, function calls that name functions.
#ifndef SLUICE_CORE_GRAPH_VERIFIER_H_
#define SLUICE_CORE_GRAPH_VERIFIER_H_

#include "absl/status/status.h"
#include "core/graph/graph.h"

namespace sluice {

// The first violation, naming the node, or OK. `infer` also runs each shape rule again (slower).
absl::Status VerifyGraph(const Graph& graph, bool infer = false);

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_VERIFIER_H_
