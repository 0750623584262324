#include "runtime/session/chrome_trace.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace sluice {
namespace {

std::string Quote(absl::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string Micros(int64_t base_us, int64_t ns) { return absl::StrFormat("%d.%03d", base_us + ns / 1000, ns % 1000); }

}  // namespace

std::string ToChromeTrace(const std::vector<StepStats>& steps) {
  std::vector<std::string> events;
  std::map<std::string, int> processes;
  for (const StepStats& step : steps) {
    for (const DeviceStats& device : step.devices) {
      auto [it, fresh] = processes.emplace(device.device, static_cast<int>(processes.size()) + 1);
      const int pid = it->second;
      if (fresh) {
        events.push_back(absl::StrFormat("{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":%s}}",
                                         pid, Quote(device.device)));
      }
      for (const NodeStats& n : device.nodes) {
        events.push_back(absl::StrFormat(
            "{\"name\":%s,\"cat\":\"op\",\"ph\":\"X\",\"pid\":%d,\"tid\":%d,\"ts\":%s,\"dur\":%s,"
            "\"args\":{\"name\":%s,\"op\":%s,\"inputs\":%s,\"outputs\":%s,\"output_bytes\":%d,\"waited_us\":%s}}",
            Quote(n.op), pid, n.thread, Micros(step.start_unix_micros, n.start_ns), Micros(0, n.end_ns - n.start_ns),
            Quote(n.name), Quote(n.op), Quote(absl::StrJoin(n.inputs, ", ")), Quote(absl::StrJoin(n.outputs, ", ")),
            n.output_bytes, Micros(0, n.start_ns - n.scheduled_ns)));
      }
      if (device.memory.peak_bytes > 0) {
        events.push_back(
            absl::StrFormat("{\"name\":\"memory\",\"ph\":\"C\",\"pid\":%d,\"ts\":%d,\"args\":{\"live_bytes\":%d,"
                            "\"reserved_bytes\":%d}}",
                            pid, step.start_unix_micros, device.memory.live_bytes, device.memory.reserved_bytes));
      }
    }
  }
  return absl::StrCat("{\"traceEvents\":[\n", absl::StrJoin(events, ",\n"), "\n],\"displayTimeUnit\":\"ns\"}\n");
}

}  // namespace sluice
