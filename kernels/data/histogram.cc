#include "kernels/data/histogram.h"

#include <algorithm>
#include <cfloat>

#include "core/proto/summary.pb.h"

namespace sluice {
namespace {

// Right edges: -DBL_MAX ... -1e-12, 0, 1e-12 ... DBL_MAX.
const std::vector<double>& Edges() {
  static const std::vector<double>* const edges = [] {
    std::vector<double> positive;
    for (double v = 1e-12; v < 1e20; v *= 1.1) positive.push_back(v);
    positive.push_back(DBL_MAX);
    auto* all = new std::vector<double>;
    for (auto it = positive.rbegin(); it != positive.rend(); ++it) all->push_back(-*it);
    all->push_back(0);
    all->insert(all->end(), positive.begin(), positive.end());
    return all;
  }();
  return *edges;
}

}  // namespace

Histogram::Histogram() : min_(DBL_MAX), max_(-DBL_MAX), counts_(Edges().size(), 0.0) {}

void Histogram::Add(double value) {
  const auto it = std::upper_bound(Edges().begin(), Edges().end(), value);
  const size_t bucket = std::min<size_t>(it - Edges().begin(), counts_.size() - 1);
  counts_[bucket] += 1;
  min_ = std::min(min_, value);
  max_ = std::max(max_, value);
  num_ += 1;
  sum_ += value;
  sum_squares_ += value * value;
}

void Histogram::ToProto(proto::HistogramProto* message) const {
  message->set_min(min_);
  message->set_max(max_);
  message->set_num(num_);
  message->set_sum(sum_);
  message->set_sum_squares(sum_squares_);
  for (size_t i = 0; i < counts_.size(); ++i) {
    while (counts_[i] == 0 && i + 1 < counts_.size() && counts_[i + 1] == 0) ++i;
    message->add_bucket_limit(Edges()[i]);
    message->add_bucket(counts_[i]);
  }
}

}  // namespace sluice
