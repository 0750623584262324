// Sequential bytes, plain or compressed, over a file.
//
//   auto in = OpenByteSource(std::move(file), Compression::kGzip);
//
// Threads: one at a time. Errors: DATA_LOSS when compressed data is damaged or cut off.
#ifndef SLUICE_CORE_IO_BYTE_STREAM_H_
#define SLUICE_CORE_IO_BYTE_STREAM_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/io/file_system.h"

namespace sluice {

enum class Compression { kNone, kZlib, kGzip };
// "", "ZLIB", "GZIP", as TFRecordOptions and the readers' compression_type spell them.
absl::StatusOr<Compression> ParseCompression(absl::string_view name);

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to `size` bytes; fewer only at the end.
  virtual absl::StatusOr<size_t> Read(void* to, size_t size) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual absl::Status Append(absl::string_view bytes) = 0;
  virtual absl::Status Flush() = 0;  // what was appended can be read back, also compressed
  virtual absl::Status Close() = 0;  // ends the compressed stream; needed for a complete file
};

// A plain source begins at byte `offset` of the file; a compressed one reads the file from its beginning. `file` must
// outlive it.
std::unique_ptr<ByteSource> OpenByteSource(const ReadableFile* file, Compression compression, uint64_t offset = 0);
std::unique_ptr<ByteSink> OpenByteSink(WritableFile* file, Compression compression);

}  // namespace sluice

#endif  // SLUICE_CORE_IO_BYTE_STREAM_H_
