#include "core/io/bundle_writer.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/io/crc32c.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<BundleWriter>> BundleWriter::Make(FileSystem* files, const std::string& prefix) {
  if (prefix.empty() || prefix.back() == '/') return InvalidArgument("'", prefix, "' is no prefix for a checkpoint");
  const std::string folder(FolderOf(prefix));
  if (!folder.empty()) RETURN_IF_ERROR(files->MakeFolders(folder));
  std::string path = TemporaryName(ShardPath(prefix, 0, 1));
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> data, files->OpenForWriting(path));
  return std::unique_ptr<BundleWriter>(new BundleWriter(files, prefix, std::move(path), std::move(data)));
}

BundleWriter::BundleWriter(FileSystem* files, std::string prefix, std::string data_path,
                           std::unique_ptr<WritableFile> data)
    : files_(files), prefix_(std::move(prefix)), data_path_(std::move(data_path)), data_(std::move(data)) {}

BundleWriter::~BundleWriter() {
  if (finished_) return;
  data_.reset();
  files_->RemoveFile(data_path_).IgnoreError();
}

absl::Status BundleWriter::Add(absl::string_view key, const Tensor& value) {
  if (key.empty()) return InvalidArgument("a tensor without a name cannot be saved");
  if (index_.entries.count(key) > 0) return InvalidArgument("tensor '", key, "' is saved twice in ", prefix_);
  if (!IsPlain(value.dtype()) && value.dtype() != DType::kString) {
    return InvalidArgument("tensor '", key, "' has type ", DTypeName(value.dtype()), ", which cannot be saved");
  }
  BundleEntry entry;
  entry.dtype = value.dtype();
  entry.dtype_number = static_cast<int>(value.dtype());
  entry.shape = value.shape();
  entry.offset = offset_;
  uint32_t crc = 0;
  if (value.dtype() == DType::kString) {
    const absl::Span<const std::string> strings = value.flat<std::string>();
    const std::string lengths = EncodeStringLengths(strings, &crc);
    RETURN_IF_ERROR(data_->Append(lengths));
    entry.size = static_cast<int64_t>(lengths.size());
    for (const std::string& s : strings) {
      crc = ExtendCrc32c(crc, s.data(), s.size());
      RETURN_IF_ERROR(data_->Append(s));
      entry.size += static_cast<int64_t>(s.size());
    }
  } else {
    entry.size = static_cast<int64_t>(value.num_bytes());
    // In pieces, so that the bytes are still in the cache when they are written.
    constexpr int64_t kPiece = 1 << 20;
    for (int64_t at = 0; at < entry.size; at += kPiece) {
      const absl::string_view piece(value.data<char>() + at, static_cast<size_t>(std::min(kPiece, entry.size - at)));
      crc = ExtendCrc32c(crc, piece.data(), piece.size());
      RETURN_IF_ERROR(data_->Append(piece));
    }
  }
  entry.masked_crc = MaskCrc(crc);
  offset_ += entry.size;
  index_.entries.emplace(std::string(key), std::move(entry));
  return absl::OkStatus();
}

absl::Status BundleWriter::AddSlice(absl::string_view key, const Shape& full_shape, const TensorSlice& slice,
                                    const Tensor& value) {
  absl::StatusOr<TensorSlice> within = slice.Within(full_shape);
  if (!within.ok()) return Annotate(within.status(), absl::StrCat("tensor '", key, "': "));
  if (within->ToShape() != value.shape()) {
    return InvalidArgument("tensor '", key, "': slice ", slice.ToString(), " of ", full_shape.ToString(),
                           " does not have the shape of the value, ", value.shape().ToString());
  }
  if (value.shape() == full_shape) return Add(key, value);
  auto [it, is_new] = index_.entries.try_emplace(std::string(key));
  BundleEntry& entry = it->second;
  if (is_new) {
    entry.dtype = value.dtype();
    entry.dtype_number = static_cast<int>(value.dtype());
    entry.shape = full_shape;
  } else if (entry.slices.empty()) {
    return InvalidArgument("tensor '", key, "' is saved both whole and in parts in ", prefix_);
  } else if (entry.dtype != value.dtype() || entry.shape != full_shape) {
    return InvalidArgument("parts of tensor '", key, "' disagree: ", DTypeName(entry.dtype), " ",
                           entry.shape.ToString(), " and ", DTypeName(value.dtype()), " ", full_shape.ToString());
  }
  entry.slices.push_back(slice);
  return Add(SliceKey(key, slice), value);
}

