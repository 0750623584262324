#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "absl/strings/escaping.h"
#include "core/base/status.h"
#include "core/io/bundle_reader.h"
#include "core/io/bundle_writer.h"
#include "core/io/crc32c.h"
#include "core/io/memory_file_system.h"
#include "core/io/sorted_table.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

constexpr char kPrefix[] = "/ckpt/model";

absl::Status Save(FileSystem* files, const std::string& prefix,
                  const std::vector<std::pair<std::string, Tensor>>& tensors) {
  ASSIGN_OR_RETURN(auto writer, BundleWriter::Make(files, prefix));
  for (const auto& [name, value] : tensors) RETURN_IF_ERROR(writer->Add(name, value));
  return writer->Finish();
}

absl::StatusOr<Tensor> Load(FileSystem* files, const std::string& prefix, absl::string_view name) {
  ASSIGN_OR_RETURN(auto reader, BundleReader::Open(files, prefix));
  return reader->Read(name);
}

Tensor Floats(std::vector<float> v) { return Tensor::Vector<float>(v); }

// Different bytes in every element; valid values for bool.
Tensor Pattern(DType dtype, const Shape& shape) {
  Tensor t = Tensor::Make(dtype, shape).value();
  if (dtype == DType::kString) {
    for (int64_t i = 0; i < t.num_elements(); ++i)
      t.data<std::string>()[i] = std::string(static_cast<size_t>(i * 37), 'a' + i);
  } else {
    for (size_t i = 0; i < t.num_bytes(); ++i) t.data<uint8_t>()[i] = dtype == DType::kBool ? i % 2 : i * 7 + 1;
  }
  return t;
}

TEST(BundleTest, EveryTypeAndShapeComesBackBitByBit) {
  MemoryFileSystem files;
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (int number = 1; number < kNumDTypes; ++number) {
    const DType dtype = static_cast<DType>(number);
    if (!IsPlain(dtype) && dtype != DType::kString) continue;
    for (const Shape& shape : {Shape(), Shape({3}), Shape({2, 3}), Shape({0}), Shape({4, 0, 2})}) {
      tensors.emplace_back(absl::StrCat(DTypeName(dtype), shape.ToString()), Pattern(dtype, shape));
    }
  }
  ASSERT_EQ(Save(&files, kPrefix, tensors), absl::OkStatus());
  auto reader = BundleReader::Open(&files, kPrefix);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->Names().size(), tensors.size());
  EXPECT_EQ((*reader)->Verify(), absl::OkStatus());
  for (const auto& [name, value] : tensors) {
    auto read = (*reader)->Read(name);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(IdenticalTensors(*read, value)) << name;
  }
}

std::string Hex(FileSystem* files, const std::string& path) {
  return absl::BytesToHexString(ReadFile(files, path).value());
}

TEST(BundleTest, BytesAreThoseThatTensorFlowWrites) {
  // TensorFlow 2.21: SaveV2 of a = 0.5f and s = ["hi", ""].
  MemoryFileSystem files;
  ASSERT_EQ(Save(&files, kPrefix, {{"a", Tensor::Scalar(0.5f)}, {"s", Tensor::Vector<std::string>({"hi", ""})}}),
            absl::OkStatus());
  EXPECT_EQ(
      Hex(&files, "/ckpt/model.index"),
      "00000608011a02080100010b61080112002804350638271f00011173080712041202080220042808359e9e48ed000000000100000000db"
      "f8d66e000000000100000000c0f2a1b0000102740035000000000100000000374a802b3a08470e00000000000000000000000000000000"
      "000000000000000000000000000000000000000057fb808b247547db");
  EXPECT_EQ(Hex(&files, "/ckpt/model.data-00000-of-00001"), "0000003f020078270b346869");
}

Tensor Rows(int64_t first, int64_t rows, int64_t columns, int64_t full_columns) {
  Tensor t = Tensor::Make(DType::kFloat, Shape({rows, columns})).value();
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) t.data<float>()[i * columns + j] = (first + i) * full_columns + j;
  }
  return t;
}

