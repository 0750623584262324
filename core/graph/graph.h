// A dataflow graph: nodes, the tensors that flow between them, and the order that control edges add.
//
//   Graph g(&registry);
//   NodeSpec add{"Add", "sum"};
//   add.inputs = {{x, 0}, {y, 0}};
//   ASSIGN_OR_RETURN(Node* sum, g.AddNode(std::move(add)));   // types, defaults and shapes are worked out here
//
// AddNode checks attributes and types and runs the shape rule, so that a mistake is reported at the line that made the
// node.
//
// Threads: not safe; whoever shares a graph guards it (mu()).
// Ownership: the graph owns its nodes; Node* stay valid until RemoveNode or the end of the graph.
#ifndef SLUICE_CORE_GRAPH_GRAPH_H_
#define SLUICE_CORE_GRAPH_GRAPH_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/container/node_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "core/op/node_info.h"
#include "core/op/op_registry.h"
#include "core/op/shape_context.h"

namespace sluice {

class Node;
class FunctionLibrary;

// Output `index` of `node`.
struct Endpoint {
  Node* node = nullptr;
  int index = 0;
  friend bool operator==(const Endpoint& a, const Endpoint& b) { return a.node == b.node && a.index == b.index; }
  template <typename H>
  friend H AbslHashValue(H h, const Endpoint& e) {
    return H::combine(std::move(h), e.node, e.index);
  }
};

// A data edge as seen from its source; control edges are listed apart.
struct OutEdge {
  Node* to = nullptr;
  int input = 0;   // which input of `to`
  int output = 0;  // which output of the source
};

class Node {
 public:
  int id() const { return id_; }  // dense in order of creation, never reused
  const NodeInfo& info() const { return info_; }
  const std::string& name() const { return info_.name; }
  const OpDef& op() const { return *info_.op; }
  const AttrMap& attrs() const { return info_.attrs; }
  bool Is(uint32_t traits) const { return info_.op->Is(traits); }

  int num_inputs() const { return static_cast<int>(inputs_.size()); }
  const Endpoint& input(int i) const { return inputs_[i]; }
  absl::Span<const Endpoint> inputs() const { return inputs_; }
  absl::Span<Node* const> control_inputs() const { return control_inputs_; }
  int num_outputs() const { return static_cast<int>(info_.output_types.size()); }
  DType input_type(int i) const { return info_.input_types[i]; }
  DType output_type(int i) const { return info_.output_types[i]; }
  const PartialShape& output_shape(int i) const { return output_shapes_[i]; }
  absl::Span<const OutEdge> out_edges() const { return out_edges_; }
  absl::Span<Node* const> control_outputs() const { return control_outputs_; }
  // What is known of the elements of an integer output, and of the contents behind a resource output.
  const PartialValue* output_value(int i) const;
  const HandleData* output_handle(int i) const;

  // The device the placer chose, empty before.
  const std::string& assigned_device() const { return assigned_device_; }
  void set_assigned_device(std::string device) { assigned_device_ = std::move(device); }

 private:
  friend class Graph;
  int id_ = 0;
  NodeInfo info_;
  absl::InlinedVector<Endpoint, 3> inputs_;
  absl::InlinedVector<Node*, 1> control_inputs_;
  std::vector<PartialShape> output_shapes_;
  std::vector<OutEdge> out_edges_;
  std::vector<Node*> control_outputs_;
  struct Facts {
    std::optional<PartialValue> value;
    std::optional<HandleData> handle;
  };
  std::unique_ptr<std::vector<Facts>> facts_;  // only for nodes that have some
  std::string assigned_device_;
};

// What AddNode needs. Types and defaults of attributes that follow from the inputs may be left out.
struct NodeSpec {
  std::string op;
  std::string name;  // taken as it is; must be free and well formed
  std::vector<Endpoint> inputs;
  std::vector<Node*> control_inputs;
  AttrMap attrs;
  std::string device;
  SourceLine source;
};

class Graph {
 public:
  explicit Graph(const OpRegistry* ops);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  const OpRegistry& ops() const { return *ops_; }

