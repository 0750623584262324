#include "kernels/common/cpu_isa.h"

#include <cstdlib>

#include "absl/strings/string_view.h"

namespace sluice {
namespace {

CpuIsa Detect() {
#if defined(__x86_64__)
  const char* asked = std::getenv("SLUICE_ISA");
  const absl::string_view limit = asked == nullptr ? "" : asked;
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

}  // namespace sluice