// Tensor w of shape [30,10] in the parts that TensorFlow was given for the bytes below, and a part of a large one.
void SaveParts(FileSystem* files) {
  auto writer = BundleWriter::Make(files, kPrefix).value();
  for (const auto& [name, spec, value] : std::vector<std::tuple<std::string, std::string, Tensor>>{
           {"w", "30 10 0,10:-", Rows(0, 10, 10, 10)},
           {"w", "30 10 10,20:0,10", Rows(10, 20, 10, 10)},
           {"big", "100000 200 70000,300:100,100", Rows(0, 300, 100, 0)}}) {
    const ShapeAndSlice part = ParseShapeAndSlice(spec).value();
    ASSERT_EQ(writer->AddSlice(name, part.full_shape, part.slice, value), absl::OkStatus());
  }
  ASSERT_EQ(writer->Finish(), absl::OkStatus());
}

TEST(BundleTest, PartsOfTensorsAreStoredUnderTheKeysOfTensorFlow) {
  MemoryFileSystem files;
  SaveParts(&files);
  // The blocks of entries, without the contents' checksum of "big", which holds other numbers here.
  const std::string index = Hex(&files, "/ckpt/model.index");
  EXPECT_THAT(
      index,
      HasSubstr("00000608011a0208010011190062696700010102e11170c12cc064c06408011209120308ac021202086420b00928c0a907"));
  EXPECT_THAT(index, HasSubstr("0109147700010102808a807f080112081202080a1202080a28900335011c6ad1"
                               "0604178a94808a08011208120208141202080a20900328a006353f0ad097"));
  EXPECT_THAT(index, HasSubstr("0003206269670801120b120408a08d06120308c8013a0f0a0708f0a20410ac020a0408641064"
                               "00012077080112081202081e1202080a3a060a02100a0a003a0a0a04080a10140a02100a"));
}

TEST(BundleTest, PartsAreReadWholeAndByOtherParts) {
  MemoryFileSystem files;
  SaveParts(&files);
  auto reader = BundleReader::Open(&files, kPrefix).value();
  EXPECT_EQ(reader->Names(), (std::vector<std::string>{"big", "w"}));
  EXPECT_TRUE(IdenticalTensors(reader->Read("w").value(), Rows(0, 30, 10, 10)));
  const Tensor middle = reader->ReadSlice("w", TensorSlice::Parse("8,4:2,3").value()).value();
  EXPECT_EQ(
      middle.ToString(100),
      Tensor::FromValues<float>(Shape({4, 3}), {82, 83, 84, 92, 93, 94, 102, 103, 104, 112, 113, 114}).ToString(100));
  auto uncovered = reader->Read("big");
  EXPECT_EQ(uncovered.status().code(), absl::StatusCode::kDataLoss) << uncovered.status();
  EXPECT_THAT(uncovered.status().message(), HasSubstr("cover only 30000 elements"));
  auto outside = reader->ReadSlice("w", TensorSlice::Parse("8,40:-").value());
  EXPECT_EQ(outside.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BundleTest, AMissingTensorIsNotFoundAndNamed) {
  MemoryFileSystem files;
  ASSERT_EQ(Save(&files, kPrefix, {{"a", Floats({1})}}), absl::OkStatus());
  auto missing = Load(&files, kPrefix, "b");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), HasSubstr("Key b not found in checkpoint /ckpt/model"));
  EXPECT_EQ(Load(&files, "/ckpt/other", "a").status().code(), absl::StatusCode::kNotFound);
}

