#include "core/io/old_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "core/io/memory_file_system.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

// TensorFlow 2.21's Saver with write_version V1: a = [0.5, 2], n = 7, s = ['x', ''], and p of shape [4,3] in two parts
// with 0 to 11.
constexpr char kFile[] =
    "00005a0a580a0f0a0161120412020802180122020a000a090a016e1200180322000a250a017012081202080412020803180122080a0210"
    "020a021003220a0a04080210020a0210030a0f0a0173120412020802180722020a0012020801000815006100010101807f12130a016112"
    "020a001a0a2a080000003f0000004001040c6e000100120a0a016e12001a033a010701092b70000101028082808312290a017012080a02"
    "10020a0210031a1a2a18000000000000803f0000004000004040000080400000a04006042d82828083122b0a0170120a0a04080210020a"
    "0210031a1a2a180000c0400000e040000000410000104100002041000030410107107300010101807f120e0a017312020a001a05420178"
    "4200000000000100000000d4b11e5a000000000100000000c0f2a1b000010301009d02000000000100000000aa167a4da20208af020f00"
    "00000000000000000000000000000000000000000000000000000000000000000057fb808b247547db";

TEST(OldCheckpointTest, FilesOfTensorFlowAreRead) {
  MemoryFileSystem files;
  ASSERT_EQ(WriteFile(&files, "/c/model", absl::HexStringToBytes(kFile)), absl::OkStatus());
  auto opened = OpenCheckpoint(&files, "/c/model");
  ASSERT_TRUE(opened.ok()) << opened.status();
  const CheckpointReader& reader = **opened;
  EXPECT_EQ(reader.Names(), (std::vector<std::string>{"a", "n", "p", "s"}));
  EXPECT_EQ(reader.Read("a")->ToString(), "float [2] 0.5 2");
  EXPECT_EQ(reader.Read("n")->ToString(), "int32 [] 7");
  EXPECT_EQ(reader.Read("s")->ToString(), "string [2] 'x' ''");
  EXPECT_EQ(reader.Read("p")->ToString(12), "float [4,3] 0 1 2 3 4 5 6 7 8 9 10 11");
  EXPECT_EQ(reader.ReadSlice("p", TensorSlice::Parse("1,2:2,1").value())->ToString(), "float [2,1] 5 8");
  EXPECT_EQ(reader.Describe("p")->shape, Shape({4, 3}));
  EXPECT_THAT(reader.Read("q").status().message(), HasSubstr("Key q not found in checkpoint /c/model"));
  EXPECT_TRUE(OpenCheckpoint(&files, "/c/mod??").ok());  // shards are given as a pattern
  EXPECT_EQ(OpenCheckpoint(&files, "/c/other").status().code(), absl::StatusCode::kNotFound);
}

TEST(OldCheckpointTest, DamagedFilesAreErrors) {
  const std::string good = absl::HexStringToBytes(kFile);
  MemoryFileSystem files;
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit <= 8; ++bit) {
      std::string bad = good;
      if (bit < 8) {
        bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      } else {
        bad.resize(i);
      }
      ASSERT_EQ(WriteFile(&files, "/c/model", bad), absl::OkStatus());
      auto reader = OpenCheckpoint(&files, "/c/model");
      if (!reader.ok()) {
        EXPECT_THAT(reader.status().code(),
                    testing::AnyOf(absl::StatusCode::kDataLoss, absl::StatusCode::kUnimplemented));
        continue;
      }
      // What may change unseen is not covered by a checksum and not used: padding of the footer, the block for
      // extensions.
      EXPECT_EQ((*reader)->Read("p")->ToString(12), "float [4,3] 0 1 2 3 4 5 6 7 8 9 10 11") << i;
    }
  }
}

}  // namespace
}  // namespace sluice
