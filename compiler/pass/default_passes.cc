#include "compiler/pass/default_passes.h"

#include <utility>

#include "compiler/simplify/arithmetic.h"
#include "compiler/simplify/common_subexpression.h"
#include "compiler/simplify/constant_folding.h"
#include "compiler/simplify/prune.h"

namespace sluice {

std::vector<std::shared_ptr<const Pass>> DefaultPasses() {
  return {std::make_shared<ConstantFolding>(), std::make_shared<ArithmeticSimplification>(),
          std::make_shared<CommonSubexpression>(), std::make_shared<Prune>()};
}

std::vector<std::shared_ptr<const Pass>> DevicePasses(ElementWiseFusion::CanRunFused can_run_fused) {
  return {std::make_shared<ElementWiseFusion>(std::move(can_run_fused))};
}

}  // namespace sluice