TEST(BundleTest, WhatCannotBeSavedIsRefused) {
  MemoryFileSystem files;
  auto writer = BundleWriter::Make(&files, kPrefix).value();
  EXPECT_EQ(writer->Add("a", Floats({1})), absl::OkStatus());
  EXPECT_EQ(writer->Add("a", Floats({1})).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(writer->Add("", Floats({1})).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(writer->Add("r", Tensor::Make(DType::kResource, Shape()).value()).code(),
            absl::StatusCode::kInvalidArgument);
  const TensorSlice slice = TensorSlice::Parse("0,2").value();
  EXPECT_EQ(writer->AddSlice("w", Shape({4}), slice, Floats({1})).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(writer->AddSlice("w", Shape({1}), slice, Floats({1, 2})).code(), absl::StatusCode::kInvalidArgument);
}

TEST(BundleTest, ShardsAreMergedIntoOneCheckpoint) {
  MemoryFileSystem files;
  ASSERT_EQ(Save(&files, "/ckpt/tmp/part-0", {{"a", Floats({1})}}), absl::OkStatus());
  {
    auto writer = BundleWriter::Make(&files, "/ckpt/tmp/part-1").value();
    ASSERT_EQ(writer->Add("b", Floats({2, 3})), absl::OkStatus());
    ASSERT_EQ(writer->AddSlice("w", Shape({4}), TensorSlice::Parse("0,1").value(), Floats({0})), absl::OkStatus());
    ASSERT_EQ(writer->Finish(), absl::OkStatus());
    writer = BundleWriter::Make(&files, "/ckpt/tmp/part-2").value();
    ASSERT_EQ(writer->AddSlice("w", Shape({4}), TensorSlice::Parse("1,3").value(), Floats({1, 2, 3})),
              absl::OkStatus());
    ASSERT_EQ(writer->Finish(), absl::OkStatus());
  }
  ASSERT_EQ(MergeBundles(&files, {"/ckpt/tmp/part-0", "/ckpt/tmp/part-1", "/ckpt/tmp/part-2"}, kPrefix),
            absl::OkStatus());
  auto reader = BundleReader::Open(&files, kPrefix).value();
  EXPECT_EQ(reader->Names(), (std::vector<std::string>{"a", "b", "w"}));
  EXPECT_EQ(reader->Verify(), absl::OkStatus());
  EXPECT_TRUE(IdenticalTensors(reader->Read("b").value(), Floats({2, 3})));
  EXPECT_TRUE(IdenticalTensors(reader->Read("w").value(), Floats({0, 1, 2, 3})));
  EXPECT_TRUE(files.Exists("/ckpt/model.data-00002-of-00003"));
  EXPECT_TRUE(files.List("/ckpt/tmp")->empty());

  ASSERT_EQ(Save(&files, "/ckpt/tmp/x", {{"a", Floats({1})}}), absl::OkStatus());
  ASSERT_EQ(Save(&files, "/ckpt/tmp/y", {{"a", Floats({1})}}), absl::OkStatus());
  EXPECT_EQ(MergeBundles(&files, {"/ckpt/tmp/x", "/ckpt/tmp/y"}, "/ckpt/z").code(), absl::StatusCode::kInvalidArgument);
}

// Saves `next` over a checkpoint with a = 1 while the file system fails at each of its operations in turn, with and
// without losing what was not synced: afterwards `a` must read as 1 or, once the save has reported success, as 2.
template <typename SaveNext>
void CheckInterruptedAnywhere(const SaveNext& next) {
  for (const bool crash : {false, true}) {
    for (int n = 0;; ++n) {
      SCOPED_TRACE(absl::StrCat("operation ", n, crash ? ", crash" : ""));
      MemoryFileSystem files;
      ASSERT_EQ(Save(&files, kPrefix, {{"a", Floats({1})}}), absl::OkStatus());
      ASSERT_EQ(Save(&files, kPrefix, {{"a", Floats({1})}}), absl::OkStatus());
      const int before = files.changes();
      files.FailAfter(n);
      const absl::Status saved = next(&files);
      files.StopFailing();
      if (crash) files.Crash();
      auto a = Load(&files, kPrefix, "a");
      ASSERT_TRUE(a.ok()) << a.status();
      const float value = *a->data<float>();
      EXPECT_TRUE(value == 2 || (value == 1 && !saved.ok())) << value << " after " << saved;
      if (files.changes() - before < n) {
        EXPECT_EQ(saved, absl::OkStatus());
        break;
      }
      // The next save succeeds and leaves nothing behind but itself.
      ASSERT_EQ(next(&files), absl::OkStatus());
      EXPECT_EQ(*Load(&files, kPrefix, "a").value().data<float>(), 2);
    }
  }
}

TEST(BundleTest, AnInterruptedSaveLeavesThePreviousCheckpointWhole) {
  CheckInterruptedAnywhere([](FileSystem* files) { return Save(files, kPrefix, {{"a", Floats({2})}}); });
}

TEST(BundleTest, AnInterruptedShardedSaveLeavesThePreviousCheckpointWhole) {
  CheckInterruptedAnywhere([](FileSystem* files) -> absl::Status {
    RETURN_IF_ERROR(Save(files, "/ckpt/tmp/0", {{"a", Floats({2})}}));
    RETURN_IF_ERROR(Save(files, "/ckpt/tmp/1", {{"b", Floats({3})}}));
    return MergeBundles(files, {"/ckpt/tmp/0", "/ckpt/tmp/1"}, kPrefix);
  });
}

TEST(BundleTest, SavingAgainLeavesOneDataFile) {
  MemoryFileSystem files;
  for (int i = 0; i < 5; ++i) ASSERT_EQ(Save(&files, kPrefix, {{"a", Floats({1})}}), absl::OkStatus());
  EXPECT_EQ(files.List("/ckpt")->size(), 2);
}

// Every outcome but a right value, or an error, is a failure; so is a crash.
void ReadAllDamaged(MemoryFileSystem* files, const std::vector<std::pair<std::string, Tensor>>& written) {
  auto reader = BundleReader::Open(files, kPrefix);
  if (!reader.ok()) {
    EXPECT_THAT(reader.status().code(), testing::AnyOf(absl::StatusCode::kDataLoss, absl::StatusCode::kUnimplemented))
        << reader.status();
    return;
  }
  for (const auto& [name, value] : written) {
    auto read = (*reader)->Read(name);
    if (read.ok()) {
      EXPECT_TRUE(IdenticalTensors(*read, value)) << name;
    }
  }
}

TEST(BundleTest, DamagedFilesAreErrorsNeverCrashesOrWrongValues) {
  const std::vector<std::pair<std::string, Tensor>> tensors = {{"f", Pattern(DType::kFloat, Shape({5}))},
                                                               {"s", Pattern(DType::kString, Shape({4}))},
                                                               {"w", Pattern(DType::kFloat, Shape({4}))}};
  MemoryFileSystem good;
  {
    auto writer = BundleWriter::Make(&good, kPrefix).value();
    ASSERT_EQ(writer->Add("f", tensors[0].second), absl::OkStatus());
    ASSERT_EQ(writer->Add("s", tensors[1].second), absl::OkStatus());
    const Tensor& w = tensors[2].second;
    ASSERT_EQ(writer->AddSlice("w", Shape({4}), TensorSlice::Parse("0,3").value(), w.SliceRows(0, 3)),
              absl::OkStatus());
    ASSERT_EQ(writer->AddSlice("w", Shape({4}), TensorSlice::Parse("3,1").value(), w.SliceRows(3, 4)),
              absl::OkStatus());
    ASSERT_EQ(writer->Finish(), absl::OkStatus());
  }
  for (const std::string path : {"/ckpt/model.index", "/ckpt/model.data-00000-of-00001"}) {
    const std::string contents = ReadFile(&good, path).value();
    for (size_t i = 0; i < contents.size(); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string bad = contents;
        bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
        ASSERT_EQ(WriteFile(&good, path, bad), absl::OkStatus());
        ReadAllDamaged(&good, tensors);
      }
      ASSERT_EQ(WriteFile(&good, path, contents.substr(0, i)), absl::OkStatus());
      ReadAllDamaged(&good, tensors);
    }
    ASSERT_EQ(WriteFile(&good, path, contents), absl::OkStatus());
  }
  ReadAllDamaged(&good, tensors);
  EXPECT_TRUE(Load(&good, kPrefix, "w").ok());
}

// An index with right checksums and wrong numbers, as nobody writes by accident.
TEST(BundleTest, HostileEntriesAreErrors) {
  BundleEntry good;
  good.dtype = DType::kFloat;
  good.dtype_number = 1;
  good.shape = Shape({1});
  good.size = 4;
  good.masked_crc = MaskCrc(Crc32c(absl::string_view("\0\0\0\0", 4)));
  auto with = [&](auto change) {
    BundleEntry e = good;
    change(&e);
    return e;
  };
  const auto slice = [](const char* text) { return TensorSlice::Parse(text).value(); };
  const std::vector<std::pair<std::string, BundleEntry>> cases = {
      {"offset beyond", with([](BundleEntry* e) { e->offset = 1; })},
      {"offset huge", with([](BundleEntry* e) { e->offset = std::numeric_limits<int64_t>::max(); })},
      {"negative offset", with([](BundleEntry* e) { e->offset = -4; })},
      {"size huge", with([](BundleEntry* e) { e->size = int64_t{1} << 60; })},
      {"shape huge", with([](BundleEntry* e) { e->shape = Shape({int64_t{1} << 61}); })},
      {"shape other", with([](BundleEntry* e) { e->shape = Shape({2}); })},
      {"strings huge", with([](BundleEntry* e) { e->dtype_number = 7, e->shape = Shape({int64_t{1} << 40}); })},
      {"type unknown", with([](BundleEntry* e) { e->dtype_number = 77; })},
      {"type float8", with([](BundleEntry* e) { e->dtype_number = 24; })},
      {"type resource", with([](BundleEntry* e) { e->dtype_number = 20; })},
      {"type reference", with([](BundleEntry* e) { e->dtype_number = 101; })},
      {"shard beyond", with([](BundleEntry* e) { e->shard = 1; })},
      {"shard negative", with([](BundleEntry* e) { e->shard = -1; })},
      {"crc", with([](BundleEntry* e) { e->masked_crc = 0; })},
      {"slices missing", with([&](BundleEntry* e) { e->slices = {slice("0,1")}; })},
      {"slices outside", with([&](BundleEntry* e) { e->slices = {slice("1,1")}; })},
      {"slices rank", with([&](BundleEntry* e) { e->slices = {slice("0,1:0,1")}; })},
      {"slices overlap", with([&](BundleEntry* e) {
         e->shape = Shape({4}), e->slices = {slice("0,2"), slice("0,2")};
       })},
  };
  for (const auto& [what, entry] : cases) {
    SCOPED_TRACE(what);
    MemoryFileSystem files;
    BundleIndex index;
    index.entries["t"] = entry;
    ASSERT_EQ(CommitBundleIndex(&files, kPrefix, index), absl::OkStatus());
    ASSERT_EQ(WriteFile(&files, "/ckpt/model.data-00000-of-00001", std::string(4, '\0')), absl::OkStatus());
    auto read = Load(&files, kPrefix, "t");
    EXPECT_FALSE(read.ok());
    EXPECT_THAT(read.status().code(), testing::AnyOf(absl::StatusCode::kDataLoss, absl::StatusCode::kUnimplemented))
        << read.status();
  }
  MemoryFileSystem files;
  BundleIndex index;
  index.entries["t"] = good;
  ASSERT_EQ(CommitBundleIndex(&files, kPrefix, index), absl::OkStatus());
  ASSERT_EQ(WriteFile(&files, "/ckpt/model.data-00000-of-00001", std::string(4, '\0')), absl::OkStatus());
  EXPECT_TRUE(Load(&files, kPrefix, "t").ok());
}

// Tables whose checksums are right although their sizes are not.
TEST(BundleTest, HostileTablesAreErrors) {
  auto block = [](std::string contents, char type = 0) {
    contents.push_back(type);
    const uint32_t crc = MaskCrc(Crc32c(contents));
    contents.append(reinterpret_cast<const char*>(&crc), 4);
    return contents;
  };
  auto table = [](std::string blocks, std::string handles) {
    handles.resize(40);
    return blocks + handles + absl::HexStringToBytes("57fb808b247547db");
  };
  const std::string huge = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
  const std::vector<std::string> tables = {
      table("", std::string(4, '\0')),
      table("", huge + huge + huge + huge),
      table("", std::string("\0\0\0", 3) + huge),
      table(block(std::string(4, '\xff')), std::string("\0\0\0\4", 4)),                 // restart points
      table(block(std::string("\0\xff\0\0\0\0\0", 7)), std::string("\0\0\0\7", 4)),     // key longer than the block
      table(block(std::string("\5\0\0\0\0\0\0", 7)), std::string("\0\0\0\7", 4)),       // shares what is not there
      table(block(std::string("\0\0\2\0\1\0\0\0\0", 9)), std::string("\0\0\0\x9", 4)),  // handle outside
      table(block("\xff\xff\xff\xff\x0f", 1), std::string("\0\0\0\5", 4)),              // compressed, 4 GiB
      table(block("aaaa", 7), std::string("\0\0\0\4", 4)),                              // unknown compression
  };
  for (size_t i = 0; i < tables.size(); ++i) {
    const absl::Status status =
        ReadSortedTable(tables[i], [](absl::string_view, absl::string_view) { return absl::OkStatus(); });
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << i << ": " << status;
  }
}

}  // namespace
}  // namespace sluice
