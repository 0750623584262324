#include "kernels/data/data_kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>

#include "absl/strings/escaping.h"
#include "core/io/file_system.h"
#include "core/proto/summary.pb.h"
#include "kernels/common/kernel_test.h"
#include "kernels/data/png_codec.h"
#include "ops/data/data_ops.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

Tensor Strings(std::vector<std::string> v) { return Tensor::Vector<std::string>(v); }
Tensor Scalar(std::string s) { return Tensor::Scalar<std::string>(std::move(s)); }
std::string Bytes(absl::string_view hex) { return absl::HexStringToBytes(hex); }
std::string Hex(const Tensor& t) { return absl::BytesToHexString(t.scalar<std::string>()); }

class DataKernelsTest : public testing::Test {
 protected:
  DataKernelsTest() : root_(absl::StrCat(testing::TempDir(), "sluice_data_", getpid())) {
    EXPECT_EQ(RemoveTree(PosixFileSystem(), root_), absl::OkStatus());
  }
  ~DataKernelsTest() override { EXPECT_EQ(RemoveTree(PosixFileSystem(), root_), absl::OkStatus()); }

  absl::Status Save(const std::string& prefix, std::vector<std::pair<std::string, Tensor>> tensors,
                    std::vector<std::string> parts = {}) {
    std::vector<std::string> names;
    std::vector<DType> dtypes;
    std::vector<Tensor> inputs = {Scalar(prefix), Tensor(), Tensor()};
    for (auto& [name, value] : tensors) {
      names.push_back(name);
      dtypes.push_back(value.dtype());
      inputs.push_back(value);
    }
    parts.resize(names.size());
    inputs[1] = Strings(names);
    inputs[2] = Strings(parts);
    return t_.RunOp("SaveV2", inputs, {{"dtypes", dtypes}}).status();
  }
  std::string Restore(const std::string& prefix, const std::string& name, DType dtype, const std::string& part = "") {
    return t_.Text("RestoreV2", {Scalar(prefix), Strings({name}), Strings({part})},
                   {{"dtypes", std::vector<DType>{dtype}}});
  }

  const std::string root_;
  KernelTester t_{DefineDataOps, AddDataKernelsCpu};
};

