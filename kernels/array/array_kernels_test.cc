#include "kernels/array/array_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/common/kernel_test.h"
#include "ops/array/array_ops.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;

KernelTester& Tester() {
  static auto* tester = new KernelTester(DefineArrayOps, AddArrayKernelsCpu);
  return *tester;
}
std::string First(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs = {}) {
  return Tester().Text(op, std::move(inputs), std::move(attrs));
}
// All outputs, with '|' between.
std::string All(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs = {}) {
  absl::StatusOr<std::vector<Tensor>> out = Tester().RunOp(op, std::move(inputs), std::move(attrs));
  if (!out.ok()) return out.status().ToString();
  std::string text;
  for (const Tensor& t : *out) text += (text.empty() ? "" : " | ") + t.ToString(64);
  return text;
}
template <typename T>
Tensor Iota(const Shape& shape, T first = 0) {
  std::vector<T> v(shape.num_elements());
  std::iota(v.begin(), v.end(), first);
  return Tensor::FromValues<T>(shape, v);
}
Tensor I(std::vector<int32_t> v) { return Tensor::Vector<int32_t>(v); }
Tensor F(std::vector<float> v) { return Tensor::Vector<float>(v); }
Tensor I0(int32_t v) { return Tensor::Scalar<int32_t>(v); }
Tensor M(const Shape& s, std::vector<int32_t> v) { return Tensor::FromValues<int32_t>(s, v); }
Tensor FM(const Shape& s, std::vector<float> v) { return Tensor::FromValues<float>(s, v); }

TEST(ShapeKernelsTest, ShapesAreReadAndChanged) {
  const Tensor x = Iota<int32_t>({2, 3});
  EXPECT_EQ(First("Shape", {x}), "int32 [2] 2 3");
  EXPECT_EQ(First("Size", {x}, {{"out_type", DType::kInt64}}), "int64 [] 6");
  EXPECT_EQ(First("Rank", {x}), "int32 [] 2");
  EXPECT_EQ(First("Reshape", {x, I({3, -1})}), "int32 [3,2] 0 1 2 3 4 5");
  EXPECT_EQ(First("ExpandDims", {x, I0(-1)}), "int32 [2,3,1] 0 1 2 3 4 5");
  EXPECT_EQ(First("Squeeze", {Iota<int32_t>({1, 2, 1})}, {{"squeeze_dims", std::vector<int64_t>{0}}}),
            "int32 [2,1] 0 1");
  EXPECT_EQ(First("BroadcastTo", {I({1, 2}), I({2, 2})}), "int32 [2,2] 1 2 1 2");
  EXPECT_EQ(First("Bitcast", {F({1.0f})}, {{"type", DType::kUint8}}), "uint8 [1,4] 0 0 128 63");
}

