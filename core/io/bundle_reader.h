// Reads a checkpoint (TensorBundle), also one that TensorFlow wrote.
//
//   ASSIGN_OR_RETURN(auto reader, BundleReader::Open(files, "/ckpt/model-100"));
//   ASSIGN_OR_RETURN(Tensor kernel, reader->Read("dense/kernel"));
//
// Every number of the file is checked before it is used and every byte against its checksum: damage is DATA_LOSS and
// names the tensor and the file, never a crash or a wrong value. Threads: any.
#ifndef SLUICE_CORE_IO_BUNDLE_READER_H_
#define SLUICE_CORE_IO_BUNDLE_READER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/io/bundle_format.h"
#include "core/io/checkpoint_reader.h"
#include "core/io/file_system.h"
#include "core/io/tensor_slice.h"
#include "core/types/allocator.h"
#include "core/types/tensor.h"

namespace sluice {

class BundleReader : public CheckpointReader {
 public:
  // NOT_FOUND when there is no such checkpoint, DATA_LOSS when its index is damaged.
  static absl::StatusOr<std::unique_ptr<BundleReader>> Open(FileSystem* files, const std::string& prefix);

  std::vector<std::string> Names() const override;
  absl::StatusOr<Info> Describe(absl::string_view name) const override;
  absl::StatusOr<Tensor> Read(absl::string_view name, Allocator* allocator = HostAllocator()) const override;
  absl::StatusOr<Tensor> ReadSlice(absl::string_view name, const TensorSlice& slice,
                                   Allocator* allocator = HostAllocator()) const override;

  const BundleEntry* Find(absl::string_view name) const;                 // null when not there
  absl::StatusOr<const BundleEntry*> Get(absl::string_view name) const;  // NOT_FOUND names checkpoint and tensor
  // Every data file is there and long enough. Quick.
  absl::Status CheckComplete() const;
  // Reads everything and compares checksums.
  absl::Status Verify() const;

 private:
  BundleReader(FileSystem* files, std::string prefix, BundleIndex index);
  absl::StatusOr<const ReadableFile*> Shard(int shard) const;
  absl::StatusOr<Tensor> ReadEntry(absl::string_view name, const BundleEntry& entry, Allocator* allocator) const;
  absl::StatusOr<Tensor> Assemble(absl::string_view name, const BundleEntry& entry, const TensorSlice& wanted,
                                  Allocator* allocator) const;

  FileSystem* const files_;
  const std::string prefix_;
  const BundleIndex index_;
  mutable absl::Mutex mu_;
  mutable absl::flat_hash_map<int, std::unique_ptr<ReadableFile>> shards_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_CORE_IO_BUNDLE_READER_H_
