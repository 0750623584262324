#include "distributed/stats/wire_stats.h"

namespace sluice {
namespace {

constexpr size_t kMostTasks = 1000;
constexpr char kOthers[] = "others";

}  // namespace

int64_t BytesOf(absl::Span<const Tensor> tensors) {
  int64_t bytes = 0;
  for (const Tensor& t : tensors) {
    if (IsPlain(t.dtype())) bytes += static_cast<int64_t>(t.num_bytes());
    if (t.dtype() != DType::kString) continue;
    const std::string* texts = t.data<std::string>();
    for (int64_t i = 0; i < t.num_elements(); ++i) bytes += static_cast<int64_t>(texts[i].size());
  }
  return bytes;
}

std::shared_ptr<WireCounters> WireStats::Of(absl::string_view task) {
  if (task == task_ || task.empty()) return nullptr;
  absl::MutexLock lock(&mu_);
  auto it = by_task_.find(task);
  if (it != by_task_.end()) return it->second;
  if (by_task_.size() >= kMostTasks) task = kOthers;
  std::shared_ptr<WireCounters>& counters = by_task_[std::string(task)];
  if (!counters) counters = std::make_shared<WireCounters>();
  return counters;
}

std::vector<WireStats::Row> WireStats::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<Row> rows;
  for (const auto& [task, counters] : by_task_) {
    for (int w = 0; w < kWays; ++w) {
      const WireTotals totals = counters->Of(static_cast<Way>(w));
      if (totals.tensors > 0) rows.push_back({task, static_cast<Way>(w), totals});
    }
  }
  return rows;
}

}  // namespace sluice