TEST(ShapeKernelsTest, ImpossibleShapesAreRefused) {
  EXPECT_THAT(First("Reshape", {Iota<int32_t>({2, 3}), I({4, -1})}), HasSubstr("not a multiple of 4"));
  EXPECT_EQ(First("Reshape", {Iota<int32_t>({0, 3}), I({0, -1})}), "int32 [0,3]");
  EXPECT_THAT(First("Reshape", {Iota<int32_t>({1, 3}), I({0, -1})}), HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(First("Reshape", {I({1}), I({-2})}), HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(First("Fill", {Tensor::Vector<int64_t>({int64_t{1} << 40, int64_t{1} << 40}), I0(1)},
                    {{"index_type", DType::kInt64}}),
              HasSubstr("INVALID_ARGUMENT"));
  EXPECT_THAT(First("Fill", {I({-1}), I0(1)}), HasSubstr("INVALID_ARGUMENT"));
}

TEST(JoinKernelsTest, ConcatPackSplitAndUnpackAgree) {
  const Tensor a = M({2, 1}, {1, 2}), b = M({2, 2}, {3, 4, 5, 6});
  EXPECT_EQ(First("ConcatV2", {a, b, I0(-1)}), "int32 [2,3] 1 3 4 2 5 6");
  EXPECT_EQ(First("Concat", {I0(0), b, b}), "int32 [4,2] 3 4 5 6 3 4 5 6");
  EXPECT_EQ(All("ConcatOffset", {I0(1), I({2, 1}), I({2, 2})}), "int32 [2] 0 0 | int32 [2] 0 1");
  EXPECT_EQ(First("Pack", {I({1, 2}), I({3, 4})}, {{"axis", 1}}), "int32 [2,2] 1 3 2 4");
  EXPECT_EQ(All("Unpack", {b}, {{"num", 2}, {"axis", 1}}), "int32 [2] 3 5 | int32 [2] 4 6");
  EXPECT_EQ(All("Split", {I0(1), b}, {{"num_split", 2}}), "int32 [2,1] 3 5 | int32 [2,1] 4 6");
  EXPECT_EQ(All("SplitV", {I({1, 2, 3}), I({2, -1}), I0(0)}, {{"num_split", 2}}), "int32 [2] 1 2 | int32 [1] 3");
  EXPECT_THAT(All("SplitV", {I({1, 2, 3}), I({2, 2}), I0(0)}, {{"num_split", 2}}), HasSubstr("add up to 4"));
  EXPECT_EQ(First("ConcatV2", {Tensor::Vector<std::string>({"a"}), Tensor::Vector<std::string>({"b", "c"}), I0(0)}),
            "string [3] 'a' 'b' 'c'");
}

TEST(SliceKernelsTest, SlicesFollowNumPy) {
  const Tensor x = Iota<int32_t>({3, 4});
  EXPECT_EQ(First("Slice", {x, I({1, 1}), I({-1, 2})}), "int32 [2,2] 5 6 9 10");
  EXPECT_THAT(First("Slice", {x, I({1, 4}), I({1, 1})}), HasSubstr("INVALID_ARGUMENT"));
  const auto strided = [&](std::vector<int32_t> b, std::vector<int32_t> e, std::vector<int32_t> s, AttrMap masks) {
    return First("StridedSlice", {x, I(b), I(e), I(s)}, masks);
  };
  EXPECT_EQ(strided({0}, {3}, {2}, {}), "int32 [2,4] 0 1 2 3 8 9 10 11");
  EXPECT_EQ(strided({-1, 0}, {0, -1}, {-1, 3}, {{"end_mask", 1}}), "int32 [3,1] 8 4 0");
  EXPECT_EQ(strided({0, 1}, {0, 2}, {1, 1}, {{"ellipsis_mask", 1}, {"shrink_axis_mask", 2}}), "int32 [3] 1 5 9");
  EXPECT_EQ(strided({1, 0}, {2, 0}, {1, 1}, {{"shrink_axis_mask", 1}, {"new_axis_mask", 2}}), "int32 [1,4] 4 5 6 7");
  EXPECT_EQ(strided({2, 0}, {1, 0}, {1, 1}, {{"end_mask", 2}}), "int32 [0,4]");
  EXPECT_THAT(strided({3}, {4}, {1}, {{"shrink_axis_mask", 1}}), HasSubstr("out of bounds"));
  EXPECT_THAT(strided({INT32_MIN, 0}, {INT32_MAX, 0}, {INT32_MIN, 1}, {}), HasSubstr("[0,0]"));
  EXPECT_THAT(strided({0, 0, 0}, {1, 1, 1}, {1, 1, 1}, {}), HasSubstr("input has only 2 dims"));
  EXPECT_EQ(First("StridedSliceGrad", {I({2, 3}), I({0, 2}), I({2, 0}), I({1, -2}), M({2, 1}, {7, 8})}),
            "int32 [2,3] 0 0 7 0 0 8");
  EXPECT_EQ(First("TensorStridedSliceUpdate", {I({1, 2, 3}), I({1}), I({3}), I({1}), I0(9)}), "int32 [3] 1 9 9");
}

TEST(SliceKernelsTest, ExtremeIndicesAreErrorsOrEmpty) {
  const auto l = [](int64_t v) { return Tensor::Vector<int64_t>({v}); };
  for (int64_t b : {INT64_MIN, INT64_MAX, int64_t{0}}) {
    for (int64_t e : {INT64_MIN, INT64_MAX}) {
      for (int64_t s : {INT64_MIN, INT64_MAX, int64_t{1}}) {
        for (int64_t mask : {0, 1}) {
          const std::string text =
              First("StridedSlice", {I({1, 2, 3}), l(b), l(e), l(s)}, {{"shrink_axis_mask", mask}});
          EXPECT_THAT(text, ::testing::AnyOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("int32 [")));
        }
      }
    }
  }
}

TEST(GatherKernelsTest, GathersAlongAxesAndCoordinates) {
  const Tensor x = Iota<int32_t>({3, 2});
  EXPECT_EQ(First("Gather", {x, I({2, 0})}), "int32 [2,2] 4 5 0 1");
  EXPECT_EQ(First("GatherV2", {x, M({1, 3}, {1, 0, 1}), I0(1)}), "int32 [3,1,3] 1 0 1 3 2 3 5 4 5");
  EXPECT_EQ(First("GatherV2", {x, M({3, 1}, {1, 0, 1}), I0(1)}, {{"batch_dims", 1}}), "int32 [3,1] 1 2 5");
  EXPECT_EQ(First("GatherNd", {x, M({2, 2}, {0, 1, 2, 0})}), "int32 [2] 1 4");
  EXPECT_EQ(First("GatherNd", {x, M({1, 0}, {})}), "int32 [1,3,2] 0 1 2 3 4 5");
  EXPECT_THAT(First("Gather", {Iota<int32_t>({10}), I({0, 1, 2, 12})}), HasSubstr("indices[3] = 12 is not in [0, 10)"));
  EXPECT_THAT(First("GatherV2", {x, M({1, 2}, {0, -1}), I0(0)}), HasSubstr("indices[0,1] = -1 is not in [0, 3)"));
  EXPECT_THAT(First("GatherNd", {x, M({2, 2}, {0, 1, 3, 0})}),
              HasSubstr("indices[1] = [3, 0] does not index into params of shape [3,2]"));
  EXPECT_EQ(First("Gather", {Tensor::Vector<std::string>({"a", "b"}), I({1, 1})}), "string [2] 'b' 'b'");
}

TEST(ScatterKernelsTest, DuplicatesAddUpOrTheLastWins) {
  const Tensor at = M({3, 1}, {1, 1, 0});
  EXPECT_EQ(First("ScatterNd", {at, F({1, 2, 4}), I({3})}), "float [3] 4 3 0");
  EXPECT_EQ(First("TensorScatterUpdate", {F({9, 9, 9}), at, F({1, 2, 4})}), "float [3] 4 2 9");
  EXPECT_EQ(First("TensorScatterAdd", {F({9, 9, 9}), at, F({1, 2, 4})}), "float [3] 13 12 9");
  EXPECT_EQ(First("TensorScatterSub", {F({9, 9, 9}), at, F({1, 2, 4})}), "float [3] 5 6 9");
  EXPECT_EQ(First("ScatterNdNonAliasingAdd", {FM({2, 2}, {1, 1, 1, 1}), M({1, 1}, {1}), FM({1, 2}, {2, 3})}),
            "float [2,2] 1 1 3 4");
  EXPECT_THAT(First("ScatterNd", {M({1, 1}, {3}), F({1}), I({3})}), HasSubstr("indices[0] = [3]"));
  EXPECT_THAT(First("ScatterNd", {M({1, 1}, {0}), F({1, 2}), I({3})}), HasSubstr("updates have shape [2], wanted [1]"));
}

TEST(ScatterKernelsTest, LargeSumsDoNotDependOnThreads) {
  std::vector<int32_t> rows(1000);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i * 7919 % 50);
  const Tensor out = Tester().Get("ScatterNd", {M({1000, 1}, rows), Iota<float>({1000, 64}), I({50, 64})});
  for (int r = 0; r < 50; ++r) {
    for (int j = 0; j < 64; ++j) {
      float sum = 0;
      for (int i = 0; i < 1000; ++i) sum += rows[i] == r ? static_cast<float>(i * 64 + j) : 0.0f;
      ASSERT_EQ(out.data<float>()[r * 64 + j], sum);
    }
  }
}

