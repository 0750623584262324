// Blocks of floats for loops under WithSimd (kernels/common/with_simd.h): every variant adds them up in the same order,
// so sums do not depend on the processor.
#ifndef SLUICE_KERNELS_NN_SIMD_H_
#define SLUICE_KERNELS_NN_SIMD_H_

#include <cstdint>
#include <cstring>

#include "kernels/common/macros.h"
#include "kernels/common/with_simd.h"

namespace sluice {

inline constexpr int kLanes = 16;
// Sixteen floats. The compiler maps the operations on it to the registers at hand.
typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t IntLanes __attribute__((vector_size(kLanes * sizeof(int32_t))));

// Through memory: passing such a value in a register would tie callers to one instruction set.
SLUICE_HOST_DEVICE void LoadLanes(const float* p, Lanes* v) { std::memcpy(v, p, sizeof(Lanes)); }
SLUICE_HOST_DEVICE void StoreLanes(const Lanes& v, float* p) { std::memcpy(p, &v, sizeof(Lanes)); }
// The first n lanes, others `fill`.
SLUICE_HOST_DEVICE void LoadSome(const float* p, int64_t n, float fill, Lanes* v) {
  for (int i = 0; i < kLanes; ++i) (*v)[i] = i < n ? p[i] : fill;
}
SLUICE_HOST_DEVICE float SumOf(const Lanes& v) {
  float s[kLanes];
  std::memcpy(s, &v, sizeof s);
  for (int step = kLanes / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) s[i] += s[i + step];
  }
  return s[0];
}
SLUICE_HOST_DEVICE float MaxOf(const Lanes& v) {
  float m = v[0];
  for (int i = 1; i < kLanes; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_SIMD_H_
