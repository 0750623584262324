#include "core/io/memory_file_system.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "core/base/status.h"

namespace sluice {
namespace {

class MemoryReadableFile : public ReadableFile {
 public:
  explicit MemoryReadableFile(std::string contents) : contents_(std::move(contents)) {}
  uint64_t size() const override { return contents_.size(); }
  absl::StatusOr<size_t> ReadAt(uint64_t offset, void* to, size_t size) const override {
    if (offset >= contents_.size()) return size_t{0};
    const size_t n = std::min<size_t>(size, contents_.size() - offset);
    std::memcpy(to, contents_.data() + offset, n);
    return n;
  }

 private:
  const std::string contents_;
};

class MemoryMappedFile : public MappedFile {
 public:
  explicit MemoryMappedFile(std::string contents) : contents_(std::move(contents)) {}
  absl::string_view bytes() const override { return contents_; }

 private:
  const std::string contents_;
};

}  // namespace

class MemoryWritableFile : public WritableFile {
 public:
  MemoryWritableFile(MemoryFileSystem* files, MemoryFileSystem::InodePtr inode)
      : files_(files), inode_(std::move(inode)) {}
  absl::Status Append(absl::string_view bytes) override {
    absl::MutexLock lock(&files_->mu_);
    RETURN_IF_ERROR(files_->CountChange());
    inode_->contents.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  absl::Status Flush() override { return absl::OkStatus(); }
  absl::Status Sync() override {
    absl::MutexLock lock(&files_->mu_);
    RETURN_IF_ERROR(files_->CountChange());
    inode_->synced = inode_->contents;
    return absl::OkStatus();
  }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  MemoryFileSystem* const files_;
  const MemoryFileSystem::InodePtr inode_;
};

void MemoryFileSystem::FailAfter(int n) {
  absl::MutexLock lock(&mu_);
  fail_at_ = changes_ + n;
}
void MemoryFileSystem::StopFailing() {
  absl::MutexLock lock(&mu_);
  fail_at_ = -1;
}
int MemoryFileSystem::changes() const {
  absl::MutexLock lock(&mu_);
  return changes_;
}

void MemoryFileSystem::Crash() {
  absl::MutexLock lock(&mu_);
  names_ = synced_names_;
  for (auto& [path, inode] : names_) inode->contents = inode->synced;
}

absl::Status MemoryFileSystem::CountChange() {
  if (fail_at_ >= 0 && changes_ >= fail_at_) return absl::UnavailableError("the file system was told to fail");
  ++changes_;
  return absl::OkStatus();
}

bool MemoryFileSystem::HasFolder(const std::string& path) const {
  if (folders_.count(path) > 0) return true;
  const auto it = names_.lower_bound(path + "/");
  return it != names_.end() && absl::StartsWith(it->first, path + "/");
}

absl::StatusOr<MemoryFileSystem::InodePtr> MemoryFileSystem::Find(const std::string& path) {
  auto it = names_.find(path);
  if (it == names_.end()) return NotFound("opening ", path, ": No such file or directory");
  return it->second;
}

absl::StatusOr<std::unique_ptr<ReadableFile>> MemoryFileSystem::OpenForReading(const std::string& path) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const InodePtr inode, Find(path));
  return std::make_unique<MemoryReadableFile>(inode->contents);
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::OpenForWriting(const std::string& path) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(CountChange());
  InodePtr& inode = names_[path];
  if (inode == nullptr) inode = std::make_shared<Inode>();
  inode->contents.clear();
  return std::make_unique<MemoryWritableFile>(this, inode);
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryFileSystem::OpenForAppending(const std::string& path) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(CountChange());
  InodePtr& inode = names_[path];
  if (inode == nullptr) inode = std::make_shared<Inode>();
  return std::make_unique<MemoryWritableFile>(this, inode);
}

absl::StatusOr<std::unique_ptr<MappedFile>> MemoryFileSystem::Map(const std::string& path) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const InodePtr inode, Find(path));
  return std::make_unique<MemoryMappedFile>(inode->contents);
}

bool MemoryFileSystem::Exists(const std::string& path) {
  absl::MutexLock lock(&mu_);
  return names_.count(path) > 0 || HasFolder(path);
}

absl::StatusOr<bool> MemoryFileSystem::IsFolder(const std::string& path) {
  absl::MutexLock lock(&mu_);
  if (HasFolder(path)) return true;
  RETURN_IF_ERROR(Find(path).status());
  return false;
}

absl::StatusOr<uint64_t> MemoryFileSystem::FileSize(const std::string& path) {
  absl::MutexLock lock(&mu_);
  ASSIGN_OR_RETURN(const InodePtr inode, Find(path));
  return inode->contents.size();
}

absl::StatusOr<std::vector<std::string>> MemoryFileSystem::List(const std::string& folder) {
  absl::MutexLock lock(&mu_);
  std::set<std::string> found;
  auto add = [&](const std::string& path) {
    if (!path.empty() && path != "/" && FolderOf(path) == folder) found.emplace(NameOf(path));
  };
  for (const auto& [path, inode] : names_) add(path);
  for (const std::string& path : folders_) add(path);
  if (found.empty() && folders_.count(folder) == 0) return NotFound("listing ", folder, ": No such file or directory");
  return std::vector<std::string>(found.begin(), found.end());
}

absl::Status MemoryFileSystem::MakeFolders(const std::string& path) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(CountChange());
  for (absl::string_view p = path; !p.empty() && p != "/"; p = FolderOf(p)) folders_.emplace(p);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::RemoveFile(const std::string& path) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(CountChange());
  RETURN_IF_ERROR(Find(path).status());
  names_.erase(path);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::RemoveEmptyFolder(const std::string& path) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(CountChange());
  for (const auto& [name, inode] : names_) {
    if (absl::StartsWith(name, path + "/")) return FailedPrecondition("removing folder ", path, ": it is not empty");
  }
  folders_.erase(path);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::Rename(const std::string& from, const std::string& to) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(CountChange());
  ASSIGN_OR_RETURN(InodePtr inode, Find(from));
  names_.erase(from);
  names_[to] = std::move(inode);
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::SyncFolder(const std::string& folder) {
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(CountChange());
  for (auto it = synced_names_.begin(); it != synced_names_.end();) {
    it = FolderOf(it->first) == folder ? synced_names_.erase(it) : std::next(it);
  }
  for (const auto& [path, inode] : names_) {
    if (FolderOf(path) == folder) synced_names_[path] = inode;
  }
  return absl::OkStatus();
}

}  // namespace sluice