// Every permutation of a tensor against the definition, at sizes around the tiles.
TEST(PermuteKernelsTest, TransposesMatchTheDefinition) {
  for (const Shape& shape : {Shape({5, 7}), Shape({70, 33}), Shape({3, 65, 4}), Shape({2, 3, 17, 19}), Shape({1, 0, 2}),
                             Shape({129, 1, 66})}) {
    std::vector<int32_t> perm(shape.rank());
    std::iota(perm.begin(), perm.end(), 0);
    do {
      const Tensor x = Iota<float>(shape);
      for (const Tensor& in : {x, Iota<uint8_t>(shape), Iota<double>(shape)}) {
        const Tensor y = Tester().Get("Transpose", {in, I(perm)});
        const size_t size = ElementSize(in.dtype());
        for (int64_t i = 0; i < y.num_elements(); ++i) {
          int64_t rest = i, from = 0;
          for (int d = shape.rank() - 1; d >= 0; --d) {
            int64_t stride = 1;
            for (int k = perm[d] + 1; k < shape.rank(); ++k) stride *= shape.dim(k);
            from += rest % y.dim(d) * stride;
            rest /= y.dim(d);
          }
          ASSERT_EQ(memcmp(static_cast<char*>(y.raw_data()) + i * size, static_cast<char*>(in.raw_data()) + from * size,
                           size),
                    0);
        }
      }
    } while (std::next_permutation(perm.begin(), perm.end()));
  }
  EXPECT_THAT(First("Transpose", {Iota<float>({2, 3}), I({0, 2})}), HasSubstr("perm[1] = 2"));
  EXPECT_EQ(First("ConjugateTranspose", {Tensor::FromValues<complex64>({1, 2}, {{1, 2}, {3, -4}}), I({1, 0})}),
            "complex64 [2,1] 1+-2j 3+4j");
}

