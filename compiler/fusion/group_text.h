// What a pass that fuses has made of a graph, in words, for its tests.
#ifndef SLUICE_COMPILER_FUSION_GROUP_TEXT_H_
#define SLUICE_COMPILER_FUSION_GROUP_TEXT_H_

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/graph/pass.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "ops/all/test_ops.h"

namespace sluice {

// One line for each node of the graph `text` that is left after the pass, and is shown:
// "name = op(inputs) [program] [rows of n] [shape]". Or the error.
inline std::string GroupsAfter(const Pass& pass, absl::string_view text, const PassContext& context,
                               absl::FunctionRef<bool(const Node&)> shown) {
  Graph graph(&TestOps());
  absl::Status parsed = ParseGraphText(text, &graph);
  if (!parsed.ok()) return std::string(parsed.message());
  absl::StatusOr<bool> changed = pass.Run(&graph, context);
  if (!changed.ok()) return std::string(changed.status().message());
  absl::Status verified = VerifyGraph(graph, /*infer=*/true);
  if (!verified.ok()) return std::string(verified.message());
  std::string out;
  absl::StatusOr<std::vector<Node*>> order = graph.TopologicalOrder();
  if (!order.ok()) return "a cycle";
  for (const Node* n : *order) {
    if (!shown(*n)) continue;
    absl::StrAppend(&out, n->name(), " = ", n->op().name, "(");
    for (int i = 0; i < n->num_inputs(); ++i) absl::StrAppend(&out, i == 0 ? "" : ", ", n->input(i).node->name());
    absl::StrAppend(&out, ")");
    if (const AttrValue* program = n->attrs().Find("program")) {
      for (const FuncRef& f : *program->As<std::vector<FuncRef>>()) absl::StrAppend(&out, " ", f.name);
      const auto& operands = *n->attrs().Find("operands")->As<std::vector<int64_t>>();
      for (int64_t o : operands) absl::StrAppend(&out, " ", o);
      if (const AttrValue* row = n->attrs().Find("row")) {
        absl::StrAppend(&out, " rows of ", *row->As<int64_t>(), " ", n->output_shape(0).ToString());
      }
    }
    absl::StrAppend(&out, "\n");
  }
  return out;
}

}  // namespace sluice

#endif  // SLUICE_COMPILER_FUSION_GROUP_TEXT_H_
