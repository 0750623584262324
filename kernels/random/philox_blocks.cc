#include "kernels/random/philox_blocks.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/with_simd.h"

namespace sluice {
namespace {

constexpr int kLanes = 16;

// kLanes blocks, one in each lane.
SLUICE_HOST_DEVICE void Lanes(uint64_t key, uint64_t low, uint64_t high, uint32_t* out) {
  uint32_t x0[kLanes], x1[kLanes], x2[kLanes], x3[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const uint64_t at = low + l, top = high + (at < low);
    x0[l] = static_cast<uint32_t>(at);
    x1[l] = static_cast<uint32_t>(at >> 32);
    x2[l] = static_cast<uint32_t>(top);
    x3[l] = static_cast<uint32_t>(top >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int l = 0; l < kLanes; ++l) {
      const uint64_t a = uint64_t{0xD2511F53} * x0[l], b = uint64_t{0xCD9E8D57} * x2[l];
      x0[l] = static_cast<uint32_t>(b >> 32) ^ x1[l] ^ k0;
      x2[l] = static_cast<uint32_t>(a >> 32) ^ x3[l] ^ k1;
      x1[l] = static_cast<uint32_t>(b);
      x3[l] = static_cast<uint32_t>(a);
    }
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  for (int l = 0; l < kLanes; ++l) {
    out[4 * l] = x0[l];
    out[4 * l + 1] = x1[l];
    out[4 * l + 2] = x2[l];
    out[4 * l + 3] = x3[l];
  }
}

}  // namespace

void PhiloxBlocks(const Philox4x32& gen, int64_t blocks, uint32_t* out) {
  WithSimd([&]() SLUICE_INLINE_LOOP {
    uint64_t low = gen.low(), high = gen.high();
    for (int64_t b = 0; b < blocks; b += kLanes) {
      if (blocks - b >= kLanes) {
        Lanes(gen.key(), low, high, out + 4 * b);
      } else {
        uint32_t last[4 * kLanes];
        Lanes(gen.key(), low, high, last);
        std::memcpy(out + 4 * b, last, sizeof(uint32_t) * 4 * (blocks - b));
      }
      low += kLanes;
      high += low < kLanes;
    }
  });
}

}  // namespace sluice
