#include "core/io/record_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "core/io/crc32c.h"
#include "core/io/memory_file_system.h"

namespace sluice {
namespace {

const std::vector<std::string>& Records() {
  static const auto* const records = new std::vector<std::string>{"", "a", std::string(300'000, 'x'), "end"};
  return *records;
}

void WriteRecords(FileSystem* files, Compression compression) {
  auto writer = RecordWriter::Open(files, "/r", compression).value();
  for (const std::string& record : Records()) ASSERT_EQ(writer->Write(record), absl::OkStatus());
  ASSERT_EQ(writer->Close(), absl::OkStatus());
}

// The records up to the end or the first error.
std::vector<std::string> ReadRecords(FileSystem* files, Compression compression, absl::Status* status,
                                     RecordReader::Options options = {}) {
  std::vector<std::string> found;
  auto reader = RecordReader::Open(files, "/r", compression, options);
  *status = reader.status();
  std::string record;
  while (status->ok()) {
    auto next = (*reader)->Next(&record);
    *status = next.status();
    if (!next.ok() || !*next) break;
    found.push_back(record);
  }
  return found;
}

TEST(Crc32cTest, MatchesPublishedAndTensorFlowsValues) {
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(MaskCrc(Crc32c(absl::HexStringToBytes("0000003f"))), 0x1f273806u);
  EXPECT_EQ(ExtendCrc32c(Crc32c("1234"), "56789", 5), Crc32c("123456789"));
  EXPECT_EQ(UnmaskCrc(MaskCrc(0x12345678u)), 0x12345678u);
}

TEST(RecordFileTest, LayoutIsThatOfTensorFlow) {
  MemoryFileSystem files;
  auto writer = RecordWriter::Open(&files, "/r", Compression::kNone).value();
  ASSERT_EQ(writer->Write("hello"), absl::OkStatus());
  ASSERT_EQ(writer->Close(), absl::OkStatus());
  // TensorFlow 2.21's TFRecordWriter.
  EXPECT_EQ(absl::BytesToHexString(ReadFile(&files, "/r").value()), "0500000000000000eab2043e68656c6c6fbb1f1c19");
}

TEST(RecordFileTest, RecordsComeBackForEachCompression) {
  for (const Compression compression : {Compression::kNone, Compression::kZlib, Compression::kGzip}) {
    MemoryFileSystem files;
    WriteRecords(&files, compression);
    absl::Status status;
    EXPECT_EQ(ReadRecords(&files, compression, &status), Records());
    EXPECT_EQ(status, absl::OkStatus());
  }
}

TEST(RecordFileTest, ReadingMayBeginAtAnOffset) {
  MemoryFileSystem files;
  WriteRecords(&files, Compression::kNone);
  auto reader = RecordReader::Open(&files, "/r", Compression::kNone).value();
  std::string record;
  ASSERT_TRUE(reader->Next(&record).value());
  ASSERT_TRUE(reader->Next(&record).value());
  absl::Status status;
  RecordReader::Options options;
  options.offset = reader->offset();
  EXPECT_EQ(ReadRecords(&files, Compression::kNone, &status, options), (std::vector<std::string>{Records()[2], "end"}));
}

TEST(RecordFileTest, EveryCutAndFlippedBitIsFound) {
  for (const Compression compression : {Compression::kNone, Compression::kGzip}) {
    MemoryFileSystem files;
    auto writer = RecordWriter::Open(&files, "/r", compression).value();
    ASSERT_EQ(writer->Write("one"), absl::OkStatus());
    ASSERT_EQ(writer->Write("two"), absl::OkStatus());
    ASSERT_EQ(writer->Close(), absl::OkStatus());
    const std::string contents = ReadFile(&files, "/r").value();
    const std::vector<std::string> all = {"one", "two"};
    for (size_t i = 0; i < contents.size(); ++i) {
      for (int bit = 0; bit <= 8; ++bit) {
        std::string bad = contents;
        if (bit < 8) {
          bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
        } else {
          bad.resize(i);
        }
        ASSERT_EQ(WriteFile(&files, "/r", bad), absl::OkStatus());
        absl::Status status;
        const std::vector<std::string> found = ReadRecords(&files, compression, &status);
        ASSERT_LE(found.size(), 2) << i;
        for (size_t r = 0; r < found.size(); ++r) EXPECT_EQ(found[r], all[r]) << i;
        // A cut between plain records cannot be told from a shorter file; bits of gzip's own header may not matter.
        const bool whole_records = bit == 8 && compression == Compression::kNone && i % 19 == 0;
        if (compression == Compression::kNone && !whole_records) {
          EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << "byte " << i << " bit " << bit;
        }
      }
    }
  }
}

TEST(RecordFileTest, AHugeLengthTakesNoMemory) {
  MemoryFileSystem files;
  std::string bytes(8, '\xff');
  const uint32_t crc = MaskCrc(Crc32c(bytes));
  bytes.append(reinterpret_cast<const char*>(&crc), 4);
  ASSERT_EQ(WriteFile(&files, "/r", bytes), absl::OkStatus());
  absl::Status status;
  ReadRecords(&files, Compression::kNone, &status);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), testing::HasSubstr("/r: record of 18446744073709551615 bytes"));
}

}  // namespace
}  // namespace sluice
