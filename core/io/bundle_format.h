// What the reader, the writer and the merger of checkpoints share. A checkpoint with prefix P is a sorted table P.index
// and data files P.data-00000-of-00001 and so on; see README.md.
#ifndef SLUICE_CORE_IO_BUNDLE_FORMAT_H_
#define SLUICE_CORE_IO_BUNDLE_FORMAT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/io/file_system.h"
#include "core/io/tensor_slice.h"
#include "core/types/shape.h"
#include "core/types/tensor.h"

namespace sluice {

struct BundleEntry {
  DType dtype = DType::kInvalid;  // kInvalid for a type that we do not have: the entry is kept, reading it is an error
  int dtype_number = 0;
  Shape shape;
  int shard = 0;
  int64_t offset = 0;
  int64_t size = 0;
  uint32_t masked_crc = 0;
  std::vector<TensorSlice> slices;  // not empty: the tensor is stored in these parts, under SliceKey(name, slice)
};

struct BundleIndex {
  int num_shards = 1;
  std::map<std::string, BundleEntry, std::less<>> entries;
};

std::string IndexPath(absl::string_view prefix);
std::string ShardPath(absl::string_view prefix, int shard, int num_shards);

// Reads and checks P.index; every number in it is checked as far as it can be without the data files.
absl::StatusOr<BundleIndex> ReadBundleIndex(FileSystem* files, const std::string& prefix);
// Writes P.index under a temporary name, syncs it, renames it, and syncs the folder: this commits the checkpoint.
absl::Status CommitBundleIndex(FileSystem* files, const std::string& prefix, const BundleIndex& index);

// A number of shards, at least `wanted`, for which no data file of `prefix` exists: saving over a checkpoint writes
// beside its data, so that it stays whole until the new index replaces its own in one step.
absl::StatusOr<int> FreeShardCount(FileSystem* files, const std::string& prefix, int wanted);
// Removes data files of `prefix` that belong to another number of shards. Failing does no harm.
void RemoveStaleShards(FileSystem* files, const std::string& prefix, int num_shards);

// The stored bytes of a string tensor in front of the strings themselves (their lengths, and a checksum of those), and
// the running CRC so far.
std::string EncodeStringLengths(absl::Span<const std::string> strings, uint32_t* crc);
// Fills `strings` from stored bytes; returns the CRC of all, or DATA_LOSS.
absl::StatusOr<uint32_t> DecodeStrings(absl::string_view stored, absl::Span<std::string> strings);

}  // namespace sluice

#endif  // SLUICE_CORE_IO_BUNDLE_FORMAT_H_