TEST(PermuteKernelsTest, ReversalsAndRolls) {
  const Tensor x = Iota<int32_t>({2, 3});
  EXPECT_EQ(First("InvertPermutation", {I({2, 0, 1})}), "int32 [3] 1 2 0");
  EXPECT_EQ(First("Reverse", {x, Tensor::Vector<bool>({false, true})}), "int32 [2,3] 2 1 0 5 4 3");
  EXPECT_EQ(First("ReverseV2", {x, I({0, -1})}), "int32 [2,3] 5 4 3 2 1 0");
  EXPECT_THAT(First("ReverseV2", {x, I({0, -2})}), HasSubstr("axis 0 is given twice"));
  EXPECT_EQ(First("ReverseSequence", {x, I({2, 3})}, {{"seq_dim", 1}}), "int32 [2,3] 1 0 2 5 4 3");
  EXPECT_EQ(First("Roll", {x, I({1, -1}), I({0, 1})}), "int32 [2,3] 4 5 3 1 2 0");
  EXPECT_EQ(First("Roll", {x, I0(INT32_MIN), I0(1)}), "int32 [2,3] 2 0 1 5 3 4");
}

TEST(PadKernelsTest, PadsMirrorsAndTiles) {
  const Tensor x = M({2, 2}, {1, 2, 3, 4}), pads = M({2, 2}, {0, 1, 1, 0});
  EXPECT_EQ(First("Pad", {x, pads}), "int32 [3,3] 0 1 2 0 3 4 0 0 0");
  EXPECT_EQ(First("PadV2", {x, pads, I0(9)}), "int32 [3,3] 9 1 2 9 3 4 9 9 9");
  EXPECT_EQ(First("MirrorPad", {I({1, 2, 3}), M({1, 2}, {2, 2})}, {{"mode", "REFLECT"}}), "int32 [7] 3 2 1 2 3 2 1");
  EXPECT_EQ(First("MirrorPad", {I({1, 2, 3}), M({1, 2}, {2, 3})}, {{"mode", "SYMMETRIC"}}),
            "int32 [8] 2 1 1 2 3 3 2 1");
  EXPECT_EQ(First("MirrorPadGrad", {F({1, 1, 1, 1, 1}), M({1, 2}, {1, 1})}, {{"mode", "SYMMETRIC"}}),
            "float [3] 2 1 2");
  EXPECT_THAT(First("MirrorPad", {I({1, 2}), M({1, 2}, {2, 0})}, {{"mode", "REFLECT"}}),
              HasSubstr("must be at most 1"));
  EXPECT_EQ(First("Tile", {x, I({1, 2})}), "int32 [2,4] 1 2 1 2 3 4 3 4");
  EXPECT_EQ(First("Tile", {x, I({0, 2})}), "int32 [0,4]");
  EXPECT_THAT(First("Pad", {x, M({2, 2}, {0, -1, 0, 0})}), HasSubstr("INVALID_ARGUMENT"));
}

