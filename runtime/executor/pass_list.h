// The passes that are switched on, run in order on one graph.
#ifndef SLUICE_RUNTIME_EXECUTOR_PASS_LIST_H_
#define SLUICE_RUNTIME_EXECUTOR_PASS_LIST_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/graph/pass.h"

namespace sluice {

struct PassList {
  std::vector<std::shared_ptr<const Pass>> passes;
  bool dump = false;  // before/after text of each pass that changed something, to stderr

  // Without those whose name is among `disabled`.
  static PassList Enabled(const std::vector<std::shared_ptr<const Pass>>& passes,
                          const std::vector<std::string>& disabled);
  // Verifies the graph after each pass in debug builds. Errors name the pass.
  absl::Status Run(Graph* graph, const PassContext& context) const;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_PASS_LIST_H_
