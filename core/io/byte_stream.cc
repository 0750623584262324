#include "core/io/byte_stream.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/status.h"

namespace sluice {
namespace {

constexpr size_t kBufferSize = 256 << 10;
constexpr int kZlibWindow = 15;
constexpr int kGzipWindow = 15 + 16;

class PlainSource : public ByteSource {
 public:
  PlainSource(const ReadableFile* file, uint64_t offset) : file_(file), offset_(offset) {}

  absl::StatusOr<size_t> Read(void* to, size_t size) override {
    char* out = static_cast<char*>(to);
    size_t done = std::min(size, filled_ - used_);
    std::memcpy(out, buffer_.data() + used_, done);
    used_ += done;
    if (done == size) return done;
    if (size - done >= kBufferSize) {  // large pieces go straight to the caller
      ASSIGN_OR_RETURN(const size_t n, file_->ReadAt(offset_, out + done, size - done));
      offset_ += n;
      return done + n;
    }
    buffer_.resize(kBufferSize);
    used_ = 0;
    ASSIGN_OR_RETURN(filled_, file_->ReadAt(offset_, &buffer_[0], kBufferSize));
    offset_ += filled_;
    const size_t n = std::min(size - done, filled_);
    std::memcpy(out + done, buffer_.data(), n);
    used_ = n;
    return done + n;
  }

 private:
  const ReadableFile* const file_;
  uint64_t offset_;
  std::string buffer_;
  size_t used_ = 0;
  size_t filled_ = 0;
};

class InflatingSource : public ByteSource {
 public:
  InflatingSource(const ReadableFile* file, int window) : in_(file, 0), input_(kBufferSize, '\0') {
    std::memset(&zlib_, 0, sizeof(zlib_));
    ready_ = inflateInit2(&zlib_, window) == Z_OK;
  }
  ~InflatingSource() override {
    if (ready_) inflateEnd(&zlib_);
  }

  absl::StatusOr<size_t> Read(void* to, size_t size) override {
    if (!ready_) return ResourceExhausted("no memory to decompress");
    size_t done = 0;
    while (done < size) {
      if (zlib_.avail_in == 0 && !input_ended_) {
        ASSIGN_OR_RETURN(const size_t n, in_.Read(&input_[0], input_.size()));
        zlib_.next_in = reinterpret_cast<Bytef*>(&input_[0]);
        zlib_.avail_in = static_cast<uInt>(n);
        input_ended_ = n < input_.size();
      }
      if (stream_ended_) {
        if (zlib_.avail_in == 0) return done;
        inflateReset(&zlib_);  // gzip files may be several streams in a row
        stream_ended_ = false;
      }
      if (zlib_.avail_in == 0 && !started_) return done;  // an empty file holds nothing
      started_ = true;
      const size_t most = std::min<size_t>(size - done, 1 << 30);
      zlib_.next_out = static_cast<Bytef*>(to) + done;
      zlib_.avail_out = static_cast<uInt>(most);
      const int code = inflate(&zlib_, Z_NO_FLUSH);
      done += most - zlib_.avail_out;
      if (code == Z_STREAM_END) {
        stream_ended_ = true;
      } else if (code == Z_BUF_ERROR && input_ended_) {
        return DataLoss("compressed data is cut off");
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return DataLoss("compressed data is damaged: ", zlib_.msg != nullptr ? zlib_.msg : "unknown reason");
      }
    }
    return done;
  }

 private:
  PlainSource in_;
  std::string input_;
  z_stream zlib_;
  bool ready_ = false;
  bool started_ = false;
  bool input_ended_ = false;
  bool stream_ended_ = false;
};

class PlainSink : public ByteSink {
 public:
  explicit PlainSink(WritableFile* file) : file_(file) {}
  absl::Status Append(absl::string_view bytes) override { return file_->Append(bytes); }
  absl::Status Flush() override { return file_->Flush(); }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  WritableFile* const file_;
};

class DeflatingSink : public ByteSink {
 public:
  DeflatingSink(WritableFile* file, int window) : file_(file), output_(kBufferSize, '\0') {
    std::memset(&zlib_, 0, sizeof(zlib_));
    ready_ = deflateInit2(&zlib_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~DeflatingSink() override {
    if (ready_) deflateEnd(&zlib_);
  }

  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      const size_t n = std::min<size_t>(bytes.size(), 1 << 30);
      RETURN_IF_ERROR(Deflate(bytes.substr(0, n), Z_NO_FLUSH));
      bytes.remove_prefix(n);
    }
    return absl::OkStatus();
  }
  absl::Status Flush() override {
    RETURN_IF_ERROR(Deflate("", Z_SYNC_FLUSH));
    return file_->Flush();
  }
  absl::Status Close() override {
    if (closed_) return absl::OkStatus();
    closed_ = true;
    return Deflate("", Z_FINISH);
  }

 private:
  absl::Status Deflate(absl::string_view bytes, int mode) {
    if (!ready_) return ResourceExhausted("no memory to compress");
    zlib_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    zlib_.avail_in = static_cast<uInt>(bytes.size());
    do {
      zlib_.next_out = reinterpret_cast<Bytef*>(&output_[0]);
      zlib_.avail_out = static_cast<uInt>(output_.size());
      if (deflate(&zlib_, mode) == Z_STREAM_ERROR) return Internal("compressing failed");
      RETURN_IF_ERROR(file_->Append(absl::string_view(output_).substr(0, output_.size() - zlib_.avail_out)));
    } while (zlib_.avail_out == 0);
    return absl::OkStatus();
  }

  WritableFile* const file_;
  std::string output_;
  z_stream zlib_;
  bool ready_ = false;
  bool closed_ = false;
};

}  // namespace

absl::StatusOr<Compression> ParseCompression(absl::string_view name) {
  if (name.empty()) return Compression::kNone;
  if (name == "ZLIB") return Compression::kZlib;
  if (name == "GZIP") return Compression::kGzip;
  return InvalidArgument("unknown compression '", name, "'; known are '', 'ZLIB' and 'GZIP'");
}

std::unique_ptr<ByteSource> OpenByteSource(const ReadableFile* file, Compression compression, uint64_t offset) {
  if (compression == Compression::kNone) return std::make_unique<PlainSource>(file, offset);
  return std::make_unique<InflatingSource>(file, compression == Compression::kZlib ? kZlibWindow : kGzipWindow);
}

std::unique_ptr<ByteSink> OpenByteSink(WritableFile* file, Compression compression) {
  if (compression == Compression::kNone) return std::make_unique<PlainSink>(file);
  return std::make_unique<DeflatingSink>(file, compression == Compression::kZlib ? kZlibWindow : kGzipWindow);
}

}  // namespace sluice
