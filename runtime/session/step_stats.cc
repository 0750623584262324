#include "runtime/session/step_stats.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/graph/graph_def.h"
#include "core/proto/graph.pb.h"
#include "core/proto/step_stats.pb.h"
#include "core/types/dtype.h"
#include "core/types/shape.h"

namespace sluice {
namespace {

// "float [2,3]" to a message and back. What is no such text leaves the message empty.
void DescribeOutput(absl::string_view text, proto::TensorDescription* description) {
  const size_t space = text.find(' ');
  if (space == absl::string_view::npos) return;
  const DType dtype = DTypeFromName(text.substr(0, space));
  const absl::StatusOr<PartialShape> shape = PartialShape::Parse(text.substr(space + 1));
  if (dtype == DType::kInvalid || !shape.ok() || !shape->known_rank()) return;
  description->set_dtype(static_cast<proto::DataType>(dtype));
  description->mutable_shape();
  for (const int64_t dim : shape->dims()) description->mutable_shape()->add_dim()->set_size(dim);
}

std::string OutputText(const proto::TensorDescription& description) {
  std::vector<int64_t> dims;
  for (const auto& dim : description.shape().dim()) dims.push_back(dim.size());
  return absl::StrCat(DTypeName(static_cast<DType>(description.dtype())), " [", absl::StrJoin(dims, ","), "]");
}

}  // namespace

StepStats CollectStats(StepTrace* trace, absl::Time began, const std::vector<Device*>& devices) {
  StepStats stats;
  stats.start_unix_micros = absl::ToUnixMicros(began);
  std::map<std::string, DeviceStats> by_device;
  for (TracedNode& n : trace->Take()) {
    NodeStats node;
    node.name = std::move(n.name);
    node.op = std::move(n.op);
    node.scheduled_ns = n.scheduled_ns - trace->begin_ns();
    node.start_ns = n.start_ns - trace->begin_ns();
    node.end_ns = n.end_ns - trace->begin_ns();
    node.thread = n.thread;
    node.output_bytes = n.output_bytes;
    node.inputs = std::move(n.inputs);
    node.outputs = std::move(n.outputs);
    by_device[n.device].nodes.push_back(std::move(node));
  }
  for (auto& [name, device_stats] : by_device) {
    device_stats.device = name;
    for (Device* d : devices) {
      if (d->name() == name) device_stats.memory = d->allocator()->stats();
    }
    stats.devices.push_back(std::move(device_stats));
  }
  return stats;
}

std::string SerializedGraph(const Graph& graph) {
  proto::GraphDef def;
  ExportGraphDef(graph, ExportOptions(), &def);
  return def.SerializeAsString();
}

void StepStatsToProto(const StepStats& stats, proto::StepStats* proto) {
  for (const DeviceStats& device : stats.devices) {
    auto* d = proto->add_dev_stats();
    d->set_device(device.device);
    for (const NodeStats& node : device.nodes) {
      auto* n = d->add_node_stats();
      n->set_node_name(node.name);
      n->set_all_start_micros(stats.start_unix_micros + node.start_ns / 1000);
      n->set_all_start_nanos(stats.start_unix_micros * 1000 + node.start_ns);
      n->set_op_start_rel_nanos(0);
      n->set_op_end_rel_nanos(node.end_ns - node.start_ns);
      n->set_op_end_rel_micros((node.end_ns - node.start_ns + 999) / 1000);
      n->set_all_end_rel_nanos(node.end_ns - node.start_ns);
      n->set_all_end_rel_micros((node.end_ns - node.start_ns + 999) / 1000);
      n->set_scheduled_micros(stats.start_unix_micros + node.scheduled_ns / 1000);
      n->set_scheduled_nanos(stats.start_unix_micros * 1000 + node.scheduled_ns);
      n->set_thread_id(static_cast<uint32_t>(node.thread));
      n->set_timeline_label(absl::StrCat(node.name, " = ", node.op, "(", absl::StrJoin(node.inputs, ", "), ")"));
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        auto* out = n->add_output();
        out->set_slot(static_cast<int>(i));
        DescribeOutput(node.outputs[i], out->mutable_tensor_description());
        out->mutable_tensor_description()->mutable_allocation_description()->set_requested_bytes(
            i == 0 ? node.output_bytes : 0);
      }
    }
  }
}

void StepStatsFromProto(const proto::StepStats& proto, StepStats* stats) {
  int64_t first = stats->devices.empty() ? std::numeric_limits<int64_t>::max() : stats->start_unix_micros * 1000;
  for (const auto& d : proto.dev_stats()) {
    for (const auto& n : d.node_stats()) first = std::min<int64_t>(first, n.all_start_nanos());
  }
  if (first == std::numeric_limits<int64_t>::max()) return;
  const int64_t moved = stats->devices.empty() ? 0 : stats->start_unix_micros * 1000 - first / 1000 * 1000;
  first = first / 1000 * 1000;
  for (DeviceStats& d : stats->devices) {
    for (NodeStats& n : d.nodes) {
      n.start_ns += moved;
      n.end_ns += moved;
      n.scheduled_ns += moved;
    }
  }
  stats->start_unix_micros = first / 1000;
  for (const auto& d : proto.dev_stats()) {
    DeviceStats device;
    device.device = d.device();
    for (const auto& n : d.node_stats()) {
      NodeStats node;
      node.name = n.node_name();
      absl::string_view label = n.timeline_label();  // "name = Op(input, ...)"
      const size_t at = label.find(" = "), open = label.find('(', at == absl::string_view::npos ? 0 : at);
      if (at != absl::string_view::npos && open != absl::string_view::npos && absl::EndsWith(label, ")")) {
        node.op = std::string(label.substr(at + 3, open - at - 3));
        node.inputs = absl::StrSplit(label.substr(open + 1, label.size() - open - 2), ", ", absl::SkipEmpty());
      }
      node.start_ns = n.all_start_nanos() - first;
      node.end_ns = node.start_ns + n.all_end_rel_nanos();
      node.scheduled_ns = n.scheduled_nanos() - first;
      node.thread = n.thread_id();
      for (const auto& out : n.output()) {
        node.output_bytes += out.tensor_description().allocation_description().requested_bytes();
        if (out.tensor_description().has_shape()) node.outputs.push_back(OutputText(out.tensor_description()));
      }
      device.nodes.push_back(std::move(node));
    }
    stats->devices.push_back(std::move(device));
  }
}

}  // namespace sluice
