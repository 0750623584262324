// The updates of several small variables by one rule of an optimiser become one `_FusedUpdates` node, which takes the
// locks, reads the hyper-parameters and divides the elements among threads once for all.
//
// Members have the same op, attributes and hyper-parameters, and none waits for another. An update of many elements
// stays by itself: it is a task for a thread, and its gradient would be kept for longer.
#ifndef SLUICE_COMPILER_FUSION_UPDATES_H_
#define SLUICE_COMPILER_FUSION_UPDATES_H_

#include <string>
#include <utility>

#include "compiler/fusion/group.h"
#include "core/graph/pass.h"

namespace sluice {

class UpdateFusion final : public Pass {
 public:
  // `can_update_together`: whether a node's kernel can run as a member.
  explicit UpdateFusion(NodePredicate can_update_together) : can_update_together_(std::move(can_update_together)) {}

  std::string name() const override { return "update_fusion"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;

 private:
  const NodePredicate can_update_together_;
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_FUSION_UPDATES_H_
