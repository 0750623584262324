// Graphs to and from GraphDef messages (TensorFlow's wire format).
//
// Import fills defaults, accepts unknown attributes that begin with '_', checks limits and types before anything is
// built, and never crashes: an error names the node and what is wrong. Export strips nothing unless asked.
#ifndef SLUICE_CORE_GRAPH_GRAPH_DEF_H_
#define SLUICE_CORE_GRAPH_GRAPH_DEF_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/function.h"
#include "core/graph/graph.h"

namespace sluice {

namespace proto {
class GraphDef;  // core/proto/graph.pb.h
class OpDef;
class AttrValue;
}  // namespace proto

struct ImportOptions {
  std::string prefix;  // put before every name, with '/'
  // "node:index" of the imported graph replaced by an endpoint of `graph`; "^node" likewise for control inputs.
  std::map<std::string, Endpoint> input_map;
  std::vector<std::string> return_outputs;  // "name:index" (imported names or keys of input_map)
  std::vector<std::string> return_nodes;
  std::vector<Node*> control_dependencies;  // of nodes without inputs
  std::string default_device;
  bool uniquify_names = false;
  bool validate_shapes = true;  // _output_shapes must agree with ours
  int max_nodes = 10'000'000;
};

struct ImportResult {
  std::vector<Endpoint> return_outputs;
  std::vector<Node*> return_nodes;
  std::vector<Node*> nodes;  // all that were added, in order of the message
  std::vector<std::string> unused_input_map_keys;
};

absl::StatusOr<ImportResult> ImportGraphDef(const proto::GraphDef& def, const ImportOptions& options, Graph* graph);

struct ExportOptions {
  int from_id = 0;          // only nodes with this id or a later one
  bool add_shapes = false;  // _output_shapes
  bool debug_info = true;   // the users' lines
  bool strip_defaults = false;
};
void ExportGraphDef(const Graph& graph, const ExportOptions& options, proto::GraphDef* def);

// Single attributes and op definitions, for the C boundary.
absl::StatusOr<AttrValue> AttrFromProto(const proto::AttrValue& proto);
void AttrToProto(const AttrValue& value, proto::AttrValue* proto);
void OpDefToProto(const OpDef& op, proto::OpDef* proto);

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_GRAPH_DEF_H_
