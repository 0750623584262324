#include "runtime/partition/partition.h"

#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/base/status.h"
#include "core/types/tensor.h"

namespace sluice {
namespace {

class Splitter {
 public:
  Splitter(Graph* graph, const std::function<uint64_t(const std::string&)>& incarnation)
      : graph_(*graph), incarnation_(incarnation) {}

  absl::Status Run() {
    for (Node* n : graph_.nodes()) {
      for (int i = 0; i < n->num_inputs(); ++i) {
        const Endpoint from = n->input(i);
        if (from.node->assigned_device() == n->assigned_device()) continue;
        if (IsRefType(n->input_type(i))) {
          return InvalidArgument(n->info().Describe(), " on ", n->assigned_device(), " needs the reference of '",
                                 from.node->name(), "' on ", from.node->assigned_device(),
                                 ": a reference cannot leave its device");
        }
        ASSIGN_OR_RETURN(Node * recv, Receive(from, n->assigned_device()));
        RETURN_IF_ERROR(graph_.UpdateInput(n, i, {recv, 0}));
      }
      const std::vector<Node*> before(n->control_inputs().begin(), n->control_inputs().end());
      for (Node* c : before) {
        if (c->assigned_device() == n->assigned_device()) continue;
        ASSIGN_OR_RETURN(Endpoint token, Token(c));
        ASSIGN_OR_RETURN(Node * recv, Receive(token, n->assigned_device()));
        graph_.RemoveControlEdge(c, n);
        RETURN_IF_ERROR(graph_.AddControlEdge(recv, n));
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<Node*> Add(NodeSpec spec, const std::string& device) {
    spec.device = device;
    ASSIGN_OR_RETURN(Node * n, graph_.AddNodeUniqueName(std::move(spec)));
    n->set_assigned_device(device);
    return n;
  }

  // Stands for "`node` has run".
  absl::StatusOr<Endpoint> Token(Node* node) {
    Node*& token = tokens_[node];
    if (token == nullptr) {
      NodeSpec spec;
      spec.op = "Const";
      spec.name = absl::StrCat(node->name(), "/_done");
      spec.attrs.Set("value", Tensor::Vector<uint8_t>({}));
      spec.attrs.Set("dtype", DType::kUint8);
      // A constant has its value before the step begins, so the order hangs on the identity.
      ASSIGN_OR_RETURN(Node * nothing, Add(std::move(spec), node->assigned_device()));
      NodeSpec after;
      after.op = "IdentityN";
      after.name = absl::StrCat(node->name(), "/_done_after");
      after.inputs = {{nothing, 0}};
      after.control_inputs = {node};
      after.attrs.Set("T", std::vector<DType>{DType::kUint8});
      ASSIGN_OR_RETURN(token, Add(std::move(after), node->assigned_device()));
    }
    return Endpoint{token, 0};
  }

  absl::StatusOr<Node*> Receive(Endpoint from, const std::string& device) {
    Node*& recv = receivers_[std::make_tuple(from.node, from.index, device)];
    if (recv != nullptr) return recv;
    const std::string& source = from.node->assigned_device();
    const std::string edge = absl::StrCat(from.node->name(), ":", from.index);
    auto common = [&](NodeSpec* spec) {
      spec->source = from.node->info().source;
      spec->attrs.Set("tensor_name", edge);
      spec->attrs.Set("send_device", source);
      spec->attrs.Set("send_device_incarnation", static_cast<int64_t>(incarnation_(source)));
      spec->attrs.Set("recv_device", device);
      spec->attrs.Set("shape", from.node->output_shape(from.index));
    };
    NodeSpec send;
    send.op = "_Send";
    send.name = absl::StrCat(from.node->name(), "/_send_", from.index);
    send.inputs = {from};
    common(&send);
    RETURN_IF_ERROR(Add(std::move(send), source).status());
    NodeSpec receive;
    receive.op = "_Recv";
    receive.name = absl::StrCat(from.node->name(), "/_recv_", from.index);
    receive.attrs.Set("tensor_type", from.node->output_type(from.index));
    common(&receive);
    ASSIGN_OR_RETURN(recv, Add(std::move(receive), device));
    return recv;
  }

  Graph& graph_;
  const std::function<uint64_t(const std::string&)>& incarnation_;
  std::map<std::tuple<Node*, int, std::string>, Node*> receivers_;
  std::map<Node*, Node*> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Partition>> PartitionGraph(
    std::unique_ptr<Graph> graph, const std::function<uint64_t(const std::string& device)>& incarnation) {
  std::set<std::string> devices;
  for (Node* n : graph->nodes()) {
    if (n->assigned_device().empty()) return Internal(n->info().Describe(), " has no device");
    devices.insert(n->assigned_device());
  }
  std::vector<Partition> partitions;
  if (devices.size() <= 1) {
    partitions.push_back({devices.empty() ? "" : *devices.begin(), std::move(graph)});
    return partitions;
  }
  RETURN_IF_ERROR(Splitter(graph.get(), incarnation).Run());
  for (const std::string& device : devices) {
    ASSIGN_OR_RETURN(std::unique_ptr<Graph> part,
                     graph->Clone([&](const Node& n) { return n.assigned_device() == device; }));
    partitions.push_back({device, std::move(part)});
  }
  return partitions;
}

}  // namespace sluice
