#include "compiler/pass/default_passes.h"

#include <utility>

#include "compiler/fusion/element_wise.h"
#include "compiler/fusion/epilogues.h"
#include "compiler/fusion/rows.h"
#include "compiler/fusion/updates.h"
#include "compiler/layout/channels_last.h"
#include "compiler/simplify/arithmetic.h"
#include "compiler/simplify/common_subexpression.h"
#include "compiler/simplify/constant_folding.h"
#include "compiler/simplify/dependency.h"
#include "compiler/simplify/prune.h"

namespace sluice {

std::vector<std::shared_ptr<const Pass>> DefaultPasses() {
  return {std::make_shared<ConstantFolding>(), std::make_shared<ArithmeticSimplification>(),
          std::make_shared<CommonSubexpression>(), std::make_shared<Prune>(), std::make_shared<DependencyReduction>()};
}

std::vector<std::shared_ptr<const Pass>> DevicePasses(NodePredicate element_wise, NodePredicate reduction,
                                                      NodePredicate update) {
  return {std::make_shared<ChannelsLast>(), std::make_shared<EpilogueFusion>(element_wise),
          std::make_shared<RowFusion>(element_wise, std::move(reduction)),
          std::make_shared<ElementWiseFusion>(std::move(element_wise)),
          std::make_shared<UpdateFusion>(std::move(update))};
}

}  // namespace sluice
