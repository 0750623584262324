// Checkpoints of format V1, which TensorFlow wrote until 2016 and on request after that: sorted tables with one message
// for each part of a tensor. Read only, and whole: everything is in memory after Open.
#ifndef SLUICE_CORE_IO_OLD_CHECKPOINT_H_
#define SLUICE_CORE_IO_OLD_CHECKPOINT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/io/checkpoint_reader.h"

namespace sluice {

class OldCheckpoint : public CheckpointReader {
 public:
  // `paths` are the shards of one checkpoint.
  static absl::StatusOr<std::unique_ptr<OldCheckpoint>> Open(FileSystem* files, const std::vector<std::string>& paths);

  std::vector<std::string> Names() const override;
  absl::StatusOr<Info> Describe(absl::string_view name) const override;
  absl::StatusOr<Tensor> Read(absl::string_view name, Allocator* allocator = HostAllocator()) const override;
  absl::StatusOr<Tensor> ReadSlice(absl::string_view name, const TensorSlice& slice,
                                   Allocator* allocator = HostAllocator()) const override;

 private:
  struct Entry {
    Info info;
    std::vector<TensorSlice> parts;  // with all lengths filled in
    std::vector<Tensor> values;
  };
  absl::Status AddMeta(absl::string_view message);
  absl::Status AddValue(absl::string_view message);
  absl::StatusOr<const Entry*> Get(absl::string_view name) const;

  std::string path_;  // of the first shard, for messages
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_IO_OLD_CHECKPOINT_H_
