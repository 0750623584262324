// FileSystem over the system calls of POSIX.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/io/file_system.h"

namespace sluice {
namespace {

absl::Status Error(absl::string_view what, absl::string_view path, int number = errno) {
  return absl::ErrnoToStatus(number, absl::StrCat(what, " ", path));
}

class PosixReadableFile : public ReadableFile {
 public:
  PosixReadableFile(std::string path, int fd, uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}
  ~PosixReadableFile() override { close(fd_); }

  uint64_t size() const override { return size_; }

  absl::StatusOr<size_t> ReadAt(uint64_t offset, void* to, size_t size) const override {
    size_t done = 0;
    while (done < size) {
      const size_t most = std::min<size_t>(size - done, 1 << 30);
      const ssize_t n = pread(fd_, static_cast<char*>(to) + done, most, static_cast<off_t>(offset + done));
      if (n == 0) break;
      if (n > 0) {
        done += static_cast<size_t>(n);
      } else if (errno != EINTR) {
        return Error("reading", path_);
      }
    }
    return done;
  }

 private:
  const std::string path_;
  const int fd_;
  const uint64_t size_;
};

class PosixWritableFile : public WritableFile {
 public:
  PosixWritableFile(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~PosixWritableFile() override { Close().IgnoreError(); }

  absl::Status Append(absl::string_view bytes) override {
    if (buffer_.size() + bytes.size() <= kBufferSize) {
      buffer_.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(Flush());
    if (bytes.size() >= kBufferSize) return WriteOut(bytes);
    buffer_.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  }

  absl::Status Flush() override {
    RETURN_IF_ERROR(WriteOut(buffer_));
    buffer_.clear();
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    RETURN_IF_ERROR(Flush());
    return fdatasync(fd_) == 0 ? absl::OkStatus() : Error("syncing", path_);
  }

  absl::Status Close() override {
    if (fd_ < 0) return absl::OkStatus();
    absl::Status status = Flush();
    if (close(std::exchange(fd_, -1)) != 0 && status.ok()) status = Error("closing", path_);
    return status;
  }

 private:
  static constexpr size_t kBufferSize = 64 << 10;

  absl::Status WriteOut(absl::string_view bytes) {
    if (fd_ < 0) return FailedPrecondition("writing ", path_, " after it was closed");
    while (!bytes.empty()) {
      const ssize_t n = write(fd_, bytes.data(), std::min<size_t>(bytes.size(), 1 << 30));
      if (n >= 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
      } else if (errno != EINTR) {
        return Error("writing", path_);
      }
    }
    return absl::OkStatus();
  }

  const std::string path_;
  int fd_;
  std::string buffer_;
};

class PosixMappedFile : public MappedFile {
 public:
  PosixMappedFile(void* data, size_t size) : data_(data), size_(size) {}
  ~PosixMappedFile() override {
    if (size_ > 0) munmap(data_, size_);
  }
  absl::string_view bytes() const override { return {static_cast<const char*>(data_), size_}; }

 private:
  void* const data_;
  const size_t size_;
};

class PosixFiles : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override {
    ASSIGN_OR_RETURN(auto fd_and_size, OpenFile(path));
    return std::make_unique<PosixReadableFile>(path, fd_and_size.first, fd_and_size.second);
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path) override {
    return OpenToWrite(path, O_TRUNC);
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppending(const std::string& path) override {
    return OpenToWrite(path, O_APPEND);
  }

  absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string& path) override {
    ASSIGN_OR_RETURN(auto fd_and_size, OpenFile(path));
    const auto [fd, size] = fd_and_size;
    void* data = nullptr;
    if (size > 0) data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int number = errno;
    close(fd);
    if (data == MAP_FAILED) return Error("mapping", path, number);
    return std::make_unique<PosixMappedFile>(data, size);
  }

  bool Exists(const std::string& path) override { return access(path.c_str(), F_OK) == 0; }

  absl::StatusOr<bool> IsFolder(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return Error("looking at", path);
    return S_ISDIR(info.st_mode);
  }

  absl::StatusOr<uint64_t> FileSize(const std::string& path) override {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return Error("looking at", path);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) override {
    DIR* dir = opendir(folder.c_str());
    if (dir == nullptr) return Error("listing", folder);
    std::vector<std::string> names;
    while (const dirent* entry = readdir(dir)) {
      const absl::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status MakeFolders(const std::string& path) override {
    for (size_t end = 0; end != std::string::npos;) {
      end = path.find('/', end + 1);
      const std::string part = path.substr(0, end);
      if (part.empty() || mkdir(part.c_str(), 0777) == 0 || errno == EEXIST) continue;
      return Error("making folder", part);
    }
    ASSIGN_OR_RETURN(const bool folder, IsFolder(path));
    return folder ? absl::OkStatus() : AlreadyExists(path, " exists and is not a folder");
  }

  absl::Status RemoveFile(const std::string& path) override {
    return unlink(path.c_str()) == 0 ? absl::OkStatus() : Error("removing", path);
  }
  absl::Status RemoveEmptyFolder(const std::string& path) override {
    return rmdir(path.c_str()) == 0 ? absl::OkStatus() : Error("removing folder", path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : Error(absl::StrCat("renaming ", from, " to"), to);
  }

  absl::Status SyncFolder(const std::string& folder) override {
    const std::string path = folder.empty() ? "." : folder;
    const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return Error("opening folder", path);
    // Some network file systems cannot sync a folder; a rename there is as durable as they make it.
    const bool failed = fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
    const int number = errno;
    close(fd);
    return failed ? Error("syncing folder", path, number) : absl::OkStatus();
  }

 private:
  static absl::StatusOr<std::pair<int, uint64_t>> OpenFile(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Error("opening", path);
    struct stat info;
    if (fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
      const int number = S_ISDIR(info.st_mode) ? EISDIR : errno;
      close(fd);
      return Error("opening", path, number);
    }
    return std::make_pair(fd, static_cast<uint64_t>(info.st_size));
  }

  static absl::StatusOr<std::unique_ptr<WritableFile>> OpenToWrite(const std::string& path, int flag) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flag, 0666);
    if (fd < 0) return Error("opening for writing", path);
    return std::make_unique<PosixWritableFile>(path, fd);
  }
};

}  // namespace

FileSystem* PosixFileSystem() {
  static PosixFiles* const files = new PosixFiles;
  return files;
}

}  // namespace sluice