absl::Status BundleWriter::Finish() {
  if (finished_) return FailedPrecondition("the checkpoint ", prefix_, " was finished before");
  ASSIGN_OR_RETURN(const int num_shards, FreeShardCount(files_, prefix_, 1));
  index_.num_shards = num_shards;
  const int shard = num_shards - 1;
  for (auto& [key, entry] : index_.entries) entry.shard = entry.slices.empty() ? shard : 0;
  RETURN_IF_ERROR(data_->Sync());
  RETURN_IF_ERROR(data_->Close());
  RETURN_IF_ERROR(files_->Rename(data_path_, ShardPath(prefix_, shard, num_shards)));
  finished_ = true;  // from here on the data file has its name, and a later save replaces it
  // The data's name must be on disk before the index that points at it.
  RETURN_IF_ERROR(files_->SyncFolder(std::string(FolderOf(prefix_))));
  RETURN_IF_ERROR(CommitBundleIndex(files_, prefix_, index_));
  RemoveStaleShards(files_, prefix_, num_shards);
  return absl::OkStatus();
}

absl::Status MergeBundles(FileSystem* files, const std::vector<std::string>& prefixes, const std::string& merged,
                          bool allow_missing) {
  BundleIndex result;
  std::map<std::string, int> new_shards;  // by path, in order of their numbers
  std::vector<std::string> order;
  std::set<std::string> done;
  for (const std::string& prefix : prefixes) {
    if (!done.insert(prefix).second) continue;
    absl::StatusOr<BundleIndex> index = ReadBundleIndex(files, prefix);
    if (!index.ok()) {
      if (allow_missing && absl::IsNotFound(index.status())) continue;
      return Annotate(index.status(), absl::StrCat("merging into ", merged, ": "));
    }
    for (auto& [key, entry] : index->entries) {
      if (entry.slices.empty()) {
        const std::string path = ShardPath(prefix, entry.shard, index->num_shards);
        const auto [it, is_new] = new_shards.emplace(path, static_cast<int>(order.size()));
        if (is_new) order.push_back(path);
        entry.shard = it->second;
      } else {
        entry.shard = 0;
      }
      const auto [it, is_new] = result.entries.try_emplace(key, entry);
      if (is_new) continue;
      BundleEntry& other = it->second;
      if (other.slices.empty() || entry.slices.empty()) {
        return InvalidArgument("merging into ", merged, ": tensor '", key, "' is in more than one part, the second ",
                               prefix);
      }
      if (other.dtype_number != entry.dtype_number || other.shape != entry.shape) {
        return InvalidArgument("merging into ", merged, ": tensor '", key, "' has shape ", other.shape.ToString(),
                               " and ", entry.shape.ToString(), " or two types");
      }
      other.slices.insert(other.slices.end(), entry.slices.begin(), entry.slices.end());
    }
  }
  const std::string folder(FolderOf(merged));
  if (!folder.empty()) RETURN_IF_ERROR(files->MakeFolders(folder));
  ASSIGN_OR_RETURN(result.num_shards, FreeShardCount(files, merged, std::max<int>(1, static_cast<int>(order.size()))));
  for (size_t i = 0; i < order.size(); ++i) {
    RETURN_IF_ERROR(files->Rename(order[i], ShardPath(merged, static_cast<int>(i), result.num_shards)));
  }
  RETURN_IF_ERROR(files->SyncFolder(folder));
  RETURN_IF_ERROR(CommitBundleIndex(files, merged, result));
  RemoveStaleShards(files, merged, result.num_shards);
  for (const std::string& prefix : done) {
    if (prefix != merged) files->RemoveFile(IndexPath(prefix)).IgnoreError();
  }
  return absl::OkStatus();
}

}  // namespace sluice
