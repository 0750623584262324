// Kernels that save and restore. Files are core/io's: a checkpoint appears complete or not at all, and damage is found.
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "core/base/metrics.h"
#include "core/base/status.h"
#include "core/io/bundle_writer.h"
#include "core/io/checkpoint_reader.h"
#include "core/io/file_system.h"
#include "core/io/tensor_slice.h"
#include "kernels/data/data_kernels.h"
#include "kernels/data/inputs.h"

namespace sluice {
namespace {

constexpr int kFirstTensor = 3;

class SaveV2Kernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    absl::Status saved = Save(c);
    ProcessMetrics()
        .CounterOf("sluice_checkpoint_parts_total",
                   "Files of checkpoints that this process has written, or failed to write.",
                   {{"outcome", saved.ok() ? "saved" : "failed"}})
        .Add();
    return saved;
  }

 private:
  absl::Status Save(KernelContext& c) const {
    const int count = c.num_inputs() - kFirstTensor;
    ASSIGN_OR_RETURN(const std::string prefix, StringInput(c, 0, "prefix"));
    ASSIGN_OR_RETURN(const auto names, StringsInput(c, 1, count, "tensor_names"));
    ASSIGN_OR_RETURN(const auto parts, StringsInput(c, 2, count, "shape_and_slices"));
    ASSIGN_OR_RETURN(const auto writer, BundleWriter::Make(PosixFileSystem(), prefix));
    for (int i = 0; i < count; ++i) {
      const Tensor& value = c.input(kFirstTensor + i);
      if (!value.IsValid())
        return FailedPrecondition("tensor '", names[i], "' to save has no value: it was not initialized");
      absl::StatusOr<ShapeAndSlice> part = ParseShapeAndSlice(parts[i]);
      if (!part.ok()) return Annotate(part.status(), absl::StrCat("tensor '", names[i], "': "));
      RETURN_IF_ERROR(part->whole ? writer->Add(names[i], value)
                                  : writer->AddSlice(names[i], part->full_shape, part->slice, value));
    }
    return writer->Finish();
  }
};

// Tensor `name`, or its part, for output i.
absl::Status RestoreOne(const CheckpointReader& reader, const std::string& name, const std::string& part_text, int i,
                        KernelContext& c) {
  ASSIGN_OR_RETURN(const CheckpointReader::Info info, reader.Describe(name));
  const DType wanted = BaseType(c.node().output_types[i]);
  if (info.dtype != DType::kInvalid && info.dtype != wanted) {
    return InvalidArgument("tensor_name = ", name, "; expected dtype ", DTypeName(wanted),
                           " does not equal original dtype ", DTypeName(info.dtype));
  }
  absl::StatusOr<ShapeAndSlice> part = ParseShapeAndSlice(part_text);
  if (!part.ok()) return Annotate(part.status(), absl::StrCat("tensor '", name, "': "));
  if (part->whole) {
    ASSIGN_OR_RETURN(Tensor value, reader.Read(name));
    c.SetOutput(i, std::move(value));
    return absl::OkStatus();
  }
  if (part->full_shape != info.shape) {
    return InvalidArgument("tensor_name = ", name, "; shape in shape_and_slice spec ", part->full_shape.ToString(),
                           " does not match the shape stored in checkpoint: ", info.shape.ToString());
  }
  ASSIGN_OR_RETURN(Tensor value, reader.ReadSlice(name, part->slice));
  c.SetOutput(i, std::move(value));
  return absl::OkStatus();
}

class RestoreV2Kernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string prefix, StringInput(c, 0, "prefix"));
    ASSIGN_OR_RETURN(const auto names, StringsInput(c, 1, c.num_outputs(), "tensor_names"));
    ASSIGN_OR_RETURN(const auto parts, StringsInput(c, 2, c.num_outputs(), "shape_and_slices"));
    ASSIGN_OR_RETURN(const auto reader, OpenCheckpoint(PosixFileSystem(), prefix));
    for (int i = 0; i < c.num_outputs(); ++i) RETURN_IF_ERROR(RestoreOne(*reader, names[i], parts[i], i, c));
    return absl::OkStatus();
  }
};

// Restore and RestoreSlice: one tensor.
class RestoreKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string prefix, StringInput(c, 0, "file_pattern"));
    ASSIGN_OR_RETURN(const std::string name, StringInput(c, 1, "tensor_name"));
    std::string part;
    if (c.num_inputs() > 2) {
      ASSIGN_OR_RETURN(part, StringInput(c, 2, "shape_and_slice"));
    }
    ASSIGN_OR_RETURN(const auto reader, OpenCheckpoint(PosixFileSystem(), prefix));
    return RestoreOne(*reader, name, part, 0, c);
  }
};

class MergeV2CheckpointsKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(delete_folders_, p.Attr<bool>("delete_old_dirs"));
    ASSIGN_OR_RETURN(allow_missing_, p.Attr<bool>("allow_missing_files"));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const auto parts, StringsInput(c, 0, c.input(0).num_elements(), "checkpoint_prefixes"));
    ASSIGN_OR_RETURN(const std::string destination, StringInput(c, 1, "destination_prefix"));
    FileSystem* const files = PosixFileSystem();
    const std::vector<std::string> prefixes(parts.begin(), parts.end());
    RETURN_IF_ERROR(MergeBundles(files, prefixes, destination, allow_missing_));
    ProcessMetrics()
        .CounterOf("sluice_checkpoints_merged_total", "Checkpoints of several files that were completed here.")
        .Add();
    if (!delete_folders_) return absl::OkStatus();
    std::set<std::string> folders;
    for (const std::string& prefix : prefixes) folders.emplace(FolderOf(prefix));
    folders.erase(std::string(FolderOf(destination)));
    // A folder that holds something else stays.
    for (const std::string& folder : folders) files->RemoveEmptyFolder(folder).IgnoreError();
    return absl::OkStatus();
  }

 private:
  bool delete_folders_ = true;
  bool allow_missing_ = false;
};

class ShardedFilenameKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string base, StringInput(c, 0, "basename"));
    const int last = c.num_inputs() - 1;
    for (int i = 1; i <= last; ++i) {
      if (c.input(i).num_elements() != 1) return InvalidArgument("shard and num_shards must be scalars");
    }
    const int32_t shards = *c.input(last).data<int32_t>();
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
    out->scalar<std::string>() = last == 2
                                     ? absl::StrFormat("%s-%05d-of-%05d", base, *c.input(1).data<int32_t>(), shards)
                                     : absl::StrFormat("%s-\?\?\?\?\?-of-%05d", base, shards);
    return absl::OkStatus();
  }
};

}  // namespace

void AddCheckpointKernels(KernelRegistry& k) {
  k.Add("SaveV2", kCpu, KernelDef().Make<SaveV2Kernel>());
  k.Add("RestoreV2", kCpu, KernelDef().Make<RestoreV2Kernel>());
  k.Add("Restore", kCpu, KernelDef().Make<RestoreKernel>());
  k.Add("RestoreSlice", kCpu, KernelDef().Make<RestoreKernel>());
  k.Add("MergeV2Checkpoints", kCpu, KernelDef().Make<MergeV2CheckpointsKernel>());
  k.Add("ShardedFilename", kCpu, KernelDef().Make<ShardedFilenameKernel>());
  k.Add("ShardedFilespec", kCpu, KernelDef().Make<ShardedFilenameKernel>());
}

}  // namespace sluice
