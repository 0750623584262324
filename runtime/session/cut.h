// The part of a graph that one signature needs, as a graph of its own: fed tensors become `_Arg` nodes, fetched ones
// get `_Retval` nodes, references are read where values are wanted, and everything that neither fetches nor targets
// need is gone.
#ifndef SLUICE_RUNTIME_SESSION_CUT_H_
#define SLUICE_RUNTIME_SESSION_CUT_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "core/graph/graph.h"
#include "runtime/session/planner.h"

namespace sluice {

struct CutGraph {
  std::unique_ptr<Graph> graph;
  std::vector<FeedCheck> feeds;
  absl::flat_hash_set<std::string> preserve;  // nodes that passes must leave under their names
};

// REQUIRES: the caller holds graph.mu(), at least shared.
absl::StatusOr<CutGraph> CutToSignature(const Graph& graph, const CallableSpec& spec);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_CUT_H_