  // Errors name op, node and the user's line, what was found and wanted, and leave the graph unchanged.
  absl::StatusOr<Node*> AddNode(NodeSpec spec);
  // As AddNode with the name made free by appending _1, _2 ...
  absl::StatusOr<Node*> AddNodeUniqueName(NodeSpec spec);
  std::string UniqueName(absl::string_view prefix) const;

  Node* Find(absl::string_view name) const;  // null when there is none
  Node* FindById(int id) const;
  // Live nodes in order of creation.
  std::vector<Node*> nodes() const;
  int num_nodes() const { return static_cast<int>(by_name_.size()); }
  int num_node_ids() const { return static_cast<int>(nodes_.size()); }

  absl::Status AddControlEdge(Node* from, Node* to);
  void RemoveControlEdge(Node* from, Node* to);
  // Type and shape must be compatible. `shapes_follow`: run the shape rules of what depends on it again.
  absl::Status UpdateInput(Node* node, int input, Endpoint source);
  // The same for many edges, in linear time however many readers a tensor has. All or, after an error, none.
  // REQUIRES: each input at most once.
  struct InputChange {
    Node* node;
    int input;
    Endpoint source;
  };
  absl::Status UpdateInputs(absl::Span<const InputChange> changes);
  // Moves every data consumer of `from` to `to`, except `keep`.
  absl::Status ReplaceEndpoint(Endpoint from, Endpoint to, const Node* keep = nullptr);
  // REQUIRES: no data consumer left. Control dependents inherit its control inputs.
  void RemoveNode(Node* node);
  void SetAttr(Node* node, absl::string_view name, AttrValue value);
  void SetDevice(Node* node, std::string device);
  // Merges what the caller knows into the inferred shape; an error when they contradict.
  absl::Status RefineShape(Endpoint endpoint, const PartialShape& shape);
  // Runs the shape rule of the node once more, keeping what was known.
  absl::Status InferShapes(Node* node);

  // Topological order over data and control edges (edges out of NextIteration are left out, since they close loops),
  // ties by id. An error names the nodes of a cycle.
  absl::StatusOr<std::vector<Node*>> TopologicalOrder() const;

  // A deep copy: same names, ids renumbered densely. `keep` (when given) selects nodes; inputs of a kept node must be
  // kept.
  absl::StatusOr<std::unique_ptr<Graph>> Clone(absl::FunctionRef<bool(const Node&)> keep) const;

  FunctionLibrary& functions() { return *functions_; }
  const FunctionLibrary& functions() const { return *functions_; }

  // Grows with each addition / each change of an existing node. Plans are cached by the second.
  int64_t version() const { return version_; }
  int64_t mutations() const { return mutations_.load(std::memory_order_acquire); }  // may be read without the lock

  // One copy of each string for the life of the graph (file and function names of source lines).
  const std::string* Intern(absl::string_view s);

  // GraphDef.versions.producer of what was imported, for ops whose meaning changed.
  int producer = 1087;
  absl::Mutex& mu() const ABSL_LOCK_RETURNED(mu_) { return mu_; }

 private:
  absl::Status Resolve(NodeSpec* spec, Node* node) const;
  static absl::Status CheckInput(const Node& node, int input, Endpoint source);

  const OpRegistry* ops_;
  std::vector<std::unique_ptr<Node>> nodes_;  // null where removed
  absl::flat_hash_map<absl::string_view, Node*> by_name_;
  mutable absl::flat_hash_map<std::string, int> next_suffix_;
  absl::node_hash_set<std::string> strings_;
  std::unique_ptr<FunctionLibrary> functions_;
  int64_t version_ = 0;
  std::atomic<int64_t> mutations_{0};
  mutable absl::Mutex mu_;
};

// A node name as GraphDef allows it: [A-Za-z0-9.][A-Za-z0-9_.\-/>]* ; a leading '_' marks names of the runtime.
bool IsValidNodeName(absl::string_view name);
// "n", "n:3" or "^n" taken apart.
struct ParsedInput {
  std::string node;
  int index = 0;
  bool control = false;
};
absl::StatusOr<ParsedInput> ParseInputName(absl::string_view text);

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_GRAPH_H_
