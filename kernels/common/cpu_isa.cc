#include "kernels/common/cpu_isa.h"

#include <cstdlib>

#include "absl/strings/string_view.h"
#include "kernels/common/cpu_narrow.h"

namespace sluice {
namespace {

absl::string_view Limit() {
  const char* asked = std::getenv("SLUICE_ISA");
  return asked == nullptr ? "" : asked;
}

CpuIsa Detect() {
#if defined(__x86_64__)
  const absl::string_view limit = Limit();
  if (limit == "baseline" || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return CpuIsa::kBaseline;
  if (limit == "avx2" || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw")) {
    return CpuIsa::kAvx2;
  }
  return CpuIsa::kAvx512;
#else
  return CpuIsa::kBaseline;
#endif
}

}  // namespace

CpuIsa BestCpuIsa() {
  static const CpuIsa isa = Detect();
  return isa;
}

bool CpuMultipliesBfloat16() {
#if defined(__x86_64__)
  static const bool multiplies =
      BestCpuIsa() == CpuIsa::kAvx512 && Limit() != "avx512" && __builtin_cpu_supports("avx512bf16");
  return multiplies;
#else
  return false;
#endif
}

bool CpuConvertsHalf() {
#if defined(__x86_64__)
  static const bool converts = BestCpuIsa() != CpuIsa::kBaseline && __builtin_cpu_supports("f16c");
  return converts;
#else
  return false;
#endif
}

}  // namespace sluice
