// Loops that use the best vector instructions of the processor they run on.
//
//   WithSimd([&]() SLUICE_INLINE_LOOP { for (int64_t i = 0; i < n; ++i) y[i] = x[i] * a; });
//
// The body is compiled for the baseline, AVX2 and AVX-512, and one is chosen at run time. What it calls must be inlined
// into it (SLUICE_HOST_DEVICE, lambdas marked SLUICE_INLINE_LOOP). Capture pointers and sizes by value when the loop
// stores bytes or types that may alias: those could lie in a captured variable, which would be read again for each
// element.
#ifndef SLUICE_KERNELS_COMMON_WITH_SIMD_H_
#define SLUICE_KERNELS_COMMON_WITH_SIMD_H_

#include "kernels/common/cpu_isa.h"
#include "kernels/common/macros.h"

#define SLUICE_INLINE_LOOP __attribute__((always_inline))

namespace sluice {

template <typename F>
void RunBaseline(F f) {
  f();
}
#ifdef SLUICE_HAS_X86_LOOPS
template <typename F>
SLUICE_TARGET_AVX2 void RunAvx2(F f) {
  f();
}
template <typename F>
SLUICE_TARGET_AVX512 void RunAvx512(F f) {
  f();
}
#endif

template <typename F>
inline void WithSimd(const F& f) {
#ifdef SLUICE_HAS_X86_LOOPS
  const CpuIsa isa = BestCpuIsa();
  if (isa == CpuIsa::kAvx512) return RunAvx512(f);
  if (isa == CpuIsa::kAvx2) return RunAvx2(f);
#endif
  RunBaseline(f);
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_WITH_SIMD_H_