TEST(PartitionKernelsTest, DealsOutAndStitches) {
  EXPECT_EQ(All("DynamicPartition", {M({3, 1}, {10, 20, 30}), I({1, 0, 1})}, {{"num_partitions", 2}}),
            "int32 [1,1] 20 | int32 [2,1] 10 30");
  EXPECT_THAT(All("DynamicPartition", {I({1, 2}), I({0, 2})}, {{"num_partitions", 2}}),
              HasSubstr("partitions[1] = 2 is not in [0, 2)"));
  EXPECT_EQ(First("DynamicStitch", {I({0, 3}), I0(1), F({1, 2}), Tensor::Scalar<float>(5)}), "float [4] 1 5 0 2");
  EXPECT_EQ(First("ParallelDynamicStitch", {I({0, 0}), I({0}), F({1, 2}), F({3})}), "float [1] 3");
}

TEST(UniqueKernelsTest, FindsDistinctElementsInOrder) {
  EXPECT_EQ(All("Unique", {I({3, 1, 3, 2, 1})}), "int32 [3] 3 1 2 | int32 [5] 0 1 0 2 1");
  EXPECT_EQ(All("UniqueWithCounts", {Tensor::Vector<std::string>({"b", "a", "b"})}),
            "string [2] 'b' 'a' | int32 [3] 0 1 0 | int32 [2] 2 1");
  EXPECT_EQ(All("UniqueV2", {M({2, 3}, {1, 2, 1, 3, 4, 3}), Tensor::Vector<int64_t>({1})}),
            "int32 [2,2] 1 2 3 4 | int32 [3] 0 1 0");
  EXPECT_EQ(All("UniqueV2", {I({5, 5}), Tensor::Vector<int64_t>({})}), "int32 [1] 5 | int32 [2] 0 0");
  EXPECT_EQ(All("Unique", {F({0.0f, -0.0f, NAN, NAN})}), "float [3] 0 nan nan | int32 [4] 0 0 1 2");
  EXPECT_EQ(All("ListDiff", {I({1, 2, 3, 4}), I({2, 4})}), "int32 [2] 1 3 | int32 [2] 0 2");
  EXPECT_EQ(First("Where", {Tensor::FromValues<bool>({2, 2}, {true, false, true, true})}), "int64 [3,2] 0 0 1 0 1 1");
  EXPECT_EQ(First("Where", {F({0.0f, -0.0f, 2.0f, NAN})}), "int64 [2,1] 2 3");
  EXPECT_EQ(First("Where", {Tensor::Scalar<bool>(true)}), "int64 [1,0]");
}

