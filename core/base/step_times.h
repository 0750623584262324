// How long the last steps took, and who is much slower than the others.
//
//   StepTimes times;
//   times.Add(0.012);
//   TimeCounts all = times.Counts();   // of the last 256 steps
//   all.Merge(others.Counts());        // as if one had seen them all
//   all.Percentile(0.99);
//
// A time is kept as one of 16 buckets for each factor of two, so a percentile is within 2.2 % of the truth, and what
// several tasks have seen can be added up.
//
// Threads: StepTimes and Stragglers: any method from any thread. Adding takes no memory from the heap.
#ifndef SLUICE_CORE_BASE_STEP_TIMES_H_
#define SLUICE_CORE_BASE_STEP_TIMES_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace sluice {

class TimeCounts {
 public:
  static constexpr int kBuckets = 16 * 36;  // from a microsecond to 19 hours

  static int BucketOf(double seconds);
  static double Seconds(int bucket);  // its middle
  void Add(int bucket, int64_t count);
  void Merge(const TimeCounts& other);
  int64_t total() const { return total_; }
  // The time that the share `p` of all is at most; 0 when there is none.
  double Percentile(double p) const;
  int32_t count(int bucket) const { return counts_[bucket]; }

 private:
  std::array<int32_t, kBuckets> counts_{};
  int64_t total_ = 0;
};

// A sliding window of the last kWindow times.
class StepTimes {
 public:
  static constexpr int kWindow = 256;
  void Add(double seconds);
  TimeCounts Counts() const;

 private:
  mutable absl::Mutex mu_;
  TimeCounts counts_ ABSL_GUARDED_BY(mu_);
  std::array<int16_t, kWindow> last_ ABSL_GUARDED_BY(mu_);
  int64_t added_ ABSL_GUARDED_BY(mu_) = 0;
};

// Names who takes much longer than its peers, step after step: more than kTimes the median of the others, and at least
// kFloor seconds more, in kSteps steps more than not. It stays named until it has been as good as the others for as
// long. So a steady straggler is named within 20 steps, and a hiccup names nobody.
class Stragglers {
 public:
  static constexpr double kTimes = 2;
  static constexpr double kFloor = 0.001;
  static constexpr int kSteps = 15;

  struct Straggler {
    std::string name;
    double seconds = 0;  // its time in the last step
    double median = 0;   // of the others
  };

  explicit Stragglers(std::vector<std::string> names);
  // The time of each name in one step, negative where it is not known. Returns how many are named by this step that
  // were not before.
  int Add(absl::Span<const double> seconds);
  std::vector<Straggler> Named() const;
  const std::vector<std::string>& names() const { return names_; }

 private:
  struct Peer {
    int score = 0;
    bool named = false;
    double seconds = 0;
    double median = 0;
  };
  const std::vector<std::string> names_;
  mutable absl::Mutex mu_;
  std::vector<Peer> peers_ ABSL_GUARDED_BY(mu_);
  std::vector<double> sorted_ ABSL_GUARDED_BY(mu_);
};

// "/job:worker/replica:0/task:2 is a straggler: its part of a step takes 53.1 ms, 4.2 times the median of its peers"
std::string Describe(const Stragglers::Straggler& straggler, const std::string& what);

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_STEP_TIMES_H_
