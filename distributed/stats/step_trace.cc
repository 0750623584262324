#include "distributed/stats/step_trace.h"

#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "distributed/cluster/cluster.h"

namespace sluice {
namespace {

constexpr uint32_t kClockRow = 0, kCallRow = 1, kCallTensorsRow = 999, kFirstTransferRow = 1000;

proto::DeviceStepStats* RpcOf(const std::string& task, proto::StepStats* stats) {
  const std::string name = absl::StrCat(task, "/rpc");
  for (auto& d : *stats->mutable_dev_stats()) {
    if (d.device() == name) return &d;
  }
  auto* made = stats->add_dev_stats();
  made->set_device(name);
  return made;
}

proto::NodeExecStats* AddEvent(proto::DeviceStepStats* device, const char* name, std::string label, uint32_t row,
                               int64_t start_ns, int64_t end_ns) {
  auto* n = device->add_node_stats();
  n->set_node_name(name);
  n->set_timeline_label(std::move(label));
  n->set_thread_id(row);
  n->set_all_start_nanos(start_ns);
  n->set_all_start_micros(start_ns / 1000);
  n->set_scheduled_nanos(start_ns);
  n->set_scheduled_micros(start_ns / 1000);
  n->set_op_end_rel_nanos(end_ns - start_ns);
  n->set_op_end_rel_micros((end_ns - start_ns + 999) / 1000);
  n->set_all_end_rel_nanos(end_ns - start_ns);
  n->set_all_end_rel_micros((end_ns - start_ns + 999) / 1000);
  return n;
}

void SetBytes(int64_t bytes, proto::NodeExecStats* event) {
  event->add_output()->mutable_tensor_description()->mutable_allocation_description()->set_requested_bytes(bytes);
}

}  // namespace

void ShiftTimes(int64_t ns, proto::StepStats* stats) {
  for (auto& d : *stats->mutable_dev_stats()) {
    for (auto& n : *d.mutable_node_stats()) {
      n.set_all_start_nanos(n.all_start_nanos() + ns);
      n.set_all_start_micros(n.all_start_nanos() / 1000);
      n.set_scheduled_nanos(n.scheduled_nanos() + ns);
      n.set_scheduled_micros(n.scheduled_nanos() / 1000);
    }
  }
}

void AddTransfers(const std::string& task, std::vector<TracedTransfer> transfers, proto::StepStats* stats) {
  if (transfers.empty()) return;
  proto::DeviceStepStats* rpc = RpcOf(task, stats);
  std::map<std::string, uint32_t> rows;
  for (const TracedTransfer& t : transfers) {
    // "src_device;incarnation;dst_device;edge;frame:iteration"
    const std::vector<std::string> key = absl::StrSplit(t.key, ';');
    if (key.size() < 4) continue;
    const std::string peer(TaskOfDevice(key[0]));
    const auto [row, fresh] = rows.emplace(peer, kFirstTransferRow + static_cast<uint32_t>(rows.size()));
    if (fresh) (*rpc->mutable_thread_names())[row->second] = absl::StrCat("from ", peer);
    auto* n = AddEvent(rpc, "RecvTensor",
                       absl::StrCat("[", t.bytes, " B over ", kWayNames[static_cast<int>(t.way)], "] ", key[3],
                                    " from ", key[0], " to ", key[2]),
                       row->second, t.asked_ns, t.got_ns);
    SetBytes(t.bytes, n);
  }
}

void AddCallTensors(const char* name, const std::string& from, const std::string& to, const TracedTransfer& transfer,
                    proto::StepStats* stats) {
  proto::DeviceStepStats* rpc = RpcOf(to, stats);
  (*rpc->mutable_thread_names())[kCallTensorsRow] = "feeds and fetches";
  SetBytes(transfer.bytes,
           AddEvent(rpc, name,
                    absl::StrCat("[", transfer.bytes, " B over ", kWayNames[static_cast<int>(transfer.way)], "] ",
                                 absl::AsciiStrToLower(name), " from ", from, " to ", to),
                    kCallTensorsRow, transfer.asked_ns, transfer.got_ns));
}

void MergeParts(const std::string& master, int64_t wall_ns, std::vector<PartTrace> parts,
                const std::vector<Stragglers::Straggler>& stragglers, proto::StepStats* merged) {
  int64_t begin = 0;
  for (PartTrace& part : parts) {
    ShiftTimes(wall_ns - part.clock.offset_ns, &part.stats);
    merged->MergeFrom(part.stats);
    if (begin == 0 || part.sent_ns < begin) begin = part.sent_ns;
  }
  begin += wall_ns;
  uint32_t row = kCallRow;
  for (const PartTrace& part : parts) {
    proto::DeviceStepStats* rpc = RpcOf(part.task, merged);
    AddEvent(rpc, "clock", absl::StrCat("offset ", part.clock.offset_ns, " ns within ", part.clock.error_ns, " ns"),
             kClockRow, begin, begin);
    (*rpc->mutable_thread_names())[kClockRow] = "clock";
    proto::DeviceStepStats* caller = RpcOf(master, merged);
    (*caller->mutable_thread_names())[row] = absl::StrCat("RunGraph ", part.task);
    AddEvent(caller, "RunGraph", absl::StrCat("[busy ", part.busy_ns, " ns] ", part.task), row++,
             part.sent_ns + wall_ns, part.got_ns + wall_ns);
    if (part.result_bytes > 0) {
      AddCallTensors("Fetches", part.task, master,
                     {"", part.sent_ns + wall_ns, part.got_ns + wall_ns, part.result_bytes, part.way}, merged);
    }
  }
  for (const Stragglers::Straggler& s : stragglers) {
    AddEvent(RpcOf(master, merged), "straggler",
             absl::StrFormat("%s takes %.1f ms, its peers %.1f ms", s.name, 1e3 * s.seconds, 1e3 * s.median), kClockRow,
             begin, begin);
  }
}

}  // namespace sluice
