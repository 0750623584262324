// A rewrite of a graph: graph in, graph out, says whether it changed anything.
#ifndef SLUICE_CORE_GRAPH_PASS_H_
#define SLUICE_CORE_GRAPH_PASS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "core/graph/graph.h"

namespace sluice {

// Runs a node on known inputs while a graph is optimised; given by the session so that passes need no kernels of their
// own. UNIMPLEMENTED when there is no kernel.
using NodeEvaluator =
    std::function<absl::StatusOr<std::vector<Tensor>>(const NodeInfo& node, const std::vector<Tensor>& inputs)>;

struct PassContext {
  // Nodes that must stay under their name: feeds, fetches, targets.
  absl::flat_hash_set<std::string> preserve;
  NodeEvaluator evaluate;  // may be empty
  int64_t max_folded_bytes = 10 << 20;
};

class Pass {
 public:
  virtual ~Pass() = default;
  virtual std::string name() const = 0;  // how options switch it: "constant_folding"
  virtual absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_PASS_H_
