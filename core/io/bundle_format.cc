#include "core/io/bundle_format.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "core/io/coding.h"
#include "core/io/crc32c.h"
#include "core/io/sorted_table.h"
#include "core/proto/tensor_bundle.pb.h"
#include "core/types/tensor_proto.h"

namespace sluice {
namespace {

constexpr int kVersion = 1;
constexpr int kMaxShards = 100'000;
constexpr int kMaxSlices = 16'384;
constexpr uint64_t kMaxIndexBytes = uint64_t{8} << 30;

absl::Status ReadHeader(absl::string_view value, BundleIndex* index) {
  proto::BundleHeaderProto header;
  if (!header.ParseFromArray(value.data(), static_cast<int>(value.size()))) return DataLoss("its header is damaged");
  if (header.endianness() != proto::BundleHeaderProto::LITTLE) {
    return Unimplemented("it was written on a big-endian machine");
  }
  if (header.version().min_consumer() > kVersion) {
    return Unimplemented("it needs version ", header.version().min_consumer(), " of the format; this is ", kVersion);
  }
  if (header.num_shards() < 1 || header.num_shards() > kMaxShards) {
    return DataLoss("its header says ", header.num_shards(), " shards");
  }
  index->num_shards = header.num_shards();
  return absl::OkStatus();
}

absl::StatusOr<BundleEntry> ReadEntry(absl::string_view key, absl::string_view value, int num_shards) {
  proto::BundleEntryProto message;
  if (!message.ParseFromArray(value.data(), static_cast<int>(value.size())))
    return DataLoss("the entry does not parse");
  BundleEntry entry;
  entry.dtype_number = message.dtype();
  if (auto dtype = DTypeFromProto(message.dtype()); dtype.ok() && !IsRefType(*dtype)) entry.dtype = *dtype;
  auto shape = FullShapeFromProto(message.shape());
  if (!shape.ok()) return DataLoss("its shape is wrong: ", shape.status().message());
  entry.shape = *std::move(shape);
  entry.shard = message.shard_id();
  entry.offset = message.offset();
  entry.size = message.size();
  entry.masked_crc = message.crc32c();
  if (entry.shard < 0 || entry.shard >= num_shards || entry.offset < 0 || entry.size < 0 ||
      entry.offset > INT64_MAX - entry.size) {
    return DataLoss("shard ", entry.shard, " of ", num_shards, ", offset ", entry.offset, ", size ", entry.size,
                    " are not possible");
  }
  if (message.slices_size() > kMaxSlices) return DataLoss("it has ", message.slices_size(), " parts");
  for (const auto& slice : message.slices()) {
    auto parsed = TensorSlice::FromProto(slice);
    if (parsed.ok())
      parsed = [&]() -> absl::StatusOr<TensorSlice> {
        RETURN_IF_ERROR(parsed->Within(entry.shape).status());
        return *std::move(parsed);
      }();
    if (!parsed.ok()) return DataLoss(parsed.status().message());
    entry.slices.push_back(*std::move(parsed));
  }
  return entry;
}

void WriteEntry(const BundleEntry& entry, proto::BundleEntryProto* message) {
  message->set_dtype(static_cast<proto::DataType>(entry.dtype_number));
  ShapeToProto(entry.shape, message->mutable_shape());
  message->set_shard_id(entry.shard);
  message->set_offset(entry.offset);
  message->set_size(entry.size);
  message->set_crc32c(entry.masked_crc);
  for (const TensorSlice& slice : entry.slices) slice.ToProto(message->add_slices());
}

}  // namespace

std::string IndexPath(absl::string_view prefix) { return absl::StrCat(prefix, ".index"); }

std::string ShardPath(absl::string_view prefix, int shard, int num_shards) {
  return absl::StrFormat("%s.data-%05d-of-%05d", prefix, shard, num_shards);
}

absl::StatusOr<BundleIndex> ReadBundleIndex(FileSystem* files, const std::string& prefix) {
  const std::string path = IndexPath(prefix);
  ASSIGN_OR_RETURN(const std::string contents, ReadFile(files, path, kMaxIndexBytes));
  BundleIndex index;
  bool has_header = false;
  absl::Status status = ReadSortedTable(contents, [&](absl::string_view key, absl::string_view value) -> absl::Status {
    if (key.empty()) {
      has_header = true;
      return ReadHeader(value, &index);
    }
    if (!has_header) return DataLoss("it has no header");
    absl::StatusOr<BundleEntry> entry = ReadEntry(key, value, index.num_shards);
    if (!entry.ok()) return Annotate(entry.status(), absl::StrCat("tensor '", key, "': "));
    index.entries.emplace_hint(index.entries.end(), std::string(key), *std::move(entry));
    return absl::OkStatus();
  });
  if (status.ok() && !has_header) status = DataLoss("it has no header");
  if (!status.ok()) return Annotate(status, absl::StrCat("checkpoint index ", path, ": "));
  return index;
}

absl::Status CommitBundleIndex(FileSystem* files, const std::string& prefix, const BundleIndex& index) {
  const std::string path = IndexPath(prefix);
  const std::string temporary = TemporaryName(path);
  absl::Status status = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files->OpenForWriting(temporary));
    SortedTableWriter table(file.get());
    proto::BundleHeaderProto header;
    header.set_num_shards(index.num_shards);
    header.mutable_version()->set_producer(kVersion);
    RETURN_IF_ERROR(table.Add("", header.SerializeAsString()));
    for (const auto& [key, entry] : index.entries) {
      proto::BundleEntryProto message;
      WriteEntry(entry, &message);
      RETURN_IF_ERROR(table.Add(key, message.SerializeAsString()));
    }
    RETURN_IF_ERROR(table.Finish());
    RETURN_IF_ERROR(file->Sync());
    RETURN_IF_ERROR(file->Close());
    RETURN_IF_ERROR(files->Rename(temporary, path));
    return files->SyncFolder(std::string(FolderOf(path)));
  }();
  if (!status.ok()) files->RemoveFile(temporary).IgnoreError();
  return status;
}

