// The text form of graphs, for tests, dumps of passes and people.
//
//   x = Placeholder(dtype=float, shape=[2,?])
//   w = Const(value=float[2,2]{1,2,3,4}) @/device:CPU:1
//   y = MatMul(x, w:0, transpose_b=true, ^init) -> [2,2]
//
// One node a line (or separated by ';'): name = Op(inputs and ^controls, attributes) @device. `# ...` is a comment, "->
// shapes" is printed and ignored when read. Inputs come first; attributes with their default are not printed.
#ifndef SLUICE_CORE_GRAPH_TEXT_H_
#define SLUICE_CORE_GRAPH_TEXT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"

namespace sluice {

struct TextOptions {
  bool shapes = false;
  bool devices = true;
  int tensor_elements = 8;
};
// In topological order.
std::string GraphToText(const Graph& graph, const TextOptions& options = {});
std::string NodeToText(const Node& node, const TextOptions& options = {});
absl::Status ParseGraphText(absl::string_view text, Graph* graph);

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_TEXT_H_
