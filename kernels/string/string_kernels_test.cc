#include "kernels/string/string_kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/common/kernel_test.h"
#include "kernels/string/fingerprint.h"
#include "ops/string/string_ops.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

Tensor Strings(std::vector<std::string> v) { return Tensor::Vector<std::string>(v); }
Tensor Matrix(int64_t rows, std::vector<std::string> v) {
  return Tensor::FromValues<std::string>(Shape({rows, static_cast<int64_t>(v.size()) / rows}), v);
}
Tensor Scalar(std::string s) { return Tensor::Scalar<std::string>(std::move(s)); }

class StringKernelsTest : public testing::Test {
 protected:
  KernelTester t_{DefineStringOps, AddStringKernelsCpu};
};

// Values are TensorFlow 2.21's.
TEST_F(StringKernelsTest, OpsGiveWhatTensorFlowGives) {
  struct Row {
    const char* op;
    std::vector<Tensor> inputs;
    AttrMap attrs;
    const char* result;
  };
  const Tensor abcd = Matrix(2, {"a", "b", "c", "d"});
  for (const Row& r : std::initializer_list<Row>{
           {"StringStrip", {Strings({" a b\n", ""})}, {}, "string [2] 'a b' ''"},
           {"StringLower", {Strings({"\u00c0B"})}, {{"encoding", "utf-8"}}, "string [1] '\\303\\240b'"},
           {"StringUpper", {Strings({"\u00e0b"})}, {}, "string [1] '\\303\\240B'"},
           {"StringLength", {Strings({"w\u00f6rld", ""})}, {}, "int32 [2] 6 0"},
           {"StringLength", {Strings({"w\u00f6rld", "\xff"})}, {{"unit", "UTF8_CHAR"}}, "int32 [2] 5 1"},
           {"Substr", {Strings({"hello"}), Tensor::Scalar(2), Tensor::Scalar(100)}, {}, "string [1] 'llo'"},
           {"Substr", {Strings({"hello"}), Tensor::Scalar(1), Tensor::Scalar(-1)}, {}, "string [1] 'ello'"},
           {"Substr", {Strings({"hello"}), Tensor::Scalar(5), Tensor::Scalar(1)}, {}, "string [1] ''"},
           {"Substr",
            {Matrix(2, {"abc", "def"}), Tensor::Vector<int64_t>({0, -1}), Tensor::Vector<int64_t>({1, 2})},
            {},
            "string [2,2] 'a' 'c' 'd' 'f'"},
           {"Substr",
            {Strings({"hello", "w\u00f6rld"}), Tensor::Vector<int32_t>({1, -4}), Tensor::Vector<int32_t>({3, 2})},
            {{"unit", "UTF8_CHAR"}},
            "string [2] 'ell' '\\303\\266r'"},
           {"EncodeBase64", {Strings({"hi?>"})}, {{"pad", true}}, "string [1] 'aGk_Pg=='"},
           {"DecodeBase64", {Strings({"aGk_Pg", "aGk_Pg=="})}, {}, "string [2] 'hi?>' 'hi?>'"},
           {"RegexReplace", {Strings({"abc abc"}), Scalar("a(b)"), Scalar("\\1x")}, {}, "string [1] 'bxc bxc'"},
           {"StaticRegexReplace",
            {Strings({"aa"})},
            {{"pattern", "a"}, {"rewrite", "b"}, {"replace_global", false}},
            "string [1] 'ba'"},
           {"RegexFullMatch", {Strings({"ab", "abc"}), Scalar("a.")}, {}, "bool [2] true false"},
           {"StaticRegexFullMatch", {Strings({"ab", "abc"})}, {{"pattern", "a.*"}}, "bool [2] true true"},
           {"StringJoin",
            {Strings({"a", "b"}), Scalar("x"), Strings({"c", "d"})},
            {{"separator", "-"}},
            "string [2] 'a-x-c' 'b-x-d'"},
           {"ReduceJoin", {abcd, Tensor::Vector<int32_t>({0, 1})}, {}, "string [] 'acbd'"},
           {"ReduceJoin", {abcd, Tensor::Vector<int32_t>({1, 0})}, {{"separator", "."}}, "string [] 'a.b.c.d'"},
           {"ReduceJoin", {abcd, Tensor::Scalar(-1)}, {{"keep_dims", true}}, "string [2,1] 'ab' 'cd'"},
           {"ReduceJoin", {abcd, Tensor::Vector<int32_t>({})}, {}, "string [2,2] 'a' 'b' 'c' 'd'"},
           {"AsString",
            {Tensor::Vector<float>({3.14159f, -2})},
            {{"precision", 2}, {"width", 8}, {"fill", " "}},
            "string [2] '    3.14' '   -2.00'"},
           {"AsString", {Tensor::Vector<float>({3.14159e10f})}, {{"scientific", true}}, "string [1] '3.141590e+10'"},
           {"AsString", {Tensor::Vector<double>({1e20, 0.1})}, {{"shortest", true}}, "string [2] '1e+20' '0.1'"},
           {"AsString", {Tensor::Scalar(complex64(1, 2))}, {}, "string [] '(1.000000,2.000000)'"},
           {"AsString", {Tensor::Vector<int32_t>({5, -3})}, {{"width", 4}, {"fill", "0"}}, "string [2] '0005' '-003'"},
           {"AsString", {Tensor::Scalar(5)}, {{"width", 4}, {"fill", "-"}}, "string [] '5   '"},
           {"AsString", {Tensor::Scalar(true)}, {}, "string [] 'true'"},
           {"AsString", {Tensor::Scalar<uint64_t>(UINT64_MAX)}, {}, "string [] '18446744073709551615'"},
           {"StringToNumber", {Strings({" 5 ", "-1e3"})}, {}, "float [2] 5 -1000"},
           {"StringToNumber", {Strings({"-9000000000"})}, {{"out_type", DType::kInt64}}, "int64 [1] -9000000000"},
       }) {
    EXPECT_EQ(t_.Text(r.op, r.inputs, r.attrs), r.result) << r.op;
  }
}

