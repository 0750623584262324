#include "distributed/stats/clock_offset.h"

#include <algorithm>
#include <cstdlib>

namespace sluice {

void ClockOffset::Add(int64_t sent, int64_t received, int64_t replied, int64_t got) {
  if (got < sent || replied < received || replied - received > got - sent) return;
  samples_[added_++ % kSamples] = {got, replied - got, received - sent};
}

ClockOffset::Estimate ClockOffset::At(int64_t now) const {
  Estimate estimate;
  int64_t least = 0, most = 0;
  for (int64_t i = added_ - 1; i >= 0 && i >= added_ - kSamples; --i) {  // the newest first
    const Sample& s = samples_[i % kSamples];
    const auto drift = static_cast<int64_t>(kDrift * static_cast<double>(std::abs(now - s.got)));
    const int64_t lower = estimate.known ? std::max(least, s.least - drift) : s.least - drift;
    const int64_t upper = estimate.known ? std::min(most, s.most + drift) : s.most + drift;
    if (lower > upper) break;
    least = lower;
    most = upper;
    estimate.known = true;
  }
  estimate.offset_ns = least + (most - least) / 2;
  estimate.error_ns = (most - least + 1) / 2;
  return estimate;
}

}  // namespace sluice
