// What is known of the other lanes when an instruction starts: which of their entries have ended, whatever the threads
// do. One lane is the case in which all that comes earlier has ended.
//
//   clocks.HasEnded(needs, k)      // needs[l]: so many entries of lane l
#ifndef SLUICE_RUNTIME_EXECUTOR_LANE_CLOCKS_H_
#define SLUICE_RUNTIME_EXECUTOR_LANE_CLOCKS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sluice {

class LaneClocks {
 public:
  // One lane of `count` instructions.
  explicit LaneClocks(size_t count) : count_(count) {}
  // `lane_of` by instruction. Set must be called for each, in order.
  LaneClocks(size_t lanes, std::vector<uint32_t> lane_of)
      : lanes_(lanes),
        count_(lane_of.size()),
        lane_of_(std::move(lane_of)),
        position_(count_),
        ended_(count_ * lanes),
        at_(lanes) {}

  void Set(uint32_t k, const std::vector<uint32_t>& ended) {
    std::vector<uint32_t>& lane = at_[lane_of_[k]];
    position_[k] = static_cast<uint32_t>(lane.size());
    lane.push_back(k);
    std::copy(ended.begin(), ended.end(), ended_.begin() + static_cast<int64_t>(k * lanes_));
  }

  size_t lanes() const { return lanes_; }
  uint32_t Lane(uint32_t k) const { return lanes_ == 1 ? 0 : lane_of_[k]; }
  uint32_t Position(uint32_t k) const { return lanes_ == 1 ? k : position_[k]; }
  uint32_t Count(uint32_t lane) const { return static_cast<uint32_t>(lanes_ == 1 ? count_ : at_[lane].size()); }
  uint32_t At(uint32_t lane, uint32_t position) const { return lanes_ == 1 ? position : at_[lane][position]; }
  // Entries of `lane` that have ended when k starts.
  uint32_t Ended(uint32_t k, uint32_t lane) const { return lane == Lane(k) ? Position(k) : ended_[k * lanes_ + lane]; }

  // Whether so many entries of each lane have ended when k starts, or, with `itself`, when k has ended.
  bool HasEnded(const uint32_t* needs, uint32_t k, bool itself) const {
    for (uint32_t l = 0; l < lanes_; ++l) {
      const bool own = l == Lane(k);
      if (needs[l] > Ended(k, l) + (own && itself ? 1 : 0)) return false;
    }
    return true;
  }
  // The first position in `lane` where HasEnded, or Count(lane).
  uint32_t FirstAfter(const uint32_t* needs, uint32_t lane, bool itself) const {
    if (lanes_ == 1) return std::min(Count(0), needs[0] - (itself && needs[0] > 0 ? 1 : 0));
    uint32_t low = 0, high = Count(lane);
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      if (HasEnded(needs, At(lane, middle), itself)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

 private:
  const size_t lanes_ = 1;
  const size_t count_;
  // With more than one lane:
  std::vector<uint32_t> lane_of_, position_;  // by instruction
  std::vector<uint32_t> ended_;               // by instruction, then lane
  std::vector<std::vector<uint32_t>> at_;     // by lane, then position
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_LANE_CLOCKS_H_
