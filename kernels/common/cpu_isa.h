// Which vector instructions this processor has. Asked once, when a kernel is made.
#ifndef SLUICE_KERNELS_COMMON_CPU_ISA_H_
#define SLUICE_KERNELS_COMMON_CPU_ISA_H_

namespace sluice {

enum class CpuIsa { kBaseline, kAvx2, kAvx512 };

// The best one, or less when the environment variable SLUICE_ISA says "baseline" or "avx2".
CpuIsa BestCpuIsa();

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_CPU_ISA_H_
