// Algebraic simplification by a table of rules. Every rule is exact: results keep their bits, including the sign of
// zero and NaN.
//
// A rule matches one node and says which tensor replaces its output 0; it may add nodes. To add a rule, add a row to
// the table in arithmetic.cc and a case to arithmetic_test.cc.
#ifndef SLUICE_COMPILER_SIMPLIFY_ARITHMETIC_H_
#define SLUICE_COMPILER_SIMPLIFY_ARITHMETIC_H_

#include <string>
#include <vector>

#include "core/graph/pass.h"

namespace sluice {

class ArithmeticSimplification final : public Pass {
 public:
  std::string name() const override { return "arithmetic"; }
  absl::StatusOr<bool> Run(Graph* graph, const PassContext& context) const override;
  // "x * 1 = x" and so on, for the documentation.
  static std::vector<std::string> RuleNames();
};

}  // namespace sluice

#endif  // SLUICE_COMPILER_SIMPLIFY_ARITHMETIC_H_
