// What a library of custom ops exports. Include it once, in the file that defines SluiceRegisterOps:
//
//   #include "core/kernel/op_library.h"
//
//   extern "C" void SluiceRegisterOps(sluice::OpRegistry* ops, sluice::KernelRegistry* kernels) {
//     ops->Define("Twice", "2 x.").Input("x", "T").Output("y", "T").Type("T", ...).Shape(SameAs("x"));
//     kernels->Add("Twice", kCpu, ...);
//   }
//
// SluiceRegisterOps does nothing but add to the registries that it is given: it is called with empty ones first, so
// that a library with a mistake changes nothing. The header also exports what the library was compiled against: one
// built for other headers is refused with a message that names the difference.
#ifndef SLUICE_CORE_KERNEL_OP_LIBRARY_H_
#define SLUICE_CORE_KERNEL_OP_LIBRARY_H_

#include <cstdint>
#include <string>

#include "core/kernel/kernel.h"
#include "core/kernel/kernel_registry.h"
#include "core/op/op_registry.h"
#include "core/op/shape_context.h"

namespace sluice {

struct AbiFact {
  const char* name;
  int64_t value;
};

// Raise the first value when a change keeps every size below and yet breaks libraries.
inline constexpr AbiFact kOpLibraryAbi[] = {
    {"interface version", 1},
    {"_GLIBCXX_USE_CXX11_ABI", _GLIBCXX_USE_CXX11_ABI},
    {"sizeof(std::string)", sizeof(std::string)},
    {"sizeof(absl::Status)", sizeof(absl::Status)},
    {"sizeof(Tensor)", sizeof(Tensor)},
    {"sizeof(Shape)", sizeof(Shape)},
    {"sizeof(NodeInfo)", sizeof(NodeInfo)},
    {"sizeof(OpDef)", sizeof(OpDef)},
    {"sizeof(KernelDef)", sizeof(KernelDef)},
    {"sizeof(PrepareContext)", sizeof(PrepareContext)},
    {"sizeof(StepContext)", sizeof(StepContext)},
    {"sizeof(KernelContext)", sizeof(KernelContext)},
    {"sizeof(ShapeContext)", sizeof(ShapeContext)},
};
inline constexpr int kNumOpLibraryAbi = sizeof(kOpLibraryAbi) / sizeof(kOpLibraryAbi[0]);

}  // namespace sluice

extern "C" __attribute__((used, visibility("default"))) inline const sluice::AbiFact* SluiceOpLibraryAbi(int* count) {
  *count = sluice::kNumOpLibraryAbi;
  return sluice::kOpLibraryAbi;
}

extern "C" __attribute__((visibility("default"))) void SluiceRegisterOps(sluice::OpRegistry* ops,
                                                                         sluice::KernelRegistry* kernels);

#endif  // SLUICE_CORE_KERNEL_OP_LIBRARY_H_
