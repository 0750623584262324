#include "runtime/executor/pass_list.h"

#include <algorithm>
#include <cstdio>

#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"

namespace sluice {
namespace {

#ifdef NDEBUG
constexpr bool kVerifyPasses = false;
#else
constexpr bool kVerifyPasses = true;
#endif

}  // namespace

PassList PassList::Enabled(const std::vector<std::shared_ptr<const Pass>>& passes,
                           const std::vector<std::string>& disabled) {
  PassList list;
  for (const auto& pass : passes) {
    if (std::find(disabled.begin(), disabled.end(), pass->name()) == disabled.end()) list.passes.push_back(pass);
  }
  return list;
}

absl::Status PassList::Run(Graph* graph, const PassContext& context) const {
  for (const auto& pass : passes) {
    const std::string before = dump ? GraphToText(*graph) : "";
    absl::StatusOr<bool> changed = pass->Run(graph, context);
    if (!changed.ok()) return Annotate(changed.status(), absl::StrCat("pass ", pass->name(), ": "));
    if (*changed && dump) {
      std::fprintf(stderr, "# before %s\n%s# after %s\n%s\n", pass->name().c_str(), before.c_str(),
                   pass->name().c_str(), GraphToText(*graph).c_str());
    }
    if (kVerifyPasses) {
      absl::Status valid = VerifyGraph(*graph);
      if (!valid.ok()) return Annotate(valid, absl::StrCat("pass ", pass->name(), " broke the graph: "));
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice
