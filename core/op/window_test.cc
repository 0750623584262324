#include "core/op/window.h"

#include "gtest/gtest.h"

namespace sluice {
namespace {

using Ints = std::vector<int64_t>;

AttrMap Attrs(Ints strides, std::string padding, std::string format = "NHWC") {
  return {{"strides", strides}, {"padding", padding}, {"data_format", format}};
}

TEST(WindowTest, OutputSizesAndPadding) {
  struct Row {
    const char* padding;
    int64_t input, filter, stride, output, before, after;
  };
  for (const Row& r : std::initializer_list<Row>{{"SAME", 28, 5, 1, 28, 2, 2},
                                                 {"SAME", 7, 2, 2, 4, 0, 1},
                                                 {"SAME", 5, 1, 2, 3, 0, 0},
                                                 {"SAME", 0, 3, 1, 0, 0, 0},
                                                 {"VALID", 7, 3, 2, 3, 0, 0},
                                                 {"VALID", 2, 3, 1, 0, 0, 0},
                                                 {"VALID", -1, 3, 1, -1, 0, 0},
                                                 {"SAME", 10, -1, 3, 4, 0, 0}}) {
    auto w = ParseWindowAttrs(Attrs({1, r.stride, r.stride, 1}, r.padding), 2);
    ASSERT_TRUE(w.ok()) << w.status();
    auto a = w->Axis(0, r.input, r.filter);
    ASSERT_TRUE(a.ok()) << a.status();
    EXPECT_EQ(a->output, r.output) << r.padding << r.input;
    EXPECT_EQ(a->pad_before, r.before);
    EXPECT_EQ(a->pad_after, r.after);
  }
}

TEST(WindowTest, WrongAttributesAreRefused) {
  const int64_t big = int64_t{1} << 40;
  for (const AttrMap& attrs : {Attrs({1, 1, 1}, "SAME"), Attrs({1, 0, 1, 1}, "SAME"), Attrs({1, -1, 1, 1}, "SAME"),
                               Attrs({2, 1, 1, 1}, "SAME"), Attrs({1, 1, 1, 2}, "SAME"), Attrs({1, big, 1, 1}, "SAME"),
                               Attrs({1, 1, 1, 1}, "ROUND"), Attrs({1, 1, 1, 1}, "EXPLICIT"),
                               Attrs({1, 1, 1, 1}, "SAME", "HWCN"), Attrs({1, 2, 1, 1}, "SAME", "NCHW")}) {
    EXPECT_EQ(ParseWindowAttrs(attrs, 2).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(WindowTest, ExplicitPaddingFollowsTheLayout) {
  AttrMap attrs = Attrs({1, 1, 1, 1}, "EXPLICIT", "NCHW");
  attrs.Set("explicit_paddings", Ints{0, 0, 0, 0, 1, 2, 3, 4});
  auto w = ParseWindowAttrs(attrs, 2);
  ASSERT_TRUE(w.ok()) << w.status();
  EXPECT_EQ(w->Axis(1, 5, 3)->output, 5 + 3 + 4 - 2);
  attrs.Set("explicit_paddings", Ints{0, 0, 1, 0, 1, 2, 3, 4});
  EXPECT_FALSE(ParseWindowAttrs(attrs, 2).ok());
}

TEST(WindowTest, FilterLargerThanTheInputIsAnErrorThatSaysSo) {
  auto w = ParseWindowAttrs(Attrs({1, 1, 1, 1}, "VALID"), 2);
  auto a = w->Axis(0, 3, 5);
  EXPECT_NE(a.status().message().find("spans 5"), std::string::npos) << a.status();
  EXPECT_FALSE(w->Axis(0, 3, 0).ok());
  EXPECT_FALSE(w->Axis(0, 3, int64_t{1} << 40).ok());
}

}  // namespace
}  // namespace sluice
