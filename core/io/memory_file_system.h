// Files in memory, for tests. It can fail or crash at any operation and forgets, like a machine that lost power, what
// was not synced.
//
//   MemoryFileSystem files;
//   files.FailAfter(7);          // the 8th operation that changes something, and all later ones, fail
//   ... save a checkpoint, which fails ...
//   files.Crash();               // unsynced bytes and renames in unsynced folders are gone
//   ... the previous checkpoint must still be whole ...
//
// Threads: any.
#ifndef SLUICE_CORE_IO_MEMORY_FILE_SYSTEM_H_
#define SLUICE_CORE_IO_MEMORY_FILE_SYSTEM_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/io/file_system.h"

namespace sluice {

class MemoryFileSystem : public FileSystem {
 public:
  MemoryFileSystem() = default;

  // After `n` more changes (open for writing, append, sync, rename, remove ...) every change fails with UNAVAILABLE.
  void FailAfter(int n);
  void StopFailing();
  // Number of changes so far, failed ones included.
  int changes() const;
  // Back to what a disk would hold: synced contents under the names of synced folders.
  void Crash();

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForReading(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForWriting(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<WritableFile>> OpenForAppending(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(const std::string& path) override;
  bool Exists(const std::string& path) override;
  absl::StatusOr<bool> IsFolder(const std::string& path) override;
  absl::StatusOr<uint64_t> FileSize(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& folder) override;
  absl::Status MakeFolders(const std::string& path) override;
  absl::Status RemoveFile(const std::string& path) override;
  absl::Status RemoveEmptyFolder(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status SyncFolder(const std::string& folder) override;

 private:
  friend class MemoryWritableFile;
  struct Inode {
    std::string contents;
    std::string synced;
  };
  using InodePtr = std::shared_ptr<Inode>;

  absl::Status CountChange();
  bool HasFolder(const std::string& path) const;  // made, or with a file in it
  absl::StatusOr<InodePtr> Find(const std::string& path);

  mutable absl::Mutex mu_;
  std::map<std::string, InodePtr> names_;
  std::map<std::string, InodePtr> synced_names_;
  std::set<std::string> folders_ = {"", "/"};
  int changes_ = 0;
  int fail_at_ = -1;
};

}  // namespace sluice

#endif  // SLUICE_CORE_IO_MEMORY_FILE_SYSTEM_H_
