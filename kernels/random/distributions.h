// Numbers of a distribution from random bits. Each has the type T of its numbers, a group size kGroup, and fills one
// group.
//
// Fixed distributions make a group of one Philox block; TruncatedNormal takes as many numbers as it needs and so
// has a region of the counter for each group (see FillRandom). Uniform numbers have all mantissa bits random: [1, 2)
// - 1.
#ifndef SLUICE_KERNELS_RANDOM_DISTRIBUTIONS_H_
#define SLUICE_KERNELS_RANDOM_DISTRIBUTIONS_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/base/philox.h"
#include "core/types/numeric_types.h"
#include "kernels/random/stream.h"

namespace sluice {

inline float UniformFloat(uint32_t x) {
  const uint32_t bits = (127u << 23) | (x & 0x7fffffu);
  float f;
  std::memcpy(&f, &bits, sizeof(f));
  return f - 1.0f;
}
inline double UniformDouble(uint32_t x0, uint32_t x1) {
  const uint64_t bits = (uint64_t{1023} << 52) | (static_cast<uint64_t>(x0 & 0xfffffu) << 32) | x1;
  double d;
  std::memcpy(&d, &bits, sizeof(d));
  return d - 1.0;
}

// Two normal numbers from two uniform ones (Box and Muller 1958).
inline void NormalPair(float u, float v, float* a, float* b) {
  const float u1 = u < 1.0e-7f ? 1.0e-7f : u;
  const float angle = static_cast<float>(2.0f * M_PI * v);
  const float radius = std::sqrt(-2.0f * std::log(u1));
  *a = std::sin(angle) * radius;
  *b = std::cos(angle) * radius;
}
inline void NormalPair(double u, double v, double* a, double* b) {
  const double u1 = u < 1.0e-7 ? 1.0e-7 : u;
  const double angle = 2 * M_PI * v;
  const double radius = std::sqrt(-2.0 * std::log(u1));
  *a = std::sin(angle) * radius;
  *b = std::cos(angle) * radius;
}

template <class T>
struct Uniform {
  using Type = T;
  static constexpr int kGroup = std::is_same_v<T, double> ? 2 : 4;
  void Fill(const uint32_t* x, T* out) const {
    if constexpr (std::is_same_v<T, double>) {
      out[0] = UniformDouble(x[0], x[1]);
      out[1] = UniformDouble(x[2], x[3]);
    } else {
      for (int i = 0; i < 4; ++i) {
        if constexpr (std::is_same_v<T, half>) {
          const auto raw = static_cast<uint16_t>((15u << 10) | (x[i] & 0x3ffu));
          out[i] = static_cast<half>(static_cast<float>(Eigen::numext::bit_cast<half>(raw)) - 1.0f);
        } else if constexpr (std::is_same_v<T, bfloat16>) {
          const auto raw = static_cast<uint16_t>((127u << 7) | (x[i] & 0x7fu));
          out[i] = static_cast<bfloat16>(static_cast<float>(Eigen::numext::bit_cast<bfloat16>(raw)) - 1.0f);
        } else {
          out[i] = UniformFloat(x[i]);
        }
      }
    }
  }
};

// Integers of [low, low + range); range as a number without sign.
template <class T>
struct UniformInt {
  using Type = T;
  static constexpr int kGroup = sizeof(T) == 8 ? 2 : 4;
  T low = 0;
  std::make_unsigned_t<T> range = 1;
  void Fill(const uint32_t* x, T* out) const {
    for (int i = 0; i < kGroup; ++i) {
      std::make_unsigned_t<T> bits;
      if constexpr (sizeof(T) == 8) {
        bits = static_cast<uint64_t>(x[2 * i + 1]) << 32 | x[2 * i];
      } else {
        bits = x[i];
      }
      out[i] = static_cast<T>(static_cast<std::make_unsigned_t<T>>(low) + bits % range);
    }
  }
};

template <class T>
struct Normal {
  using Type = T;
  static constexpr int kGroup = std::is_same_v<T, double> ? 2 : 4;
  void Fill(const uint32_t* x, T* out) const {
    if constexpr (std::is_same_v<T, double>) {
      NormalPair(UniformDouble(x[0], x[1]), UniformDouble(x[2], x[3]), &out[0], &out[1]);
    } else {
      for (int i = 0; i < 4; i += 2) {
        float a, b;
        NormalPair(UniformFloat(x[i]), UniformFloat(x[i + 1]), &a, &b);
        out[i] = static_cast<T>(a);
        out[i + 1] = static_cast<T>(b);
      }
    }
  }
};

template <class T>
struct TruncatedNormal {
  using Type = T;
  static constexpr int kGroup = std::is_same_v<T, double> ? 2 : 4;
  // 256 numbers of 32 bits are set aside for each element.
  static constexpr int kBlocksOfGroup = kGroup * 256 / 4;
  void Fill(PhiloxStream& gen, T* out) const {
    using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
    for (int n = 0; n < kGroup;) {
      Wide pair[2];
      const uint32_t x0 = gen.Next(), x1 = gen.Next();
      if constexpr (std::is_same_v<T, double>) {
        const uint32_t x2 = gen.Next(), x3 = gen.Next();
        NormalPair(UniformDouble(x0, x1), UniformDouble(x2, x3), &pair[0], &pair[1]);
      } else {
        NormalPair(UniformFloat(x0), UniformFloat(x1), &pair[0], &pair[1]);
      }
      for (Wide z : pair) {
        if (std::abs(z) < Wide(2) && n < kGroup) out[n++] = static_cast<T>(z);
      }
    }
  }
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_DISTRIBUTIONS_H_
