#include "distributed/stats/wire_stats.h"

namespace sluice {

WireCounters& WireStats::Of(const std::string& from) {
  absl::MutexLock lock(&mu_);
  std::unique_ptr<WireCounters>& counters = by_task_[from];
  if (!counters) counters = std::make_unique<WireCounters>();
  return *counters;
}

std::vector<WireStats::Row> WireStats::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<Row> rows;
  for (const auto& [task, counters] : by_task_) {
    for (int w = 0; w < kWays; ++w) {
      const WireTotals totals = counters->Of(static_cast<Way>(w));
      if (totals.messages > 0) rows.push_back({task, static_cast<Way>(w), totals});
    }
  }
  return rows;
}

}  // namespace sluice
