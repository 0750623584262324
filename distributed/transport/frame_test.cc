#include "distributed/transport/frame.h"

#include <cstring>
#include <random>

#include "gtest/gtest.h"

namespace sluice {
namespace {

FrameHeader SampleHeader() {
  FrameHeader h;
  h.kind = FrameKind::kReply;
  h.call = 0x123456789abcdef0;
  h.timeout_ns = -5;
  h.method_bytes = 17;
  h.tensors = 3;
  h.body_bytes = 1000;
  h.descriptor_bytes = 99;
  h.raw_bytes = uint64_t{1} << 33;
  return h;
}

TEST(FrameTest, HeaderComesBack) {
  char bytes[kFrameHeaderBytes];
  EncodeFrameHeader(SampleHeader(), bytes);
  auto h = DecodeFrameHeader(bytes, FrameLimits());
  ASSERT_TRUE(h.ok()) << h.status();
  EXPECT_EQ(h->kind, FrameKind::kReply);
  EXPECT_EQ(h->call, 0x123456789abcdef0u);
  EXPECT_EQ(h->timeout_ns, -5);
  EXPECT_EQ(h->method_bytes, 17u);
  EXPECT_EQ(h->tensors, 3u);
  EXPECT_EQ(h->body_bytes, 1000u);
  EXPECT_EQ(h->descriptor_bytes, 99u);
  EXPECT_EQ(h->raw_bytes, uint64_t{1} << 33);
}

TEST(FrameTest, HostileHeadersAreRefused) {
  struct Row {
    const char* what;
    int at, value;
  };
  // One byte of a right header changed.
  for (const Row& row : {Row{"magic", 0, 'X'}, Row{"version", 4, 9}, Row{"kind 0", 6, 0}, Row{"kind 10", 6, 10},
                         Row{"zero", 7, 1}, Row{"method", 27, 1}, Row{"tensors", 31, 0x7f}, Row{"body", 37, 1},
                         Row{"descriptors", 45, 1}, Row{"raw", 55, 0x80}, Row{"spare", 63, 1}}) {
    char bytes[kFrameHeaderBytes];
    EncodeFrameHeader(SampleHeader(), bytes);
    bytes[row.at] = static_cast<char>(row.value);
    EXPECT_FALSE(DecodeFrameHeader(bytes, FrameLimits()).ok()) << row.what;
  }
}

TEST(FrameTest, TensorsComeBack) {
  const Tensor ramp = Tensor::Vector<float>({1, 2, 3});
  const std::vector<Tensor> tensors = {ramp, Tensor(), Tensor::Vector<std::string>({"a", "bc"}),
                                       Tensor::Scalar<int64_t>(5), ramp};
  Bytes bytes;
  for (size_t i = 0; i < tensors.size(); ++i) {
    TensorPlace place;
    place.form = i == 4 ? TensorPlace::kArena : TensorPlace::kRaw;
    place.offset = 8192;
    place.slot = 7;
    ASSERT_TRUE(AppendTensorPlace(tensors[i], place, &bytes).ok());
  }
  auto places = ParseTensorPlaces(bytes, 5, 20);
  ASSERT_TRUE(places.ok()) << places.status();
  EXPECT_EQ((*places)[0].form, TensorPlace::kRaw);
  EXPECT_EQ((*places)[0].shape, Shape({3}));
  EXPECT_EQ((*places)[1].form, TensorPlace::kNone);
  EXPECT_TRUE(IdenticalTensors((*places)[2].value, tensors[2]));
  EXPECT_EQ((*places)[3].bytes, 8u);
  EXPECT_EQ((*places)[4].form, TensorPlace::kArena);
  EXPECT_EQ((*places)[4].offset, 8192u);
  EXPECT_EQ((*places)[4].slot, 7u);
  EXPECT_FALSE(ParseTensorPlaces(bytes, 5, 21).ok());
  EXPECT_FALSE(ParseTensorPlaces(bytes, 5, 19).ok());
  EXPECT_FALSE(ParseTensorPlaces(bytes, 4, 20).ok());
  EXPECT_FALSE(ParseTensorPlaces(bytes, 6, 20).ok());
  for (size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(ParseTensorPlaces(bytes.substr(0, size), 5, 20).ok());
}

TEST(FrameTest, MutatedDescriptorsNeverCrashNorDescribeMoreThanWasAnnounced) {
  Bytes right;
  TensorPlace raw;
  raw.form = TensorPlace::kRaw;
  for (const Tensor& t : {Tensor::Vector<float>({1, 2, 3}), Tensor::Vector<std::string>({"a", "bc"}), Tensor(),
                          Tensor::Scalar<int64_t>(5)}) {
    ASSERT_TRUE(AppendTensorPlace(t, raw, &right).ok());
  }
  std::mt19937 random(5);
  for (int round = 0; round < 50000; ++round) {
    Bytes bytes = right;
    for (int i = 1 + random() % 3; i > 0; --i) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    auto places = ParseTensorPlaces(bytes, 4, 20);
    if (!places.ok()) continue;
    uint64_t total = 0;
    for (const TensorPlace& p : *places) {
      if (p.form == TensorPlace::kRaw) total += p.bytes;
    }
    EXPECT_EQ(total, 20u);
  }
}

}  // namespace
}  // namespace sluice
