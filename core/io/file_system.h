// Files behind an interface: the disk in production, memory with crashes in tests.
//
//   FileSystem* files = PosixFileSystem();
//   RETURN_IF_ERROR(WriteFileAtomically(files, "/tmp/a", "text"));
//   ASSIGN_OR_RETURN(std::string text, ReadFile(files, "/tmp/a"));
//
// Threads: a FileSystem from any thread; a ReadableFile and a MappedFile from any thread; a WritableFile from one at a
// time. Errors:  NOT_FOUND, PERMISSION_DENIED, ALREADY_EXISTS, RESOURCE_EXHAUSTED (disk full) and so on; each names the
// path.
#ifndef SLUICE_CORE_IO_FILE_SYSTEM_H_
#define SLUICE_CORE_IO_FILE_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual uint64_t size() const = 0;  // when it was opened
  // Reads up to `size` bytes at `offset`; fewer only at the end of the file.
  virtual absl::StatusOr<size_t> ReadAt(uint64_t offset, void* to, size_t size) const = 0;
};

class WritableFile {
 public:
  virtual ~WritableFile() = default;  // closes; errors are lost, so call Close()
  virtual absl::Status Append(absl::string_view bytes) = 0;
  virtual absl::Status Flush() = 0;  // readers of the file see what was appended
  virtual absl::Status Sync() = 0;   // what was appended survives a crash of the machine
  virtual absl::Status Close() = 0;
};

// The bytes of a file, read-only, as memory.
class MappedFile {
 public:
  virtual ~MappedFile() = default;
  virtual absl::string_view bytes() const = 0;
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path) = 0;  // empties it
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppending(const std::string& path) = 0;
  // Writing to a mapped file from elsewhere is the caller's risk; truncating it ends in SIGBUS. For files that are
  // replaced by rename only.
  virtual absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string& path) = 0;

  virtual bool Exists(const std::string& path) = 0;  // a file or a folder
  virtual absl::StatusOr<bool> IsFolder(const std::string& path) = 0;
  virtual absl::StatusOr<uint64_t> FileSize(const std::string& path) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& folder) = 0;  // names, sorted
  virtual absl::Status MakeFolders(const std::string& path) = 0;  // with parents; fine when it exists
  virtual absl::Status RemoveFile(const std::string& path) = 0;
  virtual absl::Status RemoveEmptyFolder(const std::string& path) = 0;
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;  // replaces `to` in one step
  // Makes renames and new names in the folder survive a crash of the machine.
  virtual absl::Status SyncFolder(const std::string& folder) = 0;
};

// The machine's own files. Lives forever.
FileSystem* PosixFileSystem();

// Joins with one '/'; an absolute `name` stands alone.
std::string JoinPath(absl::string_view folder, absl::string_view name);
absl::string_view FolderOf(absl::string_view path);  // "" when there is none
absl::string_view NameOf(absl::string_view path);

// The whole file; OUT_OF_RANGE beyond `limit` bytes, checked before memory is taken.
absl::StatusOr<std::string> ReadFile(FileSystem* files, const std::string& path, uint64_t limit = uint64_t{1} << 40);
absl::Status WriteFile(FileSystem* files, const std::string& path, absl::string_view contents);
// Temporary name in the same folder, sync, rename, sync of the folder: a reader or a crash sees the old contents or the
// new.
absl::Status WriteFileAtomically(FileSystem* files, const std::string& path, absl::string_view contents);
// Removes a folder with all that is in it; fine when there is none.
absl::Status RemoveTree(FileSystem* files, const std::string& path);

// Paths that match a pattern with *, ? and [...], none of which matches '/'. Sorted; empty when nothing matches.
absl::StatusOr<std::vector<std::string>> Glob(FileSystem* files, const std::string& pattern);

// A name beside `path` that nobody else uses: path.tempstate<random>.
std::string TemporaryName(const std::string& path);

}  // namespace sluice

#endif  // SLUICE_CORE_IO_FILE_SYSTEM_H_
