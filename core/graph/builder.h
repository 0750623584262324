// Builds nodes by expressions: the language of gradient rules, passes and tests.
//
//   GraphBuilder b(&graph);
//   Out y = b.Op("Mul", {x, b.Op("Sigmoid", {x})});
//   RETURN_IF_ERROR(b.status());
//
// The first error is kept in status(); every later Out is invalid, so rules read without checks.
// ops/expr/expr.h has a function for each common op, and operators.
#ifndef SLUICE_CORE_GRAPH_BUILDER_H_
#define SLUICE_CORE_GRAPH_BUILDER_H_

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/graph/graph.h"

namespace sluice {

class GraphBuilder;

// A tensor of a graph under construction, with the builder that adds what is computed from it.
class Out {
 public:
  Out() = default;
  Out(GraphBuilder* builder, Endpoint endpoint) : builder_(builder), endpoint_(endpoint) {}
  bool valid() const { return endpoint_.node != nullptr; }
  explicit operator bool() const { return valid(); }
  Endpoint endpoint() const { return endpoint_; }
  Node* node() const { return endpoint_.node; }
  GraphBuilder* builder() const { return builder_; }
  DType dtype() const { return valid() ? BaseType(endpoint_.node->output_type(endpoint_.index)) : DType::kInvalid; }
  PartialShape shape() const { return valid() ? endpoint_.node->output_shape(endpoint_.index) : PartialShape(); }
  // Another output of the same node.
  Out output(int i) const { return Out(builder_, {endpoint_.node, i}); }

 private:
  GraphBuilder* builder_ = nullptr;
  Endpoint endpoint_;
};

class GraphBuilder {
 public:
  explicit GraphBuilder(Graph* graph, std::string scope = "") : graph_(graph), scope_(std::move(scope)) {}

  // Adds a node named scope/op (made unique) and returns its output 0 (an Out of the node for ops without outputs).
  Out Op(absl::string_view op, const std::vector<Out>& inputs, AttrMap attrs = {}, absl::string_view name = "");
  Out Const(Tensor value, absl::string_view name = "");
  Out Scalar(DType dtype, double value);                               // of any number type
  Out Ints(std::vector<int64_t> values, DType dtype = DType::kInt32);  // a vector
  Out Int(int64_t value, DType dtype = DType::kInt32);                 // a scalar

  // New nodes depend on these until changed back.
  void SetControlInputs(std::vector<Node*> nodes) { control_inputs_ = std::move(nodes); }
  void SetDevice(std::string device) { device_ = std::move(device); }
  void SetColocation(std::string node_name) { colocation_ = std::move(node_name); }
  void SetSource(SourceLine source) { source_ = source; }
  void SetScope(std::string scope) { scope_ = std::move(scope); }
  const std::string& scope() const { return scope_; }

  Graph* graph() const { return graph_; }
  const absl::Status& status() const { return status_; }
  // Keeps the first error.
  void Fail(absl::Status status);

 private:
  Graph* graph_;
  std::string scope_;
  std::string device_;
  std::string colocation_;
  SourceLine source_;
  std::vector<Node*> control_inputs_;
  absl::Status status_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_BUILDER_H_
