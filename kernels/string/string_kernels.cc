#include "kernels/string/string_kernels.h"

namespace sluice {

void AddStringKernelsCpu(KernelRegistry& k) {
  AddStringTextKernels(k);
  AddRegexKernels(k);
  AddStringFormatKernels(k);
  AddStringJoinKernels(k);
  AddStringSplitKernels(k);
  AddStringNumberKernels(k);
}

}  // namespace sluice
