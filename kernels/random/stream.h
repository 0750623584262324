// The numbers of Philox blocks one by one, for distributions that take as many as they need.
#ifndef SLUICE_KERNELS_RANDOM_STREAM_H_
#define SLUICE_KERNELS_RANDOM_STREAM_H_

#include <array>
#include <cstdint>

#include "core/base/philox.h"

namespace sluice {

class PhiloxStream {
 public:
  explicit PhiloxStream(const Philox4x32& gen) : gen_(gen) {}
  uint32_t Next() {
    if (used_ == 4) {
      block_ = gen_.Next();
      used_ = 0;
    }
    return block_[used_++];
  }

 private:
  Philox4x32 gen_;
  std::array<uint32_t, 4> block_ = {};
  int used_ = 4;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_STREAM_H_
