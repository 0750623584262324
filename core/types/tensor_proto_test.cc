#include "core/types/tensor_proto.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "core/proto/tensor.pb.h"
#include "core/proto/tensor_shape.pb.h"
#include "core/types/resource_handle.h"

namespace sluice {
namespace {

template <typename Message>
Message FromText(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

absl::StatusOr<Tensor> Parse(const std::string& text) { return TensorFromProto(FromText<proto::TensorProto>(text)); }

TEST(TensorProtoTest, ListsShorterThanTheShapeRepeatTheirLastElement) {
  const struct {
    const char* message;
    const char* tensor;
  } cases[] = {
      {"dtype: DT_FLOAT tensor_shape { dim { size: 3 } } float_val: [1, 2]", "float [3] 1 2 2"},
      {"dtype: DT_FLOAT tensor_shape { dim { size: 2 } }", "float [2] 0 0"},
      {"dtype: DT_FLOAT tensor_shape {} float_val: 4", "float [] 4"},
      {"dtype: DT_INT8 tensor_shape { dim { size: 3 } } int_val: [-1, 5]", "int8 [3] -1 5 5"},
      {"dtype: DT_UINT16 tensor_shape { dim { size: 1 } } int_val: 65535", "uint16 [1] 65535"},
      {"dtype: DT_HALF tensor_shape { dim { size: 2 } } half_val: 15360", "half [2] 1 1"},
      {"dtype: DT_BFLOAT16 tensor_shape { dim { size: 2 } } half_val: [16256, 16384]", "bfloat16 [2] 1 2"},
      {"dtype: DT_BOOL tensor_shape { dim { size: 2 } } bool_val: true", "bool [2] true true"},
      {"dtype: DT_UINT64 tensor_shape {} uint64_val: 18446744073709551615", "uint64 [] 18446744073709551615"},
      {"dtype: DT_COMPLEX64 tensor_shape { dim { size: 2 } } scomplex_val: [1, 2]", "complex64 [2] 1+2j 1+2j"},
      {"dtype: DT_STRING tensor_shape { dim { size: 2 } } string_val: 'ab'", "string [2] 'ab' 'ab'"},
      {"dtype: DT_INT32 tensor_shape { dim { size: 2 } } tensor_content: '\\001\\000\\000\\000\\002\\000\\000\\000'",
       "int32 [2] 1 2"},
  };
  for (const auto& c : cases) {
    auto t = Parse(c.message);
    ASSERT_TRUE(t.ok()) << c.message << ": " << t.status();
    EXPECT_EQ(t->ToString(), c.tensor);
  }
}

TEST(TensorProtoTest, WrongMessagesAreErrors) {
  const struct {
    const char* message;
    absl::StatusCode code;
    const char* part;
  } cases[] = {
      {"tensor_shape {}", absl::StatusCode::kInvalidArgument, "DT_INVALID"},
      {"dtype: DT_FLOAT_REF tensor_shape {}", absl::StatusCode::kInvalidArgument, "float_ref"},
      {"dtype: DT_FLOAT8_E5M2 tensor_shape {}", absl::StatusCode::kUnimplemented, "DT_FLOAT8_E5M2"},
      {"dtype: DT_FLOAT tensor_shape { unknown_rank: true }", absl::StatusCode::kInvalidArgument, "rank"},
      {"dtype: DT_FLOAT tensor_shape { dim { size: -1 } }", absl::StatusCode::kInvalidArgument, "-1"},
      {"dtype: DT_FLOAT tensor_shape { dim { size: 4294967296 } dim { size: 4294967296 } }",
       absl::StatusCode::kInvalidArgument, ""},
      {"dtype: DT_FLOAT tensor_shape { dim { size: 1099511627776 } } float_val: 1",
       absl::StatusCode::kResourceExhausted, "1099511627776"},
      {"dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: 'abc'", absl::StatusCode::kInvalidArgument,
       "has 3 bytes, wanted 8"},
      {"dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: [1, 2]", absl::StatusCode::kInvalidArgument,
       "2 values for shape [1]"},
      {"dtype: DT_COMPLEX64 tensor_shape { dim { size: 1 } } scomplex_val: 1", absl::StatusCode::kInvalidArgument,
       "odd"},
      {"dtype: DT_STRING tensor_shape {} tensor_content: 'abc'", absl::StatusCode::kUnimplemented, "string"},
      {"dtype: DT_VARIANT tensor_shape {} variant_val {}", absl::StatusCode::kUnimplemented, "variant"},
  };
  for (const auto& c : cases) {
    auto t = Parse(c.message);
    EXPECT_EQ(t.status().code(), c.code) << c.message << ": " << t.status();
    EXPECT_THAT(t.status().message(), testing::HasSubstr(c.part)) << c.message;
  }
  proto::TensorProto message;
  message.set_dtype(static_cast<proto::DataType>(99));
  EXPECT_EQ(TensorFromProto(message).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TensorProtoTest, EveryTypeComesBackFromBothEncodings) {
  for (int number = 1; number < kNumDTypes; ++number) {
    const DType dtype = static_cast<DType>(number);
    if (!IsPlain(dtype) && dtype != DType::kString) continue;
    for (const Shape& shape : {Shape(), Shape({2, 3}), Shape({0, 2})}) {
      Tensor t = Tensor::Make(dtype, shape).value();
      for (int64_t i = 0; i < t.num_elements() && dtype == DType::kString; ++i)
        t.data<std::string>()[i] = std::string(i, 'q');
      for (size_t i = 0; i < t.num_bytes() && IsPlain(dtype); ++i)
        t.data<uint8_t>()[i] = dtype == DType::kBool ? i % 2 : i + 1;
      for (const TensorEncoding encoding : {TensorEncoding::kCompact, TensorEncoding::kReadable}) {
        proto::TensorProto message;
        ASSERT_EQ(TensorToProto(t, &message, encoding), absl::OkStatus());
        auto back = TensorFromProto(message);
        ASSERT_TRUE(back.ok()) << back.status();
        EXPECT_TRUE(IdenticalTensors(*back, t)) << message.ShortDebugString();
        EXPECT_EQ(message.tensor_content().empty(),
                  encoding == TensorEncoding::kReadable || dtype == DType::kString || t.num_elements() < 2);
      }
    }
  }
}

TEST(TensorProtoTest, ARepeatedTailIsLeftOutOfLists) {
  proto::TensorProto message;
  ASSERT_EQ(TensorToProto(Tensor::Vector<float>({1, 0, 0, 0}), &message, TensorEncoding::kReadable), absl::OkStatus());
  EXPECT_EQ(message.ShortDebugString(), "dtype: DT_FLOAT tensor_shape { dim { size: 4 } } float_val: 1 float_val: 0");
}

TEST(TensorProtoTest, HandlesKeepTheirNamesAndTypes) {
  auto t = Parse(
      "dtype: DT_RESOURCE tensor_shape {} resource_handle_val { device: '/cpu:0' container: 'c' name: 'v' "
      "maybe_type_name: 'Var' "
      "dtypes_and_shapes { dtype: DT_FLOAT shape { dim { size: -1 } } } }");
  ASSERT_TRUE(t.ok()) << t.status();
  const ResourceHandle& handle = t->scalar<ResourceHandle>();
  EXPECT_EQ(handle.name, "v");
  EXPECT_EQ(handle.shapes[0].ToString(), "[?]");
  proto::TensorProto message;
  ASSERT_EQ(TensorToProto(*t, &message), absl::OkStatus());
  EXPECT_THAT(message.ShortDebugString(),
              testing::HasSubstr("dtypes_and_shapes { dtype: DT_FLOAT shape { dim { size: -1 } } }"));
}

TEST(TensorProtoTest, ShapesKeepWhatIsUnknown) {
  for (const char* text : {"[]", "[2,?]", "?", "[0]"}) {
    proto::TensorShapeProto message;
    ShapeToProto(PartialShape::Parse(text).value(), &message);
    EXPECT_EQ(ShapeFromProto(message)->ToString(), text);
  }
  EXPECT_EQ(FullShapeFromProto(FromText<proto::TensorShapeProto>("dim { size: -1 }")).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const char* text : {"dim { size: -2 }", "unknown_rank: true dim { size: 1 }"}) {
    EXPECT_EQ(ShapeFromProto(FromText<proto::TensorShapeProto>(text)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

}  // namespace
}  // namespace sluice