TEST_F(StringKernelsTest, TensorsAreFormattedAsTensorFlowPrintsThem) {
  auto format = [&](std::vector<Tensor> inputs, AttrMap attrs = {}) {
    std::vector<DType> types;
    for (const Tensor& t : inputs) types.push_back(t.dtype());
    attrs.Set("T", types);
    return t_.Get("StringFormat", inputs, attrs).scalar<std::string>();
  };
  std::vector<int32_t> v(24);
  std::iota(v.begin(), v.end(), 0);
  const Tensor ten = Tensor::Vector<int32_t>(absl::MakeConstSpan(v).first(10));
  EXPECT_EQ(format({ten}), "[0 1 2 ... 7 8 9]");
  EXPECT_EQ(format({ten}, {{"summarize", -1}}), "[0 1 2 3 4 5 6 7 8 9]");
  EXPECT_EQ(format({ten}, {{"summarize", 1}}), "[0 ... 9]");
  EXPECT_EQ(format({Tensor::FromValues<int32_t>(Shape({2, 3, 4}), v)}),
            "[[[0 1 2 3]\n  [4 5 6 7]\n  [8 9 10 11]]\n\n [[12 13 14 15]\n  [16 17 18 19]\n  [20 21 22 23]]]");
  EXPECT_EQ(format({Tensor::Vector<float>({0.1f, 1e10f, 1e-7f, 1.0f / 3, NAN, -2})}, {{"summarize", -1}}),
            "[0.1 1e+10 1e-07 0.333333343 nan -2]");
  EXPECT_EQ(format({Tensor::Vector<double>({1e16, 0.1, 1.0 / 3, 1e5})}), "[1e+16 0.1 0.33333333333333331 100000]");
  EXPECT_EQ(format({Strings({"a", "b\"c"})}), "[\"a\" \"b\\\"c\"]");
  EXPECT_EQ(format({Tensor::Vector<bool>({true, false})}), "[1 0]");
  EXPECT_EQ(format({Tensor::Make(DType::kFloat, Shape({0, 3})).value()}), "[]");
  EXPECT_EQ(format({Tensor::Scalar(1), Tensor::Vector<int32_t>({2, 3})}, {{"template", "x %s y %s z"}}),
            "x 1 y [2 3] z");
  EXPECT_THAT(t_.Text("StringFormat", {ten}, {{"T", std::vector<DType>{DType::kInt32}}, {"template", "none"}}),
              HasSubstr("0 placeholders"));
}