TEST(SpaceKernelsTest, BlocksMoveThereAndBack) {
  const Tensor x = Iota<int32_t>({1, 2, 2, 1}, 1);
  EXPECT_EQ(First("SpaceToBatchND", {x, I({2, 2}), M({2, 2}, {0, 0, 0, 0})}), "int32 [4,1,1,1] 1 2 3 4");
  EXPECT_EQ(First("SpaceToBatchND", {M({1, 3}, {1, 2, 3}), I({2}), M({1, 2}, {1, 0})}), "int32 [2,2] 0 2 1 3");
  EXPECT_EQ(First("BatchToSpaceND", {M({2, 2}, {0, 2, 1, 3}), I({2}), M({1, 2}, {1, 0})}), "int32 [1,3] 1 2 3");
  EXPECT_EQ(First("SpaceToBatch", {x, M({2, 2}, {0, 0, 0, 0})}, {{"block_size", 2}}), "int32 [4,1,1,1] 1 2 3 4");
  EXPECT_EQ(First("SpaceToDepth", {x}, {{"block_size", 2}}), "int32 [1,1,1,4] 1 2 3 4");
  EXPECT_EQ(First("DepthToSpace", {Iota<int32_t>({1, 4, 1, 2}, 1)}, {{"block_size", 2}, {"data_format", "NCHW"}}),
            "int32 [1,1,2,4] 1 3 2 4 5 7 6 8");
  EXPECT_THAT(First("BatchToSpaceND", {M({2, 2}, {0, 2, 1, 3}), I({2}), M({1, 2}, {3, 2})}),
              HasSubstr("take 5 of 4 places"));
  EXPECT_EQ(First("ExtractImagePatches", {Iota<int32_t>({1, 2, 2, 1}, 1)},
                  {{"ksizes", std::vector<int64_t>{1, 2, 2, 1}},
                   {"strides", std::vector<int64_t>{1, 2, 1, 1}},
                   {"rates", std::vector<int64_t>{1, 1, 1, 1}},
                   {"padding", "SAME"}}),
            "int32 [1,1,2,4] 1 2 3 4 2 0 4 0");
}

TEST(SelectionKernelsTest, TopElementsComeInOrder) {
  EXPECT_EQ(All("TopKV2", {FM({2, 4}, {1, 3, 3, 2, -1, -2, -1, NAN}), I0(3)}),
            "float [2,3] 3 3 2 nan -1 -1 | int32 [2,3] 1 2 3 3 0 2");
  EXPECT_EQ(All("TopKV2", {F({1, 2}), I0(0)}), "float [0] | int32 [0]");
  EXPECT_THAT(All("TopKV2", {F({1, 2}), I0(3)}), HasSubstr("at least k = 3 columns"));
  std::vector<float> many(1000);
  for (size_t i = 0; i < many.size(); ++i) many[i] = static_cast<float>(i * 7919 % 1000);
  EXPECT_EQ(First("TopKV2", {F(many), I0(4)}), "float [4] 999 998 997 996");
  EXPECT_EQ(First("InTopK", {FM({3, 3}, {1, 2, 3, 3, 3, 1, NAN, 1, 2}), I({1, 1, 2})}, {{"k", 1}}),
            "bool [3] false true false");
  EXPECT_EQ(First("NthElement", {FM({2, 3}, {3, 1, 2, 9, 7, 8}), I0(0)}), "float [2] 1 7");
  EXPECT_EQ(First("NthElement", {FM({2, 3}, {3, 1, 2, 9, 7, 8}), I0(0)}, {{"reverse", true}}), "float [2] 3 9");
  EXPECT_EQ(First("LowerBound", {M({1, 4}, {1, 3, 3, 5}), M({1, 3}, {0, 3, 6})}), "int32 [1,3] 0 1 4");
  EXPECT_EQ(First("UpperBound", {M({1, 4}, {1, 3, 3, 5}), M({1, 3}, {0, 3, 6})}), "int32 [1,3] 0 3 4");
}

