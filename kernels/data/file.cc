// Kernels on whole files.
#include <set>
#include <string>
#include <utility>

#include "core/base/status.h"
#include "core/io/file_system.h"
#include "kernels/data/data_kernels.h"
#include "kernels/data/inputs.h"

namespace sluice {
namespace {

class ReadFileKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string path, StringInput(c, 0, "filename"));
    ASSIGN_OR_RETURN(std::string contents, ReadFile(PosixFileSystem(), path));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
    out->scalar<std::string>() = std::move(contents);
    return absl::OkStatus();
  }
};

class WriteFileKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string path, StringInput(c, 0, "filename"));
    ASSIGN_OR_RETURN(const std::string contents, StringInput(c, 1, "contents"));
    FileSystem* const files = PosixFileSystem();
    const std::string folder(FolderOf(path));
    if (!folder.empty()) RETURN_IF_ERROR(files->MakeFolders(folder));
    return WriteFileAtomically(files, path, contents);
  }
};

class MatchingFilesKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    std::set<std::string> found;
    for (const std::string& pattern : c.input(0).flat<std::string>()) {
      ASSIGN_OR_RETURN(const std::vector<std::string> paths, Glob(PosixFileSystem(), pattern));
      found.insert(paths.begin(), paths.end());
    }
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape({static_cast<int64_t>(found.size())})));
    std::copy(found.begin(), found.end(), out->data<std::string>());
    return absl::OkStatus();
  }
};

}  // namespace

void AddFileKernels(KernelRegistry& k) {
  k.Add("ReadFile", kCpu, KernelDef().Make<ReadFileKernel>());
  k.Add("WriteFile", kCpu, KernelDef().Make<WriteFileKernel>());
  k.Add("MatchingFiles", kCpu, KernelDef().Make<MatchingFilesKernel>());
}

}  // namespace sluice
