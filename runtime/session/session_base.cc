#include "runtime/session/session_base.h"

#include "core/base/status.h"

namespace sluice {

absl::StatusOr<std::vector<Tensor>> SessionBase::Run(const std::vector<std::pair<std::string, Tensor>>& feeds,
                                                     const std::vector<std::string>& fetches,
                                                     const std::vector<std::string>& targets, const RunOptions& options,
                                                     RunMetadata* metadata) {
  CallableSpec spec;
  std::vector<Tensor> values;
  for (const auto& [name, value] : feeds) {
    spec.feeds.push_back(name);
    values.push_back(value);
  }
  spec.fetches = fetches;
  spec.targets = targets;
  ASSIGN_OR_RETURN(std::shared_ptr<Callable> callable, MakeCallable(spec));
  std::vector<Tensor> results;
  RETURN_IF_ERROR(RunCallable(*callable, values, &results, options, metadata));
  return results;
}

}  // namespace sluice
