#include "core/io/file_system.h"

#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"

namespace sluice {

std::string JoinPath(absl::string_view folder, absl::string_view name) {
  if (folder.empty() || (!name.empty() && name[0] == '/')) return std::string(name);
  if (name.empty()) return std::string(folder);
  return folder.back() == '/' ? absl::StrCat(folder, name) : absl::StrCat(folder, "/", name);
}

absl::string_view FolderOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return "";
  return slash == 0 ? path.substr(0, 1) : path.substr(0, slash);
}

absl::string_view NameOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

std::string TemporaryName(const std::string& path) {
  static std::atomic<uint64_t> counter{0};
  const uint64_t time = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  const uint64_t mixed = (time ^ (static_cast<uint64_t>(getpid()) << 40) ^ (counter++ << 56)) * 0x9e3779b97f4a7c15u;
  return absl::StrCat(path, ".tempstate", mixed);
}

absl::StatusOr<std::string> ReadFile(FileSystem* files, const std::string& path, uint64_t limit) {
  ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file, files->OpenForReading(path));
  if (file->size() > limit) return OutOfRange(path, " has ", file->size(), " bytes; the limit is ", limit);
  std::string contents;
  // Files under /proc say 0 bytes, so read on to the end.
  constexpr size_t kExtra = 4096;
  size_t used = 0;
  while (true) {
    if (used + kExtra > limit + kExtra) return OutOfRange(path, " has more than ", limit, " bytes");
    contents.resize(std::max<size_t>(file->size(), used) + (used >= file->size() ? kExtra : 0));
    ASSIGN_OR_RETURN(const size_t n, file->ReadAt(used, &contents[used], contents.size() - used));
    used += n;
    if (used < contents.size() || n == 0) break;
  }
  contents.resize(used);
  return contents;
}

absl::Status WriteFile(FileSystem* files, const std::string& path, absl::string_view contents) {
  ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files->OpenForWriting(path));
  RETURN_IF_ERROR(file->Append(contents));
  return file->Close();
}

absl::Status WriteFileAtomically(FileSystem* files, const std::string& path, absl::string_view contents) {
  const std::string temporary = TemporaryName(path);
  absl::Status status = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file, files->OpenForWriting(temporary));
    RETURN_IF_ERROR(file->Append(contents));
    RETURN_IF_ERROR(file->Sync());
    RETURN_IF_ERROR(file->Close());
    RETURN_IF_ERROR(files->Rename(temporary, path));
    return files->SyncFolder(std::string(FolderOf(path)));
  }();
  if (!status.ok()) files->RemoveFile(temporary).IgnoreError();
  return status;
}

absl::Status RemoveTree(FileSystem* files, const std::string& path) {
  if (!files->Exists(path)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool folder, files->IsFolder(path));
  if (!folder) return files->RemoveFile(path);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(path));
  for (const std::string& name : names) RETURN_IF_ERROR(RemoveTree(files, JoinPath(path, name)));
  return files->RemoveEmptyFolder(path);
}

absl::StatusOr<std::vector<std::string>> Glob(FileSystem* files, const std::string& pattern) {
  std::vector<std::string> found = {pattern[0] == '/' ? "/" : ""};
  const std::vector<std::string> parts = absl::StrSplit(pattern, '/', absl::SkipEmpty());
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    const bool fixed = part.find_first_of("*?[\\") == std::string::npos;
    std::vector<std::string> next;
    for (const std::string& folder : found) {
      if (fixed) {
        std::string path = JoinPath(folder, part);
        if (files->Exists(path)) next.push_back(std::move(path));
        continue;
      }
      const std::string listed = folder.empty() ? "." : folder;
      if (auto is_folder = files->IsFolder(listed); !is_folder.ok() || !*is_folder) continue;
      ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(listed));
      for (const std::string& name : names) {
        if (fnmatch(part.c_str(), name.c_str(), FNM_PERIOD) == 0) next.push_back(JoinPath(folder, name));
      }
    }
    found = std::move(next);
  }
  if (parts.empty()) found.clear();
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace sluice
