// The order of nodes that share state, for tiers in which nodes run at the same time.
//
// Readers of one resource come after the writer before them, a writer after the readers before it and after what uses
// the values they read (so that it updates in place). Two names of one resource count as one; draws of random numbers
// follow each other; a node that may do anything (a stateful call, Print, Python) comes after everything that touches
// state before it and before everything that does after it. So results are those of one thread.
#ifndef SLUICE_RUNTIME_EXECUTOR_STATE_ORDER_H_
#define SLUICE_RUNTIME_EXECUTOR_STATE_ORDER_H_

#include <vector>

#include "core/graph/graph.h"

namespace sluice {

// By the id of a node: others, earlier in `order`, that must have run before it.
std::vector<std::vector<const Node*>> LaneStateOrder(const Graph& graph, const std::vector<Node*>& order);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_STATE_ORDER_H_
