// Counts the steps of a worker or a master: begun, ended by code, their times.
//
// Threads: any.
#ifndef SLUICE_DISTRIBUTED_METRICS_STEP_METRICS_H_
#define SLUICE_DISTRIBUTED_METRICS_STEP_METRICS_H_

#include <array>
#include <string>

#include "absl/status/status.h"
#include "core/base/metrics.h"

namespace sluice {

// Of a status, for labels: "OK", "DEADLINE_EXCEEDED" ...; codes that do not exist are "UNKNOWN".
const std::string& CodeName(absl::StatusCode code);
inline constexpr int kStatusCodes = 17;

class StepMetrics {
 public:
  // Does nothing when `metrics` is null. `role`: "master" or "worker".
  StepMetrics(Metrics* metrics, const std::string& role);

  void Began() {
    if (began_ != nullptr) began_->Add();
  }
  void Ended(absl::StatusCode code, double seconds);

 private:
  Counter* began_ = nullptr;
  std::array<Counter*, kStatusCodes> ended_ = {};
  Histogram* seconds_[2] = {nullptr, nullptr};  // of steps that ended well, of others
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_METRICS_STEP_METRICS_H_
