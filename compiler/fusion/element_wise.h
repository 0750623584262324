// Element-wise ops that feed each other become one `_Fused` node, which reads and writes memory once.
//
// A group has one output: a node joins when every reader of its result is in the group already. So no value is computed
// twice, nothing outside can be between two members, and the order of state is kept. Members have the shape of the
// output, as far as shapes are known. Nodes with control edges stay by themselves.
#ifndef SLUICE_COMPILER_FUSION_ELEMENT_WISE_H_
#define SLUICE_COMPILER_FUSION_ELEMENT_WISE_H_

#include <functional>
#include <string>
#include <utility>

#include "core/graph/pass.h"

namespace sluice {

class ElementWiseFusion final : public Pass {
 public:
  // Whether a node's kernel can be a member.
  using CanRunFused = std::function<bool(const NodeInfo&)>;
  explicit ElementWiseFusion(CanRunFused can_run_fused) : can_run_fused_(std::move(can_run_fused)) {}

  std::string name() const override { return "fusion"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;

 private:
  const CanRunFused can_run_fused_;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_FUSION_ELEMENT_WISE_H_
