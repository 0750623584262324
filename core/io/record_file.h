// Record files (TFRecord): a row of byte strings, each with checksums of its length and its bytes.
//
//   ASSIGN_OR_RETURN(auto writer, RecordWriter::Open(files, path, Compression::kNone));
//   RETURN_IF_ERROR(writer->Write("a record"));
//   RETURN_IF_ERROR(writer->Close());
//   ASSIGN_OR_RETURN(auto reader, RecordReader::Open(files, path, Compression::kNone));
//   std::string record;
//   while (true) {
//     ASSIGN_OR_RETURN(const bool found, reader->Next(&record));
//     if (!found) break;
//   }
//
// Layout of a record: length (u64), masked CRC-32C of the length (u32), bytes, masked CRC-32C of the bytes (u32),
// little-endian. Threads: one at a time. Errors: DATA_LOSS names the file and the byte where the damaged or cut-off
// record begins.
#ifndef SLUICE_CORE_IO_RECORD_FILE_H_
#define SLUICE_CORE_IO_RECORD_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/io/byte_stream.h"
#include "core/io/file_system.h"

namespace sluice {

class RecordWriter {
 public:
  static absl::StatusOr<std::unique_ptr<RecordWriter>> Open(FileSystem* files, const std::string& path,
                                                            Compression compression);
  // Takes a file that is open already.
  RecordWriter(std::unique_ptr<WritableFile> file, Compression compression);
  ~RecordWriter();  // closes; errors are lost

  absl::Status Write(absl::string_view record);
  absl::Status Flush();  // readers see what was written
  absl::Status Sync();   // what was written survives a crash
  absl::Status Close();

 private:
  std::unique_ptr<WritableFile> file_;
  std::unique_ptr<ByteSink> sink_;
};

struct RecordReaderOptions {
  // A longer record is DATA_LOSS: a torn file reads as a huge length.
  uint64_t max_record_bytes = uint64_t{2} << 30;
  uint64_t offset = 0;  // where to begin, a value of RecordReader::offset(); plain files only
};

class RecordReader {
 public:
  using Options = RecordReaderOptions;
  static absl::StatusOr<std::unique_ptr<RecordReader>> Open(FileSystem* files, const std::string& path,
                                                            Compression compression, Options options = {});

  // False at the end. After an error the reader stays at the bad record. A record that is still being written reads as
  // the end of the file if nothing of it is there yet, else as DATA_LOSS ("cut off").
  absl::StatusOr<bool> Next(std::string* record);
  // Where the next record begins, in bytes of the plain data.
  uint64_t offset() const { return offset_; }

 private:
  RecordReader(std::string path, std::unique_ptr<ReadableFile> file, Compression compression, Options options);
  absl::Status Damaged(absl::string_view what) const;

  const std::string path_;
  const std::unique_ptr<ReadableFile> file_;
  const bool plain_;
  const Options options_;
  std::unique_ptr<ByteSource> source_;
  uint64_t offset_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_IO_RECORD_FILE_H_
