#include "core/io/bundle_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/io/crc32c.h"

namespace sluice {
namespace {

// Keys of parts begin with this byte; names of tensors do not.
bool IsSliceKey(absl::string_view key) { return key[0] == '\0'; }

}  // namespace

absl::StatusOr<std::unique_ptr<BundleReader>> BundleReader::Open(FileSystem* files, const std::string& prefix) {
  ASSIGN_OR_RETURN(BundleIndex index, ReadBundleIndex(files, prefix));
  return std::unique_ptr<BundleReader>(new BundleReader(files, prefix, std::move(index)));
}

BundleReader::BundleReader(FileSystem* files, std::string prefix, BundleIndex index)
    : files_(files), prefix_(std::move(prefix)), index_(std::move(index)) {}

std::vector<std::string> BundleReader::Names() const {
  std::vector<std::string> names;
  for (const auto& [key, entry] : index_.entries) {
    if (!IsSliceKey(key)) names.push_back(key);
  }
  return names;
}

const BundleEntry* BundleReader::Find(absl::string_view name) const {
  auto it = index_.entries.find(name);
  return it == index_.entries.end() ? nullptr : &it->second;
}

absl::StatusOr<const BundleEntry*> BundleReader::Get(absl::string_view name) const {
  const BundleEntry* entry = Find(name);
  if (entry == nullptr) {
    return NotFound("Key ", absl::CHexEscape(name), " not found in checkpoint ", prefix_, " (it has ", Names().size(),
                    " tensors)");
  }
  return entry;
}

absl::StatusOr<CheckpointReader::Info> BundleReader::Describe(absl::string_view name) const {
  ASSIGN_OR_RETURN(const BundleEntry* const entry, Get(name));
  return Info{entry->dtype, entry->shape};
}

absl::StatusOr<const ReadableFile*> BundleReader::Shard(int shard) const {
  absl::MutexLock lock(&mu_);
  std::unique_ptr<ReadableFile>& file = shards_[shard];
  if (file == nullptr) {
    const std::string path = ShardPath(prefix_, shard, index_.num_shards);
    absl::StatusOr<std::unique_ptr<ReadableFile>> opened = files_->OpenForReading(path);
    if (absl::IsNotFound(opened.status())) return DataLoss("the checkpoint's file ", path, " is missing");
    RETURN_IF_ERROR(opened.status());
    file = *std::move(opened);
  }
  return file.get();
}

absl::StatusOr<Tensor> BundleReader::ReadEntry(absl::string_view name, const BundleEntry& entry,
                                               Allocator* allocator) const {
  const auto damaged = [&](auto... what) {
    return DataLoss("tensor '", absl::CHexEscape(name), "' in ", ShardPath(prefix_, entry.shard, index_.num_shards),
                    ": ", what...);
  };
  if (entry.dtype == DType::kInvalid || (!IsPlain(entry.dtype) && entry.dtype != DType::kString)) {
    return Unimplemented("tensor '", absl::CHexEscape(name), "' in checkpoint ", prefix_, " has type ",
                         entry.dtype_number, ", which cannot be restored");
  }
  ASSIGN_OR_RETURN(const ReadableFile* const file, Shard(entry.shard));
  // The entry must fit the file before any memory is taken for it.
  if (static_cast<uint64_t>(entry.offset + entry.size) > file->size()) {
    return damaged("it ends at byte ", entry.offset + entry.size, " of a file of ", file->size());
  }
  const uint64_t count = static_cast<uint64_t>(entry.shape.num_elements());
  const uint64_t size = static_cast<uint64_t>(entry.size);
  uint32_t crc = 0;
  Tensor t;
  if (entry.dtype == DType::kString) {
    if (count > size) return damaged(count, " strings in ", size, " bytes");
    std::string stored(size, '\0');
    ASSIGN_OR_RETURN(const size_t n, file->ReadAt(entry.offset, &stored[0], size));
    if (n < size) return damaged("the file became shorter");
    ASSIGN_OR_RETURN(t, Tensor::Make(entry.dtype, entry.shape, allocator));
    absl::StatusOr<uint32_t> all = DecodeStrings(stored, t.flat<std::string>());
    if (!all.ok()) return damaged(all.status().message());
    crc = *all;
  } else {
    const uint64_t element = ElementSize(entry.dtype);
    if (count > size / element || count * element != size) {
      return damaged(size, " bytes for ", DTypeName(entry.dtype), " ", entry.shape.ToString());
    }
    ASSIGN_OR_RETURN(t, Tensor::Make(entry.dtype, entry.shape, allocator));
    constexpr uint64_t kPiece = 1 << 20;
    for (uint64_t at = 0; at < size; at += kPiece) {
      const uint64_t wanted = std::min(kPiece, size - at);
      ASSIGN_OR_RETURN(const size_t n, file->ReadAt(entry.offset + at, t.data<char>() + at, wanted));
      if (n < wanted) return damaged("the file became shorter");
      crc = ExtendCrc32c(crc, t.data<char>() + at, wanted);
    }
  }
  if (UnmaskCrc(entry.masked_crc) != crc) return damaged("its bytes do not match their checksum");
  if (entry.dtype == DType::kBool) {
    for (uint8_t& b : absl::Span<uint8_t>(t.data<uint8_t>(), count)) b = b != 0;
  }
  return t;
}

absl::StatusOr<Tensor> BundleReader::Assemble(absl::string_view name, const BundleEntry& entry,
                                              const TensorSlice& wanted, Allocator* allocator) const {
  std::vector<TensorSlice> parts;
  for (const TensorSlice& slice : entry.slices) {
    ASSIGN_OR_RETURN(TensorSlice part, slice.Within(entry.shape));
    parts.push_back(std::move(part));
  }
  const auto read = [&](size_t i) -> absl::StatusOr<Tensor> {
    const BundleEntry* stored = Find(SliceKey(name, entry.slices[i]));
    if (stored == nullptr) return DataLoss("part ", parts[i].ToString(), " is missing");
    if (stored->dtype != entry.dtype || stored->shape != parts[i].ToShape() || !stored->slices.empty()) {
      return DataLoss("part ", parts[i].ToString(), " has another type or shape than the tensor says");
    }
    return ReadEntry(absl::StrCat(name, " ", parts[i].ToString()), *stored, allocator);
  };
  absl::StatusOr<Tensor> whole = AssembleParts(entry.dtype, wanted, parts, read, allocator);
  if (!whole.ok()) return Annotate(whole.status(), absl::StrCat("tensor '", name, "' in checkpoint ", prefix_, ": "));
  return whole;
}

absl::StatusOr<Tensor> BundleReader::Read(absl::string_view name, Allocator* allocator) const {
  ASSIGN_OR_RETURN(const BundleEntry* const entry, Get(name));
  if (entry->slices.empty()) return ReadEntry(name, *entry, allocator);
  TensorSlice all;
  all.extents.resize(entry->shape.rank());
  return ReadSlice(name, all, allocator);
}

absl::StatusOr<Tensor> BundleReader::ReadSlice(absl::string_view name, const TensorSlice& slice,
                                               Allocator* allocator) const {
  ASSIGN_OR_RETURN(const BundleEntry* const entry, Get(name));
  absl::StatusOr<TensorSlice> wanted = slice.Within(entry->shape);
  if (!wanted.ok()) {
    return Annotate(wanted.status(), absl::StrCat("tensor '", name, "' in checkpoint ", prefix_, ": "));
  }
  if (!entry->slices.empty()) {
    if (!IsPlain(entry->dtype) && entry->dtype != DType::kString) {
      return Unimplemented("tensor '", name, "' in checkpoint ", prefix_, " has type ", entry->dtype_number,
                           ", which cannot be restored");
    }
    return Assemble(name, *entry, *wanted, allocator);
  }
  ASSIGN_OR_RETURN(Tensor whole, ReadEntry(name, *entry, allocator));
  if (wanted->ToShape() == entry->shape) return whole;
  ASSIGN_OR_RETURN(Tensor t, Tensor::Make(entry->dtype, wanted->ToShape(), allocator));
  TensorSlice all;
  all.extents.resize(entry->shape.rank());
  ASSIGN_OR_RETURN(all, all.Within(entry->shape));
  CopyOverlap(whole, all, t, *wanted);
  return t;
}

absl::Status BundleReader::CheckComplete() const {
  for (const auto& [key, entry] : index_.entries) {
    if (!entry.slices.empty()) continue;
    ASSIGN_OR_RETURN(const ReadableFile* const file, Shard(entry.shard));
    if (static_cast<uint64_t>(entry.offset + entry.size) > file->size()) {
      return DataLoss(ShardPath(prefix_, entry.shard, index_.num_shards), " is cut off: ", file->size(),
                      " bytes, wanted ", entry.offset + entry.size);
    }
  }
  return absl::OkStatus();
}

absl::Status BundleReader::Verify() const {
  for (const auto& [key, entry] : index_.entries) {
    if (entry.slices.empty()) RETURN_IF_ERROR(ReadEntry(key, entry, HostAllocator()).status());
  }
  return absl::OkStatus();
}

}  // namespace sluice
