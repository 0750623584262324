// Loading custom ops: the whole library is tried on registries of its own before the process's are changed.
#include "core/kernel/op_library.h"

#include <dlfcn.h>

#include <cstring>
#include <memory>

#include "absl/strings/str_join.h"
#include "runtime/c_api/internal.h"

namespace sluice {
namespace {

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

// The library was compiled against what this one was.
absl::Status CheckAbi(void* library, absl::string_view path) {
  using Facts = const AbiFact* (*)(int*);
  const auto facts_of = reinterpret_cast<Facts>(dlsym(library, "SluiceOpLibraryAbi"));
  if (facts_of == nullptr) {
    return FailedPrecondition(path, " does not say what it was compiled against: include core/kernel/op_library.h");
  }
  int count = 0;
  const AbiFact* const facts = facts_of(&count);
  std::vector<std::string> differences;
  for (int i = 0; i < count && i < kNumOpLibraryAbi; ++i) {
    const AbiFact &theirs = facts[i], &ours = kOpLibraryAbi[i];
    if (std::strcmp(theirs.name, ours.name) != 0 || theirs.value != ours.value) {
      differences.push_back(absl::StrCat(theirs.name, " is ", theirs.value, " there; ", ours.name, " is ", ours.value));
    }
  }
  if (count != kNumOpLibraryAbi) differences.push_back(absl::StrCat(count, " facts there, ", kNumOpLibraryAbi));
  if (differences.empty()) return absl::OkStatus();
  return FailedPrecondition(path, " was compiled against other headers of Sluice, compile it again: ",
                            absl::StrJoin(differences, ", "), " here");
}

absl::StatusOr<std::string> Load(const char* path, ProcessEnvironment* environment) {
  Library library(dlopen(path, RTLD_NOW | RTLD_LOCAL));
  if (library == nullptr) return NotFound("cannot load the op library ", path, ": ", dlerror());
  using Register = void (*)(OpRegistry*, KernelRegistry*);
  const auto register_ops = reinterpret_cast<Register>(dlsym(library.get(), "SluiceRegisterOps"));
  if (register_ops == nullptr) {
    return InvalidArgument(path, " does not export SluiceRegisterOps(OpRegistry*, KernelRegistry*)");
  }
  RETURN_IF_ERROR(CheckAbi(library.get(), path));

  std::string names;
  OpRegistry ops;
  KernelRegistry kernels = environment->kernels;  // so that two kernels for one node are found
  register_ops(&ops, &kernels);
  absl::Status status = ops.Finish();
  for (const OpDef* op : ops.List()) {
    absl::StrAppend(&names, op->name, "\n");
    if (status.ok() && environment->ops.Find(op->name) != nullptr) {
      status = AlreadyExists("op ", op->name, " is already defined");
    }
  }
  if (status.ok()) status = kernels.Finish();
  if (!status.ok()) return Annotate(status, absl::StrCat(path, ": "));

  (void)library.release();  // its code is in use from now on
  KernelRegistry unused;
  register_ops(&environment->ops, &unused);
  RETURN_IF_ERROR(environment->ops.Finish());
  environment->kernels = std::move(kernels);
  return names;
}

}  // namespace
}  // namespace sluice

SL_Buffer* SL_LoadOpLibrary(const char* path, SL_Status* status) {
  absl::StatusOr<std::string> names = sluice::Load(path, &sluice::GetProcessEnvironment());
  status->Set(names.status());
  return names.ok() ? sluice::NewBuffer(*names) : nullptr;
}
