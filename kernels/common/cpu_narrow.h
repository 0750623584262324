// Which instructions for half and bfloat16 this processor has.
#ifndef SLUICE_KERNELS_COMMON_CPU_NARROW_H_
#define SLUICE_KERNELS_COMMON_CPU_NARROW_H_

namespace sluice {

// AVX-512 and AVX512-BF16: products of pairs of bfloat16, added to float. Not when the environment variable SLUICE_ISA
// says "avx512" or less.
bool CpuMultipliesBfloat16();
// Half to float and back (F16C), wherever BestCpuIsa() is AVX2 or better.
bool CpuConvertsHalf();

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_CPU_NARROW_H_