TEST_F(DataKernelsTest, SavedTensorsAreRestoredWholeAndInParts) {
  const std::string prefix = root_ + "/model";
  const Tensor w = Tensor::FromValues<float>(Shape({2, 3}), {0, 1, 2, 3, 4, 5});
  ASSERT_EQ(Save(prefix, {{"w", w}, {"s", Strings({"a", "bc"})}, {"p", w}}, {"", "", "4 3 2,2:-"}), absl::OkStatus());
  EXPECT_EQ(Restore(prefix, "w", DType::kFloat), "float [2,3] 0 1 2 3 4 5");
  EXPECT_EQ(Restore(prefix, "w", DType::kFloat, "2 3 1,1:0,2"), "float [1,2] 3 4");
  EXPECT_EQ(Restore(prefix, "s", DType::kString), "string [2] 'a' 'bc'");
  EXPECT_EQ(Restore(prefix, "p", DType::kFloat, "4 3 3,1:-"), "float [1,3] 3 4 5");
  EXPECT_THAT(Restore(prefix, "p", DType::kFloat), HasSubstr("DATA_LOSS"));
  EXPECT_THAT(Restore(prefix, "none", DType::kFloat), HasSubstr("Key none not found in checkpoint"));
  EXPECT_THAT(Restore(prefix, "w", DType::kInt32),
              HasSubstr("expected dtype int32 does not equal original dtype float"));
  EXPECT_THAT(Restore(prefix, "w", DType::kFloat, "2 4 -:-"), HasSubstr("shape stored in checkpoint: [2,3]"));
  EXPECT_THAT(Restore(root_ + "/other", "w", DType::kFloat), HasSubstr("NOT_FOUND"));
  EXPECT_EQ(t_.Text("Restore", {Scalar(prefix), Scalar("w")}, {{"dt", DType::kFloat}}), "float [2,3] 0 1 2 3 4 5");
  EXPECT_EQ(Save(prefix, {{"w", w}}, {"3 3 -:-"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Restore(prefix, "w", DType::kFloat), "float [2,3] 0 1 2 3 4 5");  // the failed save changed nothing
}

TEST_F(DataKernelsTest, ShardsBecomeOneCheckpoint) {
  const std::string folder = root_ + "/model_temp";
  std::vector<std::string> shards;
  for (int i = 0; i < 2; ++i) {
    const Tensor name = t_.Get("ShardedFilename", {Scalar(folder + "/part"), Tensor::Scalar(i), Tensor::Scalar(2)});
    shards.push_back(name.scalar<std::string>());
    ASSERT_EQ(Save(shards.back(), {{absl::StrCat("v", i), Tensor::Scalar(i)}}), absl::OkStatus());
  }
  EXPECT_EQ(shards[1], folder + "/part-00001-of-00002");
  ASSERT_EQ(t_.RunOp("MergeV2Checkpoints", {Strings(shards), Scalar(root_ + "/model")}).status(), absl::OkStatus());
  EXPECT_EQ(Restore(root_ + "/model", "v1", DType::kInt32), "int32 [] 1");
  EXPECT_FALSE(PosixFileSystem()->Exists(folder));
  EXPECT_EQ(t_.Text("ShardedFilespec", {Scalar("a"), Tensor::Scalar(4)}), "string [] 'a-\?\?\?\?\?-of-00004'");
}

TEST_F(DataKernelsTest, FilesAreWrittenReadAndMatched) {
  for (const char* name : {"b", "a"}) {
    ASSERT_EQ(t_.RunOp("WriteFile", {Scalar(root_ + "/x/" + name), Scalar(name)}).status(), absl::OkStatus());
  }
  EXPECT_EQ(t_.Text("ReadFile", {Scalar(root_ + "/x/b")}), "string [] 'b'");
  EXPECT_THAT(t_.Text("ReadFile", {Scalar(root_ + "/none")}), HasSubstr("NOT_FOUND"));
  const Tensor found = t_.Get("MatchingFiles", {Strings({root_ + "/x/*", root_ + "/?/a"})});
  ASSERT_EQ(found.num_elements(), 2);
  EXPECT_EQ(found.data<std::string>()[0], root_ + "/x/a");
}

// Values and bytes are TensorFlow 2.21's.
TEST_F(DataKernelsTest, BytesBecomeTensorsAndBack) {
  const Tensor raw = Strings({std::string("\1\2\3\4"), std::string("\5\6\7\0", 4)});
  EXPECT_EQ(t_.Text("DecodeRaw", {raw}, {{"out_type", DType::kUint8}}), "uint8 [2,4] 1 2 3 4 5 6 7 0");
  EXPECT_EQ(t_.Text("DecodeRaw", {raw}, {{"out_type", DType::kInt16}, {"little_endian", false}}),
            "int16 [2,2] 258 772 1286 1792");
  EXPECT_THAT(t_.Text("DecodeRaw", {raw}, {{"out_type", DType::kInt64}}),
              HasSubstr("length 4 that is not a multiple of 8"));
  EXPECT_THAT(t_.Text("DecodeRaw", {Strings({"a", "bc"})}, {{"out_type", DType::kUint8}}), HasSubstr("same size"));

  EXPECT_EQ(Hex(t_.Get("SerializeTensor", {Tensor::Vector<float>({1.5})})), "080112041202080122040000c03f");
  EXPECT_EQ(Hex(t_.Get("SerializeTensor", {Tensor::Scalar(2)})), "08031200220402000000");
  EXPECT_EQ(Hex(t_.Get("SerializeTensor", {Strings({"a"})})), "0807120412020801420161");
  const Tensor message = Scalar(Bytes("080112041202080122040000c03f"));
  EXPECT_EQ(t_.Text("ParseTensor", {message}, {{"out_type", DType::kFloat}}), "float [1] 1.5");
  EXPECT_THAT(t_.Text("ParseTensor", {message}, {{"out_type", DType::kInt32}}), HasSubstr("Type mismatch"));
  EXPECT_THAT(t_.Text("ParseTensor", {Scalar("\xff\xff")}, {{"out_type", DType::kInt32}}),
              HasSubstr("not a TensorProto"));

  const std::string zlib = Bytes("789ccb48cdc9c90700062c0215");
  EXPECT_EQ(t_.Text("DecodeCompressed", {Strings({zlib})}, {{"compression_type", "ZLIB"}}), "string [1] 'hello'");
  EXPECT_THAT(t_.Text("DecodeCompressed", {Strings({zlib.substr(0, 8)})}, {{"compression_type", "ZLIB"}}),
              HasSubstr("DATA_LOSS"));
  EXPECT_EQ(t_.Text("DecodeCompressed", {Strings({"as it is"})}), "string [1] 'as it is'");
}

TEST_F(DataKernelsTest, CsvLinesBecomeColumns) {
  const AttrMap types = {{"OUT_TYPE", std::vector<DType>{DType::kInt32, DType::kString, DType::kFloat}},
                         {"na_value", "NA"}};
  const Tensor none = Strings({});
  auto parse = [&](std::string line) {
    auto out =
        t_.RunOp("DecodeCSV",
                 {Strings({std::move(line)}), Tensor::Vector<int32_t>({7}), none, Tensor::Vector<float>({1.5})}, types);
    if (!out.ok()) return out.status().ToString();
    return absl::StrCat((*out)[0].ToString(), "; ", (*out)[1].ToString(), "; ", (*out)[2].ToString());
  };
  EXPECT_EQ(parse("1,\"a \"\"q\"\", b\","), "int32 [1] 1; string [1] 'a \\\"q\\\", b'; float [1] 1.5");
  EXPECT_EQ(parse("NA,x,3.5"), "int32 [1] 7; string [1] 'x'; float [1] 3.5");
  EXPECT_THAT(parse("1,x"), HasSubstr("Expect 3 fields but have 2 in record 0"));
  EXPECT_THAT(parse("1,,2"), HasSubstr("Field 1 is required but missing in record 0"));
  EXPECT_THAT(parse("1.5,x,2"), HasSubstr("Field 0 in record 0 is not a valid int32: 1.5"));
  EXPECT_THAT(parse("1,\"x,2"), HasSubstr("Quoted field has to end with quote"));
  EXPECT_THAT(parse("1,x\"y,2"), HasSubstr("Unquoted fields cannot have quotes"));
  auto selected = t_.Text("DecodeCSV", {Strings({"1,2,3"}), Tensor::Vector<int32_t>({0})},
                          {{"OUT_TYPE", std::vector<DType>{DType::kInt32}}, {"select_cols", std::vector<int64_t>{1}}});
  EXPECT_EQ(selected, "int32 [1] 2");
}

TEST_F(DataKernelsTest, PngFilesAreThoseOfTensorFlow) {
  Tensor image = Tensor::Make(DType::kUint8, Shape({2, 3, 3})).value();
  for (int i = 0; i < 18; ++i) image.data<uint8_t>()[i] = static_cast<uint8_t>(i * 13);
  const Tensor file =
      Scalar(Bytes("89504e470d0a1a0a0000000d49484452000000030000000208020000001216f14d000000174944415408996364e09552575"
                   "757575767292d2d85"
                   "b0001d7603603fe6250d0000000049454e44ae426082"));
  EXPECT_EQ(t_.Get("DecodePng", {file}).ToString(20), image.ToString(20));
  EXPECT_EQ(t_.Text("DecodePng", {file}, {{"channels", 1}}), "uint8 [2,3,1] 10 49 88 127 166 205");
  EXPECT_EQ(t_.Get("DecodePng", {file}, {{"channels", 4}}).dim(2), 4);
  EXPECT_EQ(t_.Get("DecodePng", {file}, {{"dtype", DType::kUint16}}).IntAt(1), 13 * 257);
  for (const DType dtype : {DType::kUint8, DType::kUint16}) {
    for (int channels = 1; channels <= 4; ++channels) {
      Tensor pixels = Tensor::Make(dtype, Shape({5, 4, channels})).value();
      for (size_t i = 0; i < pixels.num_bytes(); ++i) pixels.data<uint8_t>()[i] = static_cast<uint8_t>(i * 37);
      const Tensor encoded = t_.Get("EncodePng", {pixels});
      EXPECT_TRUE(IdenticalTensors(t_.Get("DecodePng", {encoded}, {{"dtype", dtype}}), pixels)) << channels;
    }
  }
  EXPECT_THAT(t_.Text("EncodePng", {Tensor::Make(DType::kUint8, Shape({2, 2, 5})).value()}),
              HasSubstr("1 to 4 channels"));
}

TEST_F(DataKernelsTest, DamagedPngFilesAreErrors) {
  Tensor image = Tensor::Make(DType::kUint8, Shape({4, 4, 3})).value();
  for (int i = 0; i < 48; ++i) image.data<uint8_t>()[i] = static_cast<uint8_t>(i);
  const std::string good = EncodePng(image).value();
  for (size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(DecodePng(good.substr(0, i), 0, DType::kUint8).ok()) << i;
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    auto decoded = DecodePng(bad, 3, DType::kUint8);  // must not crash; the checksum of the end need not be read
    if (i < good.size() - 12) {
      EXPECT_FALSE(decoded.ok()) << i;
    }
  }
}

proto::Summary Parse(const Tensor& t) {
  proto::Summary summary;
  EXPECT_TRUE(summary.ParseFromString(t.scalar<std::string>()));
  return summary;
}

TEST_F(DataKernelsTest, SummariesOfNumbersAreThoseOfTensorFlow) {
  const Tensor scalars = t_.Get("ScalarSummary", {Strings({"a", "b"}), Tensor::Vector<double>({1.5, -2})});
  EXPECT_EQ(Parse(scalars).ShortDebugString(),
            "value { tag: \"a\" simple_value: 1.5 } value { tag: \"b\" simple_value: -2 }");
  EXPECT_THAT(t_.Text("ScalarSummary", {Scalar("a"), Tensor::Vector<float>({1, 2})}),
              HasSubstr("[] and [2] are not compatible"));

  const proto::HistogramProto h =
      Parse(t_.Get("HistogramSummary", {Scalar("h"), Tensor::Vector<float>({-1.5, 0, 0, 1e-13f, 2, 2, 3e30f})}))
          .value(0)
          .histo();
  EXPECT_EQ(h.min(), -1.5);
  EXPECT_EQ(h.num(), 7);
  EXPECT_EQ(h.sum_squares(), 8.9999993641600385e+60);
  EXPECT_EQ(std::vector<double>(h.bucket_limit().begin(), h.bucket_limit().end()),
            (std::vector<double>{-1.6249579302136949, -1.47723448201245, 0, 1e-12, 1.9661990955585713,
                                 2.1628190051144287, 9.9207756218597835e+19, std::numeric_limits<double>::max()}));
  EXPECT_EQ(std::vector<double>(h.bucket().begin(), h.bucket().end()), (std::vector<double>{0, 1, 0, 3, 0, 2, 0, 1}));
  EXPECT_THAT(t_.Text("HistogramSummary", {Scalar("h"), Tensor::Scalar(NAN)}),
              HasSubstr("Nan in summary histogram for: h"));

  EXPECT_EQ(
      Parse(t_.Get("MergeSummary", {scalars, t_.Get("TensorSummaryV2", {Scalar("t"), Strings({"x"}), Scalar("")})}))
          .value_size(),
      3);
  EXPECT_THAT(t_.Text("MergeSummary", {scalars, scalars}), HasSubstr("Duplicate tag a found"));
}

TEST_F(DataKernelsTest, SummariesOfImagesAndSoundsAreThoseOfTensorFlow) {
  auto pixels = [&](const Tensor& images, int most, std::string* tag) {
    const auto value = Parse(t_.Get("ImageSummary", {Scalar("i"), images}, {{"max_images", most}})).value(0);
    *tag = value.tag();
    return DecodePng(value.image().encoded_image_string(), 0, DType::kUint8).value().ToString(20);
  };
  std::string tag;
  EXPECT_EQ(pixels(Tensor::FromValues<float>(Shape({1, 2, 4, 1}), {-1, 0, 2, NAN, 0.5, 4, 1, 1}), 1, &tag),
            "uint8 [2,4,1] 96 128 191 255 143 255 159 159");
  EXPECT_EQ(tag, "i/image");
  EXPECT_EQ(pixels(Tensor::FromValues<double>(Shape({1, 2, 2, 1}), {0, 0.5, 1, 3}), 2, &tag),
            "uint8 [2,2,1] 0 42 85 255");
  EXPECT_EQ(tag, "i/image/0");
  EXPECT_THAT(t_.Text("ImageSummary", {Scalar("i"), Tensor::Make(DType::kUint8, Shape({1, 2, 2, 2})).value()}),
              HasSubstr("last dim 1, 3, or 4"));

  const auto sound =
      Parse(t_.Get("AudioSummaryV2",
                   {Scalar("a"), Tensor::FromValues<float>(Shape({1, 4}), {0, 0.5, -1, 2}), Tensor::Scalar(8000.0f)},
                   {{"max_outputs", 1}}))
          .value(0);
  EXPECT_EQ(sound.tag(), "a/audio");
  EXPECT_EQ(absl::BytesToHexString(sound.audio().encoded_audio_string()),
            "524946462c00000057415645666d74201000000001000100401f0000803e0000020010006461746108000000000000400080ff7f");
}

TEST_F(DataKernelsTest, ExamplesBecomeDenseAndSparseTensors) {
  // a = [1, 2], s = ['x', 'y'], v = [1, 2, 3]; and a = [3, 4], v = [9].
  const std::string first =
      Bytes("0a300a110a0161120c120a0a080000803f000000400a0c0a017612071a050a030102030a0d0a017312080a060a01780a0179");
  const std::string second = Bytes("0a1f0a110a0161120c120a0a0800004040000080400a0a0a017612051a030a0109");
  const AttrMap attrs = {{"Nsparse", 1},
                         {"Ndense", 3},
                         {"sparse_types", std::vector<DType>{DType::kString}},
                         {"Tdense", std::vector<DType>{DType::kFloat, DType::kInt64, DType::kString}},
                         {"dense_shapes", std::vector<PartialShape>{{2}, {-1}, Shape()}}};
  auto parse = [&](std::vector<std::string> serialized, std::vector<float> default_a) {
    return t_.RunOp("ParseExample",
                    {Strings(std::move(serialized)), Strings({}), Scalar("s"), Scalar("a"), Scalar("v"), Scalar("d"),
                     Tensor::Vector<float>(default_a), Tensor::Vector<int64_t>({-1}), Scalar("z")},
                    attrs);
  };
  auto out = parse({first, second}, {});
  ASSERT_TRUE(out.ok()) << out.status();
  const char* const wanted[] = {"int64 [2,2] 0 0 0 1", "string [2] 'x' 'y'",        "int64 [2] 2 2",
                                "float [2,2] 1 2 3 4", "int64 [2,3] 1 2 3 9 -1 -1", "string [2] 'z' 'z'"};
  for (int i = 0; i < 6; ++i) EXPECT_EQ((*out)[i].ToString(), wanted[i]) << i;
  EXPECT_THAT(parse({""}, {}).status().message(), HasSubstr("Feature: a (data type: float) is required"));
  EXPECT_EQ((*parse({""}, {5, 6}))[3].ToString(), "float [1,2] 5 6");
  EXPECT_THAT(parse({"\xff"}, {}).status().message(), HasSubstr("Could not parse example input (example 0)"));

  const AttrMap single = {{"sparse_keys", std::vector<std::string>{"s"}},
                          {"dense_keys", std::vector<std::string>{"a"}},
                          {"sparse_types", std::vector<DType>{DType::kString}},
                          {"Tdense", std::vector<DType>{DType::kFloat}},
                          {"num_sparse", 1},
                          {"dense_shapes", std::vector<PartialShape>{{2}}}};
  out = t_.RunOp("ParseSingleExample", {Scalar(first), Tensor::Vector<float>({})}, single);
  ASSERT_TRUE(out.ok()) << out.status();
  const char* const one[] = {"int64 [2,1] 0 1", "string [2] 'x' 'y'", "int64 [1] 2", "float [2] 1 2"};
  for (int i = 0; i < 4; ++i) EXPECT_EQ((*out)[i].ToString(), one[i]) << i;
  AttrMap wrong = single;
  wrong.Set("dense_shapes", std::vector<PartialShape>{{3}});
  EXPECT_THAT(t_.Text("ParseSingleExample", {Scalar(first), Tensor::Vector<float>({})}, wrong),
              HasSubstr("Values size: 2 but output shape: [3]"));
}

}  // namespace
}  // namespace sluice
