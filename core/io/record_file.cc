#include "core/io/record_file.h"

#include <algorithm>
#include <utility>

#include "core/base/status.h"
#include "core/io/coding.h"
#include "core/io/crc32c.h"

namespace sluice {
namespace {

constexpr size_t kHeaderSize = 12;
constexpr size_t kFooterSize = 4;

}  // namespace

absl::StatusOr<std::unique_ptr<RecordWriter>> RecordWriter::Open(FileSystem* files, const std::string& path,
                                                                 Compression compression) {
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files->OpenForWriting(path));
  return std::make_unique<RecordWriter>(std::move(file), compression);
}

RecordWriter::RecordWriter(std::unique_ptr<WritableFile> file, Compression compression)
    : file_(std::move(file)), sink_(OpenByteSink(file_.get(), compression)) {}

RecordWriter::~RecordWriter() { Close().IgnoreError(); }

absl::Status RecordWriter::Write(absl::string_view record) {
  if (file_ == nullptr) return FailedPrecondition("writing a record after the file was closed");
  std::string header;
  PutFixed64(&header, record.size());
  PutFixed32(&header, MaskCrc(Crc32c(header)));
  std::string footer;
  PutFixed32(&footer, MaskCrc(Crc32c(record)));
  RETURN_IF_ERROR(sink_->Append(header));
  RETURN_IF_ERROR(sink_->Append(record));
  return sink_->Append(footer);
}

absl::Status RecordWriter::Flush() { return file_ == nullptr ? absl::OkStatus() : sink_->Flush(); }

absl::Status RecordWriter::Sync() {
  if (file_ == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(sink_->Flush());
  return file_->Sync();
}

absl::Status RecordWriter::Close() {
  if (file_ == nullptr) return absl::OkStatus();
  absl::Status status = sink_->Close();
  status.Update(file_->Close());
  sink_.reset();
  file_.reset();
  return status;
}

absl::StatusOr<std::unique_ptr<RecordReader>> RecordReader::Open(FileSystem* files, const std::string& path,
                                                                 Compression compression, Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, files->OpenForReading(path));
  if (options.offset != 0 && compression != Compression::kNone) {
    return Unimplemented(path, ": a compressed record file can only be read from its beginning");
  }
  if (options.offset > file->size()) {
    return OutOfRange(path, ": offset ", options.offset, " is beyond the end, ", file->size());
  }
  return std::unique_ptr<RecordReader>(new RecordReader(path, std::move(file), compression, options));
}

RecordReader::RecordReader(std::string path, std::unique_ptr<ReadableFile> file, Compression compression,
                           Options options)
    : path_(std::move(path)),
      file_(std::move(file)),
      plain_(compression == Compression::kNone),
      options_(options),
      source_(OpenByteSource(file_.get(), compression, options.offset)),
      offset_(options.offset) {}

absl::Status RecordReader::Damaged(absl::string_view what) const {
  return DataLoss(path_, ": ", what, " at byte ", offset_);
}

absl::StatusOr<bool> RecordReader::Next(std::string* record) {
  char header[kHeaderSize];
  absl::StatusOr<size_t> got = source_->Read(header, kHeaderSize);
  if (!got.ok()) return Annotate(got.status(), absl::StrCat(path_, " at byte ", offset_, ": "));
  if (*got == 0) return false;
  if (*got < kHeaderSize) return Damaged("cut-off record");
  if (UnmaskCrc(DecodeFixed32(header + 8)) != Crc32c(header, 8)) return Damaged("damaged length of a record");
  const uint64_t length = DecodeFixed64(header);
  if (length > options_.max_record_bytes) {
    return Damaged(absl::StrCat("record of ", length, " bytes (the limit is ", options_.max_record_bytes, ")"));
  }
  if (plain_ && length + kHeaderSize + kFooterSize > file_->size() - std::min(offset_, file_->size())) {
    // The file may have grown since it was opened, so only short ones are worth an attempt.
    if (length > (uint64_t{64} << 20)) return Damaged("cut-off record");
  }
  // Compressed data does not say how long it is: take memory as bytes arrive, not as the header claims.
  constexpr uint64_t kPiece = uint64_t{16} << 20;
  const uint64_t total = length + kFooterSize;
  uint64_t used = 0;
  while (used < total) {
    const uint64_t n = std::min(kPiece, total - used);
    record->resize(used + n);
    got = source_->Read(&(*record)[used], n);
    if (!got.ok()) return Annotate(got.status(), absl::StrCat(path_, " at byte ", offset_, ": "));
    used += *got;
    if (*got < n) return Damaged("cut-off record");
  }
  const uint32_t crc = DecodeFixed32(record->data() + length);
  record->resize(length);
  if (UnmaskCrc(crc) != Crc32c(*record)) return Damaged("damaged record");
  offset_ += kHeaderSize + total;
  return true;
}

}  // namespace sluice
