#include "distributed/rpc/message.h"

#include <google/protobuf/unknown_field_set.h>

#include <random>

#include "core/proto/tensor.pb.h"
#include "core/types/tensor_proto.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

std::string Flatten(const Message& message) {
  auto pieces = EncodeMessage(message);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  std::string out;
  if (pieces.ok()) {
    for (const WirePiece& p : *pieces) out.append(static_cast<const char*>(p.data()), p.size());
  }
  return out;
}

absl::StatusOr<Message> Decode(const std::string& bytes) {
  const absl::Span<const char> piece(bytes);
  return DecodeMessage(absl::MakeConstSpan(&piece, 1));
}

Tensor Ramp(int64_t count) {
  Tensor t = Tensor::Make(DType::kFloat, Shape({count})).value();
  for (int64_t i = 0; i < count; ++i) t.data<float>()[i] = static_cast<float>(i);
  return t;
}

Message Sample() {
  Message m("\x0a\x05hello\x10\x07");
  m.tensors = {Tensor::Scalar<int64_t>(-7),
               Ramp(1000),
               Tensor(),
               Tensor::Vector<std::string>({"a", "", "", ""}),
               Tensor::Make(DType::kDouble, Shape({3, 0})).value(),
               Tensor::Scalar<bool>(true),
               Ramp(999).SliceRows(7, 900),
               Tensor::Vector<uint8_t>({1, 2, 3})};
  return m;
}

void ExpectSame(const Message& a, const Message& b) {
  EXPECT_EQ(a.body, b.body);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    ASSERT_EQ(a.tensors[i].IsValid(), b.tensors[i].IsValid()) << i;
    if (!a.tensors[i].IsValid()) continue;
    EXPECT_TRUE(IdenticalTensors(a.tensors[i], b.tensors[i])) << i;
  }
}

TEST(MessageTest, ComesBackAsItWas) {
  for (const Message& m : {Message(), Message("\x10\x01"), Sample()}) {
    auto back = Decode(Flatten(m));
    ASSERT_TRUE(back.ok()) << back.status();
    ExpectSame(m, *back);
  }
}

TEST(MessageTest, EveryPlainTypeComesBack) {
  for (int number = 1; number < 30; ++number) {
    auto dtype = DTypeFromProto(number);
    if (!dtype.ok() || !IsPlain(*dtype)) continue;
    for (const Shape& shape : {Shape(), Shape({3, 5}), Shape({40, 50}), Shape({0})}) {
      Message m;
      m.tensors.push_back(Tensor::Make(*dtype, shape).value());
      std::memset(m.tensors[0].raw_data(), 1, m.tensors[0].num_bytes());
      auto back = Decode(Flatten(m));
      ASSERT_TRUE(back.ok()) << DTypeName(*dtype) << back.status();
      ExpectSame(m, *back);
    }
  }
}

TEST(MessageTest, ElementsAreSentFromWhereTheyLie) {
  Message m;
  m.tensors = {Ramp(1000), Ramp(3)};
  auto pieces = EncodeMessage(m);
  ASSERT_TRUE(pieces.ok());
  ASSERT_EQ(pieces->size(), 3u);
  EXPECT_EQ((*pieces)[1].data(), m.tensors[0].raw_data());
}

TEST(MessageTest, ReceivedElementsAreAligned) {
  auto back = Decode(Flatten(Sample()));
  ASSERT_TRUE(back.ok());
  for (const Tensor& t : back->tensors) {
    if (t.IsValid() && IsPlain(t.dtype()) && t.num_bytes() > 0) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw_data()) % 64, 0u);
    }
  }
}

// The wire form is what any protocol buffer library would read and write.
TEST(MessageTest, WireFormIsAProtocolBuffer) {
  const Message m = Sample();
  google::protobuf::UnknownFieldSet fields;
  ASSERT_TRUE(fields.ParseFromString(Flatten(m)));
  ASSERT_EQ(fields.field_count(), 2 + static_cast<int>(m.tensors.size()));
  Message again;
  for (int i = 0; i < fields.field_count(); ++i) {
    if (fields.field(i).number() != kTensorsField) continue;
    proto::TensorProto tensor;
    ASSERT_TRUE(tensor.ParseFromString(fields.field(i).length_delimited()));
    if (tensor.dtype() == proto::DT_INVALID) {
      again.tensors.emplace_back();
      continue;
    }
    again.tensors.push_back(TensorFromProto(tensor).value());
  }
  again.body = m.body;
  ExpectSame(m, again);

  // And as another library may write it: values in lists, content before the shape, unknown fields, body after tensors.
  proto::TensorProto list;
  list.set_dtype(proto::DT_FLOAT);
  list.mutable_tensor_shape()->add_dim()->set_size(4);
  list.add_float_val(1.5f);
  list.add_float_val(2.5f);
  const std::string content_first = std::string("\x22\x04\x01\x00\x00\x00", 6) + std::string("\x08\x03\x12\x00", 4);
  std::string wire;
  for (const std::string& t : {list.SerializeAsString(), content_first}) {
    wire += "\xa2\x06";
    wire.push_back(static_cast<char>(t.size()));
    wire += t;
  }
  wire += "\x0a\x02hi";
  auto back = Decode(wire);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->body, "\x0a\x02hi");
  ASSERT_EQ(back->tensors.size(), 2u);
  EXPECT_TRUE(IdenticalTensors(back->tensors[0], Tensor::Vector<float>({1.5f, 2.5f, 2.5f, 2.5f})));
  EXPECT_TRUE(IdenticalTensors(back->tensors[1], Tensor::Scalar<int32_t>(1)));
}