TEST(SelectionKernelsTest, FingerprintsAreThoseOfFarmHash) {
  const Tensor method = Tensor::Scalar<std::string>("farmhash64");
  EXPECT_EQ(First("Fingerprint", {Tensor::Vector<std::string>({"a"}), method}),
            "uint8 [1,8] 227 117 223 182 101 66 69 179");
  EXPECT_EQ(First("Fingerprint", {Tensor::FromValues<std::string>({1, 2}, {"a", "hello"}), method}),
            "uint8 [1,8] 203 167 170 224 252 74 119 135");
  EXPECT_EQ(First("Fingerprint", {M({1, 2}, {1, 2}), method}), "uint8 [1,8] 76 18 253 133 168 204 240 10");
  EXPECT_THAT(First("Fingerprint", {M({1, 2}, {1, 2}), Tensor::Scalar<std::string>("md5")}), HasSubstr("farmhash64"));
}

TEST(ConstantKernelsTest, FillsAndOneHots) {
  EXPECT_EQ(First("Fill", {I({2}), Tensor::Scalar<std::string>("x")}), "string [2] 'x' 'x'");
  EXPECT_EQ(First("ZerosLike", {F({1, 2})}), "float [2] 0 0");
  EXPECT_EQ(First("OnesLike", {Tensor::Vector<bool>({false})}), "bool [1] true");
  EXPECT_EQ(First("OneHot", {I({1, -1}), I0(2), Tensor::Scalar(1.0f), Tensor::Scalar(0.0f)}), "float [2,2] 0 1 0 0");
  EXPECT_EQ(First("OneHot", {I({1, 0}), I0(3), I0(5), I0(0)}, {{"axis", 0}}), "int32 [3,2] 0 5 5 0 0 0");
}

TEST(QuantizeKernelsTest, RoundsToTheGrid) {
  const Tensor x = F({-10, -0.4f, 0.1f, 0.26f, 10});
  EXPECT_EQ(First("QuantizeAndDequantizeV2", {x, Tensor::Scalar(-1.0f), Tensor::Scalar(0.875f)},
                  {{"range_given", true}, {"num_bits", 4}}),
            "float [5] -1 -0.375 0.125 0.25 0.875");
  EXPECT_EQ(First("FakeQuantWithMinMaxArgs", {x}, {{"min", 0.0f}, {"max", 1.5f}, {"num_bits", 2}}),
            "float [5] 0 0 0 0.5 1.5");
  EXPECT_EQ(
      All("FakeQuantWithMinMaxVarsGradient", {F({1, 2, 4, 8, 16}), x, Tensor::Scalar(0.0f), Tensor::Scalar(1.5f)}),
      "float [5] 0 0 4 8 0 | float [] 3 | float [] 16");
}

TEST(EmptyTensorsTest, AreFineEverywhere) {
  const Tensor e = Iota<float>({0, 3});
  EXPECT_EQ(First("ConcatV2", {e, e, I0(1)}), "float [0,6]");
  EXPECT_EQ(First("Gather", {e, I({})}), "float [0,3]");
  EXPECT_EQ(First("Transpose", {e, I({1, 0})}), "float [3,0]");
  EXPECT_EQ(First("Pad", {e, M({2, 2}, {1, 0, 0, 0})}), "float [1,3] 0 0 0");
  EXPECT_EQ(First("ReverseV2", {e, I({0})}), "float [0,3]");
  EXPECT_EQ(First("Tile", {e, I({2, 2})}), "float [0,6]");
  EXPECT_EQ(First("Where", {e}), "int64 [0,2]");
  EXPECT_EQ(All("TopKV2", {e, I0(2)}), "float [0,2] | int32 [0,2]");
  EXPECT_EQ(All("Unique", {F({})}), "float [0] | int32 [0]");
  EXPECT_EQ(First("ScatterNd", {M({0, 1}, {}), F({}), I({2})}), "float [2] 0 0");
  EXPECT_EQ(First("Pack", {e}), "float [1,0,3]");
}

}  // namespace
}  // namespace sluice
