#include "kernels/nn/conv_choice.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/status.h"
#include "kernels/nn/conv_direct.h"
#include "kernels/nn/conv_dnnl.h"
#include "kernels/nn/conv_winograd.h"

namespace sluice {
namespace {

// Convolutions worth measuring: below, all take microseconds; above, measuring would take seconds.
constexpr double kLeastFlops = 4e6, kMostFlops = 2e10;
constexpr int64_t kWinogradChannels = 32;  // with fewer, its passes over the images cost what it saves
constexpr int kRounds = 4;
constexpr double kClearly = 0.9;  // of the rule's time: what may be noise changes nothing

std::string KeyOf(const ConvShape& s, ConvDirection direction, int parallelism) {
  const char* const directions[] = {"forward", "input", "filter"};
  std::string key = absl::StrCat(TuningMachine(), "/", parallelism, "/conv_", directions[static_cast<int>(direction)],
                                 "/", s.batch, "x", s.in_channels, "x", s.out_channels);
  for (const WindowAxis& a : s.axes) {
    absl::StrAppend(&key, "/", a.input, "k", a.filter, "s", a.stride, "d", a.dilation, "p", a.pad_before, "p",
                    a.pad_after);
  }
  return key;
}

struct Candidate {
  std::string name;
  std::unique_ptr<ConvAlgorithm> algorithm;
};

// Runs all candidates when it first runs, and from then on the one that is to stay.
class MeasuredConv : public ConvAlgorithm {
 public:
  MeasuredConv(std::vector<Candidate> candidates, std::string key, Tuning* tuning, const Clock* clock)
      : candidates_(std::move(candidates)), key_(std::move(key)), tuning_(tuning), clock_(clock) {}

  absl::Status KeepFilter(const float* filter) override {
    for (Candidate& c : candidates_) RETURN_IF_ERROR(c.algorithm->KeepFilter(filter));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const override {
    const ConvAlgorithm* chosen = chosen_.load(std::memory_order_acquire);
    if (chosen == nullptr) {
      ASSIGN_OR_RETURN(chosen, Measure(c, a, b, out));
    }
    return chosen->Run(c, a, b, out);
  }

 private:
  absl::StatusOr<const ConvAlgorithm*> Measure(KernelContext& c, const float* a, const float* b, float* out) const {
    absl::MutexLock lock(&mu_);
    if (const ConvAlgorithm* chosen = chosen_.load(std::memory_order_acquire)) return chosen;
    std::vector<absl::Duration> least(candidates_.size(), absl::InfiniteDuration());
    for (int round = 0; round <= kRounds; ++round) {
      for (size_t i = 0; i < candidates_.size(); ++i) {
        const absl::Duration start = clock_->Now();
        const absl::Status status = candidates_[i].algorithm->Run(c, a, b, out);
        if (!status.ok()) {  // the rule's word on what it cannot do is the one to hear; others are not needed
          if (i == 0) return status;
          continue;
        }
        if (round > 0) least[i] = std::min(least[i], clock_->Now() - start);  // the first run warms up
      }
    }
    size_t best = 0;
    for (size_t i = 1; i < least.size(); ++i) {
      if (least[i] < kClearly * least[0] && least[i] < least[best]) best = i;
    }
    const std::optional<std::string> stands = tuning_->Keep(key_, candidates_[best].name);
    const ConvAlgorithm* chosen = candidates_[0].algorithm.get();  // also for what cannot be kept
    for (const Candidate& candidate : candidates_) {
      if (stands == candidate.name) chosen = candidate.algorithm.get();
    }
    for (Candidate& candidate : candidates_) {
      if (candidate.algorithm.get() != chosen) candidate.algorithm = nullptr;
    }
    chosen_.store(chosen, std::memory_order_release);
    return chosen;
  }

  mutable absl::Mutex mu_;
  mutable std::vector<Candidate> candidates_;  // under mu_ until one is chosen
  mutable std::atomic<const ConvAlgorithm*> chosen_{nullptr};
  const std::string key_;
  Tuning* const tuning_;
  const Clock* const clock_;
};

}  // namespace

std::vector<ConvCandidate> ConvCandidates(const ConvShape& s, ConvDirection direction, int parallelism) {
  std::vector<ConvCandidate> candidates = {
      {"direct", [s, direction] { return MakeDirectConv(s, direction); }},
      {"onednn", [s, direction, parallelism] { return MakeDnnlConv(s, direction, parallelism); }}};
  const char* winograd = std::getenv("SLUICE_WINOGRAD");
  const bool without = winograd != nullptr && winograd[0] == '0';
  if (!without && std::min(s.in_channels, s.out_channels) >= kWinogradChannels) {
    candidates.insert(candidates.begin(), {"winograd", [s, direction] { return MakeWinogradConv(s, direction); }});
  }
  return candidates;
}

std::unique_ptr<ConvAlgorithm> ChooseConv(const ConvShape& s, ConvDirection direction, int parallelism,
                                          std::vector<ConvCandidate> candidates, Tuning* tuning, const Clock* clock) {
  const bool measured = tuning != nullptr && s.flops() >= kLeastFlops && s.flops() <= kMostFlops;
  if (measured) {
    const std::string key = KeyOf(s, direction, parallelism);
    if (const std::optional<std::string> known = tuning->Find(key)) {
      std::stable_partition(candidates.begin(), candidates.end(),
                            [&](const ConvCandidate& c) { return c.name == *known; });
    } else if (tuning->CanKeep()) {
      std::vector<Candidate> made;
      for (const ConvCandidate& c : candidates) {
        if (auto algorithm = c.make()) made.push_back({c.name, std::move(algorithm)});
      }
      if (made.empty()) return nullptr;
      if (made.size() == 1) return std::move(made[0].algorithm);
      return std::make_unique<MeasuredConv>(std::move(made), key, tuning, clock);
    }
  }
  for (const ConvCandidate& c : candidates) {
    if (auto algorithm = c.make()) return algorithm;
  }
  return nullptr;
}

}  // namespace sluice