TEST(MessageTest, CutsBetweenPiecesDoNotMatter) {
  const Message m = Sample();
  const std::string wire = Flatten(m);
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::vector<size_t> cuts = {0, wire.size()};
    for (int i = random() % 20; i > 0; --i) cuts.push_back(random() % (wire.size() + 1));
    std::sort(cuts.begin(), cuts.end());
    std::vector<absl::Span<const char>> pieces;
    for (size_t i = 1; i < cuts.size(); ++i) pieces.emplace_back(wire.data() + cuts[i - 1], cuts[i] - cuts[i - 1]);
    auto back = DecodeMessage(pieces);
    ASSERT_TRUE(back.ok()) << back.status();
    ExpectSame(m, *back);
  }
}

TEST(MessageTest, EveryTruncationIsRefusedOrShorter) {
  const std::string wire = Flatten(Sample());
  for (size_t size = 0; size < wire.size(); ++size) {
    auto back = Decode(wire.substr(0, size));
    if (back.ok()) {
      EXPECT_LT(back->tensors.size(), Sample().tensors.size());
    } else {
      EXPECT_EQ(back.status().code(), absl::StatusCode::kInvalidArgument) << back.status();
    }
  }
}

TEST(MessageTest, MalformedBytesAreNamed) {
  struct Row {
    const char* what;
    std::string bytes;
  };
  const std::string tag = "\xa2\x06";
  const Row rows[] = {
      {"tag cut off", "\x80"},
      {"number cut off", "\x08\x80"},
      {"endless number", "\x08" + std::string(11, '\xff')},
      {"fixed64 cut off", "\x09zzz"},
      {"fixed32 cut off", "\x0dzz"},
      {"length beyond the end", "\x0a\x7fx"},
      {"length of 2^63", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"},
      {"group", "\x0b\x0c"},
      {"tensor longer than the message", tag + "\x7f"},
      {"tensor's field longer than the tensor", tag + "\x02\x08\x80\x01\x01\x01"},
      {"content longer than the tensor", tag + "\x04\x08\x01\x22\x09" + std::string(20, 'x')},
      {"content of another size than the shape", tag + std::string("\x08\x08\x01\x22\x04zzzzz", 10)},
      {"no such type", tag + std::string("\x05\x08\x7f\x22\x01z", 6)},
      {"raw strings", tag + std::string("\x05\x08\x07\x22\x01z", 6)},
      {"negative size",
       tag + "\x12\x08\x01\x12\x0d\x12\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x22" + std::string(1, '\0')},
  };
  for (const Row& row : rows) {
    auto back = Decode(row.bytes);
    EXPECT_FALSE(back.ok()) << row.what;
  }
}

// A few bytes that stand for a huge tensor get nothing.
TEST(MessageTest, SmallMessagesCannotAskForMuchMemory) {
  proto::TensorProto t;
  t.set_dtype(proto::DT_FLOAT);
  t.mutable_tensor_shape()->add_dim()->set_size(int64_t{1} << 30);
  t.add_float_val(1);
  for (int kind = 0; kind < 2; ++kind) {
    if (kind == 1) t.set_dtype(proto::DT_STRING);
    const std::string bytes = t.SerializeAsString();
    std::string wire = "\xa2\x06";
    wire.push_back(static_cast<char>(bytes.size()));
    auto back = Decode(wire + bytes);
    ASSERT_FALSE(back.ok());
    EXPECT_EQ(back.status().code(), absl::StatusCode::kResourceExhausted) << back.status();
  }
}

TEST(MessageTest, MutatedBytesNeverCrashNorGrow) {
  const std::string wire = Flatten(Sample());
  std::mt19937 random(11);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = wire;
    for (int i = 1 + random() % 4; i > 0; --i) {
      const size_t at = random() % (random() % 2 ? bytes.size() : std::min<size_t>(bytes.size(), 80));
      switch (random() % 4) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] ^= static_cast<char>(1 << random() % 8);
          break;
        case 2:
          bytes.erase(at, 1 + random() % 8);
          break;
        default:
          bytes.insert(at, std::string(1 + random() % 4, static_cast<char>(random())));
      }
      if (bytes.empty()) bytes = "\x01";
    }
    auto back = Decode(bytes);
    if (!back.ok()) continue;
    ++accepted;
    size_t total = 0;
    for (const Tensor& t : back->tensors) total += t.num_bytes();
    EXPECT_LE(total, 64 * (bytes.size() + 8 * 1024));
  }
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace sluice
