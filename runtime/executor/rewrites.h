// Rewrites that every graph needs before it is planned.
#ifndef SLUICE_RUNTIME_EXECUTOR_REWRITES_H_
#define SLUICE_RUNTIME_EXECUTOR_REWRITES_H_

#include <functional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "core/graph/graph.h"

namespace sluice {

// Puts a `_ReadRef` node between a reference and each consumer that wants a value. Readers of one reference with the
// same control inputs share a node, colocated with the variable; others read when their own control inputs have run, as
// their user ordered.
absl::Status InsertReadRefs(Graph* graph);

// Removes every node that no root depends on.
void PruneTo(Graph* graph, absl::FunctionRef<bool(const Node&)> is_root);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_REWRITES_H_
