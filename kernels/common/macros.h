// How scalar functions are declared so that one text serves the baseline CPU loops, the AVX loops and CUDA.
#ifndef SLUICE_KERNELS_COMMON_MACROS_H_
#define SLUICE_KERNELS_COMMON_MACROS_H_

#ifdef __CUDACC__
#define SLUICE_HOST_DEVICE __host__ __device__ inline
#else
// A function of the baseline can only take part in an AVX loop by being inlined into it.
#define SLUICE_HOST_DEVICE inline __attribute__((always_inline))
#endif

#if defined(__x86_64__) && !defined(__CUDACC__)
#define SLUICE_HAS_X86_LOOPS 1
#define SLUICE_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define SLUICE_TARGET_AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,prefer-vector-width=512")))
#endif

#endif  // SLUICE_KERNELS_COMMON_MACROS_H_