TEST_F(StringKernelsTest, SplittingGivesASparseMatrix) {
  struct Row {
    const char* op;
    std::vector<std::string> input;
    const char* separator;
    AttrMap attrs;
    const char* values;
    const char* shape;
  };
  for (const Row& r : std::initializer_list<Row>{
           {"StringSplitV2", {" a b  c ", "", "d"}, "", {}, "string [4] 'a' 'b' 'c' 'd'", "int64 [2] 3 3"},
           {"StringSplitV2", {" a b  c "}, "", {{"maxsplit", 1}}, "string [2] 'a' 'b  c '", "int64 [2] 1 2"},
           {"StringSplitV2", {" a b "}, "", {{"maxsplit", 2}}, "string [3] 'a' 'b' ''", "int64 [2] 1 3"},
           {"StringSplitV2", {"  a b "}, "", {{"maxsplit", 0}}, "string [1] '  a b '", "int64 [2] 1 1"},
           {"StringSplitV2", {"a<>b<><>c", "<>"}, "<>", {}, "string [6] 'a' 'b' '' 'c' '' ''", "int64 [2] 2 4"},
           {"StringSplitV2", {"a,b,c"}, ",", {{"maxsplit", 1}}, "string [2] 'a' 'b,c'", "int64 [2] 1 2"},
           {"StringSplit", {"a b,c", "", "x"}, " ,", {}, "string [4] 'a' 'b' 'c' 'x'", "int64 [2] 3 3"},
           {"StringSplit", {"a ", ""}, " ", {{"skip_empty", false}}, "string [2] 'a' ''", "int64 [2] 2 2"},
           {"StringSplit", {"abc"}, "", {}, "string [3] 'a' 'b' 'c'", "int64 [2] 1 3"},
       }) {
    auto out = t_.RunOp(r.op, {Strings(r.input), Scalar(r.separator)}, r.attrs);
    ASSERT_TRUE(out.ok()) << out.status();
    EXPECT_EQ((*out)[1].ToString(), r.values) << r.op << " at '" << r.separator << "'";
    EXPECT_EQ((*out)[2].ToString(), r.shape);
  }
  auto indices = t_.Get("StringSplitV2", {Strings({"a b", "", "c"}), Scalar("")});
  EXPECT_EQ(indices.ToString(), "int64 [3,2] 0 0 0 1 2 0");
}

TEST_F(StringKernelsTest, MistakesAreErrors) {
  EXPECT_THAT(t_.Text("Substr", {Strings({"abc"}), Tensor::Scalar(4), Tensor::Scalar(1)}),
              HasSubstr("pos 4 out of range"));
  EXPECT_THAT(t_.Text("Substr", {Strings({"abc"}), Tensor::Scalar(-4), Tensor::Scalar(1)}),
              HasSubstr("pos -4 out of range"));
  EXPECT_THAT(t_.Text("RegexReplace", {Strings({"a"}), Scalar("("), Scalar("")}), HasSubstr("Invalid pattern: ("));
  EXPECT_THAT(t_.Text("RegexReplace", {Strings({"a"}), Scalar("a"), Scalar("\\1")}), HasSubstr("Invalid rewrite: \\1"));
  EXPECT_THAT(t_.Text("StaticRegexFullMatch", {Strings({"a"})}, {{"pattern", "["}}), HasSubstr("Invalid pattern"));
  EXPECT_THAT(t_.Text("StringToNumber", {Strings({"1", "1 2"})}), HasSubstr("element 1: StringToNumberOp could not"));
  EXPECT_THAT(t_.Text("StringToNumber", {Strings({"3000000000"})}, {{"out_type", DType::kInt32}}),
              HasSubstr("could not"));
  EXPECT_THAT(t_.Text("AsString", {Tensor::Scalar(1)}, {{"precision", 2}}), HasSubstr("precision"));
  EXPECT_THAT(t_.Text("AsString", {Tensor::Scalar(1)}, {{"fill", "x"}}), HasSubstr("fill"));
  EXPECT_THAT(t_.Text("DecodeBase64", {Strings({"?"})}), HasSubstr("base64"));
  EXPECT_THAT(t_.Text("ReduceJoin", {Strings({"a"}), Tensor::Scalar(1)}), HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(t_.Text("StringJoin", {Strings({"a"}), Strings({"a", "b"})}), HasSubstr("INVALID_ARGUMENT"));
}

TEST(FingerprintTest, IsTheOneBehindTensorFlowsHashBuckets) {
  std::string text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>(33 + i * 7 % 90));
  const std::pair<size_t, uint64_t> cases[] = {
      {0, 912170738},  {1, 136637868},   {3, 827000255},   {4, 537208524},   {7, 229047533},   {8, 180074525},
      {12, 664385082}, {16, 201013893},  {17, 62620025},   {32, 109200061},  {33, 630060310},  {64, 167157249},
      {65, 779946439}, {127, 830585244}, {128, 185789724}, {129, 955917338}, {192, 600953567}, {300, 305968385}};
  for (const auto& [length, bucket] : cases)
    EXPECT_EQ(Fingerprint64(text.substr(0, length)) % 1000000007, bucket) << length;
}

}  // namespace
}  // namespace sluice
