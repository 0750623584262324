#include "core/io/sorted_table.h"

#include <leveldb/env.h>
#include <leveldb/options.h>
#include <leveldb/table_builder.h>
#include <snappy.h>

#include <utility>

#include "core/base/status.h"
#include "core/io/coding.h"
#include "core/io/crc32c.h"

namespace sluice {
namespace {

constexpr uint64_t kMagic = 0xdb4775248b80fb57u;
constexpr size_t kFooterSize = 48;
constexpr size_t kTrailerSize = 5;  // compression type and checksum behind each block
constexpr size_t kMaxSnappyRatio = 24;

struct Handle {
  uint64_t offset;
  uint64_t size;
};

bool TakeHandle(absl::string_view* from, Handle* handle) {
  return TakeVarint64(from, &handle->offset) && TakeVarint64(from, &handle->size);
}

// The contents of a block; `scratch` holds them when they were compressed.
absl::StatusOr<absl::string_view> ReadBlock(absl::string_view file, Handle handle, std::string* scratch) {
  if (handle.size > file.size() || handle.offset > file.size() - handle.size ||
      file.size() - handle.size - handle.offset < kTrailerSize) {
    return DataLoss("a block of ", handle.size, " bytes at ", handle.offset, " leaves the table of ", file.size());
  }
  const absl::string_view block = file.substr(handle.offset, handle.size);
  const absl::string_view with_type = file.substr(handle.offset, handle.size + 1);
  if (UnmaskCrc(DecodeFixed32(with_type.data() + with_type.size())) != Crc32c(with_type)) {
    return DataLoss("the block at ", handle.offset, " is damaged (checksum)");
  }
  const char type = with_type.back();
  if (type == 0) return block;
  if (type != 1) return DataLoss("the block at ", handle.offset, " has unknown compression ", static_cast<int>(type));
  size_t length;
  if (!snappy::GetUncompressedLength(block.data(), block.size(), &length) ||
      length > block.size() * kMaxSnappyRatio + 64) {
    return DataLoss("the block at ", handle.offset, " is damaged (length)");
  }
  scratch->resize(length);
  if (!snappy::RawUncompress(block.data(), block.size(), &(*scratch)[0])) {
    return DataLoss("the block at ", handle.offset, " is damaged (compression)");
  }
  return absl::string_view(*scratch);
}

// Entries share a prefix with the one before. Restart points, at the end of the block, serve searching only.
absl::Status ReadEntries(absl::string_view block,
                         absl::FunctionRef<absl::Status(absl::string_view key, absl::string_view value)> visit) {
  if (block.size() < 4) return DataLoss("a block is too short");
  const uint64_t restarts = DecodeFixed32(block.data() + block.size() - 4);
  if ((restarts + 1) * 4 > block.size()) return DataLoss("a block has too many restart points");
  absl::string_view entries = block.substr(0, block.size() - (restarts + 1) * 4);
  std::string key;
  while (!entries.empty()) {
    uint32_t shared, unshared, value_size;
    if (!TakeVarint32(&entries, &shared) || !TakeVarint32(&entries, &unshared) ||
        !TakeVarint32(&entries, &value_size) || shared > key.size() ||
        uint64_t{unshared} + value_size > entries.size()) {
      return DataLoss("an entry of a block is damaged");
    }
    key.resize(shared);
    key.append(entries.data(), unshared);
    RETURN_IF_ERROR(visit(key, entries.substr(unshared, value_size)));
    entries.remove_prefix(unshared + value_size);
  }
  return absl::OkStatus();
}

absl::Status FromLevelDb(const leveldb::Status& status) {
  return status.ok() ? absl::OkStatus() : absl::UnknownError(status.ToString());
}

class LevelDbFile : public leveldb::WritableFile {
 public:
  explicit LevelDbFile(sluice::WritableFile* file) : file_(file) {}
  leveldb::Status Append(const leveldb::Slice& data) override {
    return Keep(file_->Append(absl::string_view(data.data(), data.size())));
  }
  leveldb::Status Close() override { return Keep(file_->Close()); }
  leveldb::Status Flush() override { return Keep(file_->Flush()); }
  leveldb::Status Sync() override { return Keep(file_->Sync()); }
  const absl::Status& status() const { return status_; }

 private:
  leveldb::Status Keep(absl::Status status) {
    status_.Update(status);
    return status.ok() ? leveldb::Status::OK() : leveldb::Status::IOError(std::string(status.message()));
  }
  sluice::WritableFile* const file_;
  absl::Status status_;
};

leveldb::Options TableOptions() {
  leveldb::Options options;
  options.compression = leveldb::kNoCompression;
  options.block_size = 256 << 10;
  options.block_restart_interval = 16;
  return options;
}

}  // namespace

absl::Status ReadSortedTable(absl::string_view file,
                             absl::FunctionRef<absl::Status(absl::string_view key, absl::string_view value)> visit) {
  if (file.size() < kFooterSize || DecodeFixed64(file.data() + file.size() - 8) != kMagic) {
    return DataLoss("not a sorted table (", file.size(), " bytes, no magic number at the end)");
  }
  absl::string_view footer = file.substr(file.size() - kFooterSize);
  Handle metaindex, index;
  if (!TakeHandle(&footer, &metaindex) || !TakeHandle(&footer, &index))
    return DataLoss("the table's footer is damaged");
  std::string index_scratch, scratch, last_key;
  bool first = true;
  ASSIGN_OR_RETURN(const absl::string_view index_block, ReadBlock(file, index, &index_scratch));
  return ReadEntries(index_block, [&](absl::string_view, absl::string_view value) -> absl::Status {
    Handle handle;
    if (!TakeHandle(&value, &handle)) return DataLoss("the table's index is damaged");
    ASSIGN_OR_RETURN(const absl::string_view block, ReadBlock(file, handle, &scratch));
    return ReadEntries(block, [&](absl::string_view key, absl::string_view entry) -> absl::Status {
      if (!first && key <= last_key) return DataLoss("the table's keys are out of order");
      first = false;
      last_key.assign(key.data(), key.size());
      return visit(key, entry);
    });
  });
}

struct SortedTableWriter::Impl {
  explicit Impl(WritableFile* f) : file(f), builder(TableOptions(), &file) {}
  LevelDbFile file;
  leveldb::TableBuilder builder;
  std::string last_key;
  bool finished = false;
};

SortedTableWriter::SortedTableWriter(WritableFile* file) : impl_(std::make_unique<Impl>(file)) {}

SortedTableWriter::~SortedTableWriter() {
  if (!impl_->finished) impl_->builder.Abandon();
}

absl::Status SortedTableWriter::Add(absl::string_view key, absl::string_view value) {
  if (impl_->builder.NumEntries() > 0 && key <= impl_->last_key) return Internal("keys of a table out of order");
  impl_->last_key.assign(key.data(), key.size());
  impl_->builder.Add(leveldb::Slice(key.data(), key.size()), leveldb::Slice(value.data(), value.size()));
  RETURN_IF_ERROR(impl_->file.status());
  return FromLevelDb(impl_->builder.status());
}

absl::Status SortedTableWriter::Finish() {
  impl_->finished = true;
  const leveldb::Status status = impl_->builder.Finish();
  RETURN_IF_ERROR(impl_->file.status());
  return FromLevelDb(status);
}

}  // namespace sluice
