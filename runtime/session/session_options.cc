#include "runtime/session/session_options.h"

#include <algorithm>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/proto/config.pb.h"

namespace sluice {

absl::StatusOr<SessionOptions> SessionOptionsFromProto(const proto::ConfigProto& config) {
  SessionOptions options;
  auto cpus = config.device_count().find("CPU");
  if (cpus != config.device_count().end()) {
    if (cpus->second < 1 || cpus->second > 256)
      return InvalidArgument("device_count['CPU'] is ", cpus->second, ", wanted 1 to 256");
    options.cpu_devices = cpus->second;
  }
  int threads = std::max(config.intra_op_parallelism_threads(), config.inter_op_parallelism_threads());
  if (const char* text = std::getenv("SLUICE_NUM_THREADS"); text != nullptr && threads == 0) {
    if (!absl::SimpleAtoi(text, &threads) || threads < 1) {
      return InvalidArgument("SLUICE_NUM_THREADS='", text, "': wanted a number of threads, 1 to 4096");
    }
  }
  if (threads < 0 || threads > 4096) return InvalidArgument("parallelism_threads is ", threads, ", wanted 0 to 4096");
  if (threads > 0) {
    options.parallelism = threads;
    options.own_pool = true;
  }
  options.soft_placement = config.allow_soft_placement();
  options.cost_aware_placement = config.placement_period() > 0;
  options.log_placement = config.log_device_placement();
  options.operation_timeout_ms = config.operation_timeout_in_ms();
  const auto& graph = config.graph_options();
  options.bfloat16_transfers = graph.enable_bfloat16_sendrecv();
  options.late_receives = graph.enable_recv_scheduling();
  const auto& rewrite = graph.rewrite_options();
  options.optimise =
      graph.optimizer_options().opt_level() != proto::OptimizerOptions::L0 && !rewrite.disable_meta_optimizer();
  const auto off = proto::RewriterConfig::OFF;
  if (rewrite.constant_folding() == off) options.disabled_passes.push_back("constant_folding");
  if (rewrite.arithmetic_optimization() == off) options.disabled_passes.push_back("arithmetic");
  if (rewrite.common_subgraph_elimination() == off) options.disabled_passes.push_back("common_subexpression");
  if (rewrite.dependency_optimization() == off) options.disabled_passes.push_back("dependency");
  if (rewrite.remapping() == off) {
    for (const char* pass : {"epilogue_fusion", "row_fusion", "fusion", "update_fusion"}) {
      options.disabled_passes.push_back(pass);
    }
  }
  if (rewrite.layout_optimizer() == off) options.disabled_passes.push_back("layout");
  // For all sessions of a process, whatever its program asks for.
  if (const char* names = std::getenv("SLUICE_DISABLE_PASSES")) {
    for (absl::string_view name : absl::StrSplit(names, absl::ByAnyChar(", "), absl::SkipEmpty())) {
      options.disabled_passes.emplace_back(name);
    }
  }
  if (const char* text = std::getenv("SLUICE_STATIC_LANES"); text != nullptr && *text != '\0') {
    const absl::string_view lanes = text;
    if (lanes == "off") {
      options.static_lanes = 1;
    } else if (lanes != "auto" && (!absl::SimpleAtoi(lanes, &options.static_lanes) || options.static_lanes < 1 ||
                                   options.static_lanes > 64)) {
      return InvalidArgument("SLUICE_STATIC_LANES='", lanes, "': wanted 'auto', 'off' or a number of lanes, 1 to 64");
    }
  }
  const char* dump = std::getenv("SLUICE_DUMP_PASSES");
  options.dump_passes = dump != nullptr && *dump != '\0' && *dump != '0';
  return options;
}

}  // namespace sluice
