#include "core/io/file_system.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "core/io/memory_file_system.h"

namespace sluice {
namespace {

// Both file systems keep the same promises.
class FileSystemTest : public testing::TestWithParam<bool> {
 protected:
  FileSystemTest() {
    if (GetParam()) {
      files_ = PosixFileSystem();
      root_ = absl::StrCat(testing::TempDir(), "sluice_files_", getpid());
    } else {
      files_ = &memory_;
      root_ = "/root";
    }
    EXPECT_EQ(RemoveTree(files_, root_), absl::OkStatus());
    EXPECT_EQ(files_->MakeFolders(root_ + "/a/b"), absl::OkStatus());
  }
  ~FileSystemTest() override { EXPECT_EQ(RemoveTree(files_, root_), absl::OkStatus()); }

  MemoryFileSystem memory_;
  FileSystem* files_;
  std::string root_;
};
INSTANTIATE_TEST_SUITE_P(Both, FileSystemTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Posix" : "Memory"; });

TEST_P(FileSystemTest, WhatIsWrittenCanBeRead) {
  const std::string path = root_ + "/a/file";
  const std::string text(200'000, 'z');
  ASSERT_EQ(WriteFile(files_, path, "old"), absl::OkStatus());
  ASSERT_EQ(WriteFileAtomically(files_, path, text), absl::OkStatus());
  EXPECT_EQ(ReadFile(files_, path).value(), text);
  EXPECT_EQ(files_->FileSize(path).value(), text.size());
  EXPECT_EQ(files_->Map(path).value()->bytes(), text);
  EXPECT_EQ(ReadFile(files_, path, 10).status().code(), absl::StatusCode::kOutOfRange);
  auto file = files_->OpenForAppending(path).value();
  ASSERT_EQ(file->Append("!"), absl::OkStatus());
  ASSERT_EQ(file->Close(), absl::OkStatus());
  char end[10];
  EXPECT_EQ(files_->OpenForReading(path).value()->ReadAt(text.size() - 1, end, sizeof(end)).value(), 2);
  EXPECT_EQ(files_->List(root_ + "/a").value(), (std::vector<std::string>{"b", "file"}));
}

TEST_P(FileSystemTest, WhatIsNotThereIsNotFoundAndNamed) {
  const std::string path = root_ + "/none";
  EXPECT_FALSE(files_->Exists(path));
  for (const absl::Status& status :
       {files_->OpenForReading(path).status(), files_->Map(path).status(), files_->FileSize(path).status(),
        files_->RemoveFile(path), files_->Rename(path, path + "2"), files_->IsFolder(path).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    EXPECT_NE(status.message().find(path), absl::string_view::npos) << status;
  }
}

TEST_P(FileSystemTest, GlobMatchesNamesButNotSlashes) {
  for (const char* name : {"/a/1.txt", "/a/2.txt", "/a/3.dat", "/a/b/4.txt", "/a/.hidden.txt"}) {
    ASSERT_EQ(WriteFile(files_, root_ + name, ""), absl::OkStatus());
  }
  auto glob = [&](const std::string& pattern) {
    std::vector<std::string> found = Glob(files_, root_ + pattern).value();
    for (std::string& path : found) path = path.substr(root_.size());
    return found;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(glob("/a/*.txt"), (Names{"/a/1.txt", "/a/2.txt"}));
  EXPECT_EQ(glob("/*/[12].txt"), (Names{"/a/1.txt", "/a/2.txt"}));
  EXPECT_EQ(glob("/a/?/*"), (Names{"/a/b/4.txt"}));
  EXPECT_EQ(glob("/a/3.dat"), (Names{"/a/3.dat"}));
  EXPECT_EQ(glob("/a/none"), Names{});
  EXPECT_EQ(glob("/none/*"), Names{});
}

TEST(MemoryFileSystemTest, ACrashKeepsWhatWasSynced) {
  MemoryFileSystem files;
  ASSERT_EQ(WriteFileAtomically(&files, "/d/kept", "1"), absl::OkStatus());
  ASSERT_EQ(WriteFile(&files, "/d/kept", "2"), absl::OkStatus());
  ASSERT_EQ(WriteFile(&files, "/d/lost", "3"), absl::OkStatus());
  files.Crash();
  EXPECT_EQ(ReadFile(&files, "/d/kept").value(), "1");
  EXPECT_FALSE(files.Exists("/d/lost"));
}

}  // namespace
}  // namespace sluice