namespace {

// Calls `visit` with the shard count in the name of each data file of `prefix`.
template <typename Visit>
void VisitShards(FileSystem* files, const std::string& prefix, const Visit& visit) {
  const std::string folder(FolderOf(prefix));
  auto names = files->List(folder.empty() ? "." : folder);
  if (!names.ok()) return;
  const std::string start = absl::StrCat(NameOf(prefix), ".data-");
  for (const std::string& name : *names) {
    absl::string_view rest = name;
    int shard, count, used = 0;
    if (absl::ConsumePrefix(&rest, start) &&
        std::sscanf(std::string(rest).c_str(), "%5d-of-%5d%n", &shard, &count, &used) == 2 &&
        static_cast<size_t>(used) == rest.size()) {
      visit(JoinPath(folder, name), count);
    }
  }
}

}  // namespace

absl::StatusOr<int> FreeShardCount(FileSystem* files, const std::string& prefix, int wanted) {
  if (wanted < 1 || wanted >= kMaxShards) return InvalidArgument("a checkpoint of ", wanted, " shards");
  std::map<int, bool> taken;
  VisitShards(files, prefix, [&](const std::string&, int count) { taken[count] = true; });
  int count = wanted;
  while (taken.count(count) > 0) ++count;
  if (count >= kMaxShards) return InvalidArgument(prefix, ": too many data files of other numbers of shards");
  return count;
}

void RemoveStaleShards(FileSystem* files, const std::string& prefix, int num_shards) {
  VisitShards(files, prefix, [&](const std::string& path, int count) {
    if (count != num_shards) files->RemoveFile(path).IgnoreError();
  });
}

std::string EncodeStringLengths(absl::Span<const std::string> strings, uint32_t* crc) {
  std::string stored;
  *crc = 0;
  for (const std::string& s : strings) {
    PutVarint64(&stored, s.size());
    const uint64_t wide = s.size();
    const uint32_t narrow = static_cast<uint32_t>(wide);
    *crc = wide <= UINT32_MAX ? ExtendCrc32c(*crc, &narrow, sizeof(narrow)) : ExtendCrc32c(*crc, &wide, sizeof(wide));
  }
  const uint32_t masked = MaskCrc(*crc);
  PutFixed32(&stored, masked);
  *crc = ExtendCrc32c(*crc, &masked, sizeof(masked));
  return stored;
}

absl::StatusOr<uint32_t> DecodeStrings(absl::string_view stored, absl::Span<std::string> strings) {
  std::vector<uint64_t> lengths(strings.size());
  uint32_t crc = 0;
  uint64_t total = 0;
  for (uint64_t& length : lengths) {
    if (!TakeVarint64(&stored, &length) || length > stored.size())
      return DataLoss("the lengths of its strings are damaged");
    total += length;
    if (total > stored.size()) return DataLoss("its strings are longer than what is stored");
    const uint32_t narrow = static_cast<uint32_t>(length);
    crc =
        length <= UINT32_MAX ? ExtendCrc32c(crc, &narrow, sizeof(narrow)) : ExtendCrc32c(crc, &length, sizeof(length));
  }
  if (stored.size() != total + 4) return DataLoss("its strings do not fill what is stored");
  const uint32_t masked = DecodeFixed32(stored.data());
  if (UnmaskCrc(masked) != crc) return DataLoss("the lengths of its strings are damaged (checksum)");
  crc = ExtendCrc32c(crc, &masked, sizeof(masked));
  stored.remove_prefix(4);
  crc = ExtendCrc32c(crc, stored.data(), stored.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    strings[i].assign(stored.data(), lengths[i]);
    stored.remove_prefix(lengths[i]);
  }
  return crc;
}

}  // namespace sluice
