#include "core/io/tensor_slice.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"

namespace sluice {
namespace {

TEST(TensorSliceTest, ParsesWhatItPrints) {
  for (const char* text : {"", "-", "0,10:-", "3,4:5,6:-:0,0"}) {
    auto slice = TensorSlice::Parse(text);
    ASSERT_TRUE(slice.ok()) << slice.status();
    EXPECT_EQ(slice->ToString(), text);
  }
  for (const char* text : {":", "1", "1,", "a,b", "-1,2", "1,-1", "1,2,3", "9223372036854775807,1", "0,10:"}) {
    EXPECT_EQ(TensorSlice::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(TensorSliceTest, ShapeAndSliceSaysWhatIsWrong) {
  EXPECT_TRUE(ParseShapeAndSlice("")->whole);
  auto part = ParseShapeAndSlice("30 10 0,10:-");
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(part->full_shape, Shape({30, 10}));
  EXPECT_EQ(part->slice.Within(part->full_shape)->ToShape(), Shape({10, 10}));
  for (const char* text : {"30 10 0,10", "30 0,31", "-3 -", "x -", "30 10  0,10:-", "4611686018427387904 4 -:-"}) {
    EXPECT_EQ(ParseShapeAndSlice(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(TensorSliceTest, KeysKeepTheOrderOfNumbers) {
  EXPECT_EQ(absl::BytesToHexString(SliceKey("w", TensorSlice::Parse("0,10:-").value())),
            "00"
            "77"
            "0001"
            "0102"
            "808a"
            "807f");
  std::string last;
  for (int64_t start : {0, 1, 63, 64, 8191, 8192, 1 << 20, (1 << 20) + 1, 1 << 27, 1 << 30}) {
    TensorSlice slice;
    slice.extents = {{start, 1}};
    EXPECT_LT(last, SliceKey("w", slice)) << start;
    last = SliceKey("w", slice);
  }
  for (int bits = 31; bits < 63; ++bits) {
    TensorSlice slice;
    slice.extents = {{int64_t{1} << bits, 1}};
    EXPECT_LT(last, SliceKey("w", slice)) << bits;
    last = SliceKey("w", slice);
  }
}

TEST(TensorSliceTest, CopiesWhatTwoPartsShare) {
  const Tensor from = Tensor::FromValues<std::string>(Shape({2, 2}), {"a", "b", "c", "d"});
  const Tensor to = Tensor::FromValues<std::string>(Shape({2, 3}), {"", "", "", "", "", ""});
  // `from` is rows 1-2, columns 1-2 of a [4,4] tensor; `to` is rows 2-3, columns 0-2.
  EXPECT_EQ(CopyOverlap(from, TensorSlice::Parse("1,2:1,2").value(), to, TensorSlice::Parse("2,2:0,3").value()), 2);
  const absl::Span<std::string> got = to.flat<std::string>();
  EXPECT_EQ(std::vector<std::string>(got.begin(), got.end()), (std::vector<std::string>{"", "c", "d", "", "", ""}));
  EXPECT_EQ(CopyOverlap(from, TensorSlice::Parse("0,2:0,2").value(), to, TensorSlice::Parse("2,2:0,3").value()), 0);
}

}  // namespace
}  // namespace sluice
