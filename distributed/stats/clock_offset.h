// How far another task's clock is ahead of ours, from the times of questions and answers, with a bound on the error.
//
//   ours     sent ----------------------------- got
//   theirs          received ------ replied
//
// A message takes time, so the offset is at most received - sent and at least replied - got: each answer gives an
// interval. All of the last answers hold, so the estimate is the middle of what the intervals have in common, each
// widened by what two clocks may have drifted apart since. The quickest messages of either direction count, as NTP's
// filter has it, and the bound is not a guess.
//
// Times are nanoseconds of clocks that only move forward. A clock that jumped nevertheless (a machine that was
// suspended) makes older answers contradict newer ones; then the newer ones count.
//
// Threads: one at a time.
#ifndef SLUICE_DISTRIBUTED_STATS_CLOCK_OFFSET_H_
#define SLUICE_DISTRIBUTED_STATS_CLOCK_OFFSET_H_

#include <array>
#include <cstdint>

namespace sluice {

class ClockOffset {
 public:
  static constexpr int kSamples = 32;
  static constexpr double kDrift = 100e-6;  // of two clocks against each other: quartz is within 50e-6 each

  struct Estimate {
    bool known = false;
    int64_t offset_ns = 0;  // theirs = ours + offset
    int64_t error_ns = 0;   // at most
  };

  // Ignored when the times are impossible: an answer before its question.
  void Add(int64_t sent, int64_t received, int64_t replied, int64_t got);
  Estimate At(int64_t now) const;

 private:
  struct Sample {
    int64_t got = 0;
    int64_t least = 0;
    int64_t most = 0;
  };
  std::array<Sample, kSamples> samples_;
  int64_t added_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_STATS_CLOCK_OFFSET_H_
