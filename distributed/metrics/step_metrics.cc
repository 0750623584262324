#include "distributed/metrics/step_metrics.h"

namespace sluice {

const std::string& CodeName(absl::StatusCode code) {
  static const auto* names = [] {
    auto* n = new std::array<std::string, kStatusCodes>;
    for (int c = 0; c < kStatusCodes; ++c) (*n)[c] = absl::StatusCodeToString(static_cast<absl::StatusCode>(c));
    return n;
  }();
  const int c = static_cast<int>(code);
  return (*names)[c >= 0 && c < kStatusCodes ? c : static_cast<int>(absl::StatusCode::kUnknown)];
}

StepMetrics::StepMetrics(Metrics* metrics, const std::string& role) {
  if (metrics == nullptr) return;
  began_ = &metrics->CounterOf("sluice_steps_started_total", "Steps that have begun.", {{"role", role}});
  for (int c = 0; c < kStatusCodes; ++c) {
    ended_[c] = &metrics->CounterOf("sluice_steps_total", "Steps that have ended, by the code of their status.",
                                    {{"role", role}, {"code", CodeName(static_cast<absl::StatusCode>(c))}});
  }
  for (int failed = 0; failed < 2; ++failed) {
    seconds_[failed] = &metrics->HistogramOf(
        "sluice_step_seconds", "Times of steps. What the failed ones took is lost, the rest was effective.",
        {{"role", role}, {"outcome", failed != 0 ? "failed" : "ok"}}, SecondsBuckets());
  }
}

void StepMetrics::Ended(absl::StatusCode code, double seconds) {
  if (began_ == nullptr) return;
  const int c = static_cast<int>(code);
  ended_[c >= 0 && c < kStatusCodes ? c : static_cast<int>(absl::StatusCode::kUnknown)]->Add();
  seconds_[code == absl::StatusCode::kOk ? 0 : 1]->Observe(seconds);
}

}  // namespace sluice
