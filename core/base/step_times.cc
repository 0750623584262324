#include "core/base/step_times.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"

namespace sluice {
namespace {

constexpr double kSmallest = 1e-6;
constexpr double kPerOctave = 16;

}  // namespace

int TimeCounts::BucketOf(double seconds) {
  if (!(seconds > kSmallest)) return 0;
  return static_cast<int>(std::min<double>(kBuckets - 1, kPerOctave * std::log2(seconds / kSmallest)));
}

double TimeCounts::Seconds(int bucket) { return kSmallest * std::exp2((bucket + 0.5) / kPerOctave); }

void TimeCounts::Add(int bucket, int64_t count) {
  if (bucket < 0 || bucket >= kBuckets) return;
  counts_[bucket] += static_cast<int32_t>(count);
  total_ += count;
}

void TimeCounts::Merge(const TimeCounts& other) {
  for (int b = 0; b < kBuckets; ++b) counts_[b] += other.counts_[b];
  total_ += other.total_;
}

double TimeCounts::Percentile(double p) const {
  if (total_ <= 0) return 0;
  const int64_t rank = std::min<int64_t>(total_ - 1, static_cast<int64_t>(p * static_cast<double>(total_)));
  int64_t below = 0;
  for (int b = 0; b < kBuckets; ++b) {
    below += counts_[b];
    if (below > rank) return Seconds(b);
  }
  return Seconds(kBuckets - 1);
}

void StepTimes::Add(double seconds) {
  const int bucket = TimeCounts::BucketOf(seconds);
  absl::MutexLock lock(&mu_);
  int16_t& slot = last_[added_ % kWindow];
  if (added_ >= kWindow) counts_.Add(slot, -1);
  slot = static_cast<int16_t>(bucket);
  counts_.Add(bucket, 1);
  ++added_;
}

TimeCounts StepTimes::Counts() const {
  absl::MutexLock lock(&mu_);
  return counts_;
}

Stragglers::Stragglers(std::vector<std::string> names) : names_(std::move(names)), peers_(names_.size()) {
  sorted_.reserve(names_.size());
}

int Stragglers::Add(absl::Span<const double> seconds) {
  absl::MutexLock lock(&mu_);
  sorted_.clear();
  for (double s : seconds) {
    if (s >= 0 && sorted_.size() < names_.size()) sorted_.push_back(s);
  }
  if (sorted_.size() < 2) return 0;
  const size_t others = sorted_.size() - 1;
  std::sort(sorted_.begin(), sorted_.end());
  int fresh = 0;
  for (size_t i = 0; i < peers_.size() && i < seconds.size(); ++i) {
    if (seconds[i] < 0) continue;
    Peer& p = peers_[i];
    // The others in order are `sorted_` without this one; of two in the middle the larger.
    const size_t mine = std::lower_bound(sorted_.begin(), sorted_.end(), seconds[i]) - sorted_.begin();
    const size_t middle = others / 2;
    p.seconds = seconds[i];
    p.median = sorted_[middle < mine ? middle : middle + 1];
    const bool slow = p.seconds > kTimes * p.median && p.seconds > p.median + kFloor;
    p.score = std::clamp(p.score + (slow ? 1 : -1), 0, kSteps);
    if (p.score == 0) p.named = false;
    if (p.score == kSteps && !p.named) {
      p.named = true;
      ++fresh;
    }
  }
  return fresh;
}

std::vector<Stragglers::Straggler> Stragglers::Named() const {
  absl::MutexLock lock(&mu_);
  std::vector<Straggler> named;
  for (size_t i = 0; i < peers_.size(); ++i) {
    if (peers_[i].named) named.push_back({names_[i], peers_[i].seconds, peers_[i].median});
  }
  return named;
}

std::string Describe(const Stragglers::Straggler& s, const std::string& what) {
  return absl::StrFormat("%s is a straggler: %s takes %.1f ms, %.1f times the median of its peers", s.name, what,
                         1e3 * s.seconds, s.median > 0 ? s.seconds / s.median : 0.0);
}

}  // namespace sluice
