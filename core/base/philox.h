// The counter-based random generator Philox4x32-10 (Salmon et al., SC 2011), numbered as TensorFlow numbers it: the key
// is the first seed, the upper half of the counter the second.
//
//   Philox4x32 g(seed, seed2);
//   g.Skip(n);                              // in constant time: block n comes next
//   std::array<uint32_t, 4> block = g.Next();
//
// Threads: a value; copies go on independently.
#ifndef SLUICE_CORE_BASE_PHILOX_H_
#define SLUICE_CORE_BASE_PHILOX_H_

#include <array>
#include <cstdint>

namespace sluice {

class Philox4x32 {
 public:
  explicit Philox4x32(uint64_t seed, uint64_t seed2 = 0) : key_(seed), high_(seed2) {}

  void Skip(uint64_t blocks) {
    low_ += blocks;
    if (low_ < blocks) ++high_;
  }

  std::array<uint32_t, 4> Next() {
    std::array<uint32_t, 4> x = {static_cast<uint32_t>(low_), static_cast<uint32_t>(low_ >> 32),
                                 static_cast<uint32_t>(high_), static_cast<uint32_t>(high_ >> 32)};
    uint32_t k0 = static_cast<uint32_t>(key_), k1 = static_cast<uint32_t>(key_ >> 32);
    for (int round = 0; round < 10; ++round) {
      const uint64_t a = uint64_t{0xD2511F53} * x[0], b = uint64_t{0xCD9E8D57} * x[2];
      x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ k0, static_cast<uint32_t>(b),
           static_cast<uint32_t>(a >> 32) ^ x[3] ^ k1, static_cast<uint32_t>(a)};
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    Skip(1);
    return x;
  }

  uint64_t key() const { return key_; }
  // The number of the block that comes next, its lower and its upper half.
  uint64_t low() const { return low_; }
  uint64_t high() const { return high_; }

 private:
  uint64_t key_;
  uint64_t low_ = 0, high_;  // the counter
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_PHILOX_H_
