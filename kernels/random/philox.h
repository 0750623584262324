// Philox4x32-10: random bits as a function of a key and a counter (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011).
//
//   Philox gen(seed, seed2);
//   Philox::Block four = gen.Next();
//   gen.Skip(1000);                    // as if Next had been called a thousand times
//
// Keys and counters are laid out as TensorFlow lays them out, so that equal seeds give its numbers.
#ifndef SLUICE_KERNELS_RANDOM_PHILOX_H_
#define SLUICE_KERNELS_RANDOM_PHILOX_H_

#include <array>
#include <cstdint>

namespace sluice {

class Philox {
 public:
  using Block = std::array<uint32_t, 4>;
  using Key = std::array<uint32_t, 2>;
  static constexpr int kBlock = 4;

  Philox() = default;
  // The seed is the key; seed2 the upper half of the counter.
  Philox(uint64_t seed, uint64_t seed2) {
    key_ = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    counter_ = {0, 0, static_cast<uint32_t>(seed2), static_cast<uint32_t>(seed2 >> 32)};
  }
  Philox(Block counter, Key key) : counter_(counter), key_(key) {}

  Block Next() {
    Block x = counter_;
    Key k = key_;
    for (int round = 0; round < 9; ++round) {
      x = Round(x, k);
      k[0] += 0x9E3779B9;
      k[1] += 0xBB67AE85;
    }
    x = Round(x, k);
    Skip(1);
    return x;
  }

  // Adds to the counter of 128 bits.
  void Skip(uint64_t count) {
    const uint64_t low = static_cast<uint64_t>(counter_[1]) << 32 | counter_[0];
    const uint64_t sum = low + count;
    counter_[0] = static_cast<uint32_t>(sum);
    counter_[1] = static_cast<uint32_t>(sum >> 32);
    if (sum < low && ++counter_[2] == 0) ++counter_[3];
  }

  const Block& counter() const { return counter_; }
  const Key& key() const { return key_; }

 private:
  static Block Round(const Block& x, const Key& k) {
    const uint64_t a = static_cast<uint64_t>(0xD2511F53) * x[0], b = static_cast<uint64_t>(0xCD9E8D57) * x[2];
    return {static_cast<uint32_t>(b >> 32) ^ x[1] ^ k[0], static_cast<uint32_t>(b), static_cast<uint32_t>(a >> 32) ^ x[3] ^ k[1],
            static_cast<uint32_t>(a)};
  }

  Block counter_ = {};
  Key key_ = {};
};

// The numbers of the blocks one by one.
class PhiloxStream {
 public:
  explicit PhiloxStream(const Philox& gen) : gen_(gen) {}
  uint32_t Next() {
    if (used_ == Philox::kBlock) {
      block_ = gen_.Next();
      used_ = 0;
    }
    return block_[used_++];
  }

 private:
  Philox gen_;
  Philox::Block block_ = {};
  int used_ = Philox::kBlock;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_PHILOX_H_
