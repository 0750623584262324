#include "kernels/image/image_kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "absl/strings/escaping.h"
#include "kernels/common/kernel_test.h"
#include "kernels/image/jpeg_codec.h"
#include "ops/image/image_ops.h"

namespace sluice {
namespace {

using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;

// TensorFlow 2.21: encode_jpeg with quality 90 of an image [8,9,3] whose element i is 7 * i modulo 256.
constexpr char kJpeg[] =
    "ffd8ffe000104a46494600010101012c012c0000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c"
    "0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffdb00430103040405040509050509140d0b0d1414"
    "141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414141414ffc00011080008"
    "000903012200021101031101ffc4001f0000010501010101010100000000000000000102030405060708090a0bffc400b5100002010303"
    "020403050504040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a"
    "25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a9293"
    "9495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2"
    "f3f4f5f6f7f8f9faffc4001f0100030101010101010101010000000000000102030405060708090a0bffc400b511000201020404030407"
    "05040400010277000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a26"
    "2728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495"
    "969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6"
    "f7f8f9faffda000c03010002110311003f0082cfc3da7cf6a6f74cf0b7877c476915a5d4706a5f0e6fce937b690a7cd1ccd620c71cb70c"
    "1895444b93b90a1dc3686d0f33fea1ff00b407fe0bff00fbdd4515d518f2f5febf2fb91cce4e5ab3ffd9";

std::string JpegFile() { return absl::HexStringToBytes(kJpeg); }

Tensor JpegImage() {
  Tensor image = Tensor::Make(DType::kUint8, Shape({8, 9, 3})).value();
  for (int64_t i = 0; i < image.num_elements(); ++i) image.data<uint8_t>()[i] = static_cast<uint8_t>(7 * i);
  return image;
}

class ImageKernelsTest : public testing::Test {
 protected:
  int64_t Sum(const Tensor& t) {
    const absl::Span<uint8_t> v = t.flat<uint8_t>();
    return std::accumulate(v.begin(), v.end(), int64_t{0});
  }
  KernelTester t_{DefineImageOps, AddImageKernelsCpu};
};

// All values below are TensorFlow 2.21's.
TEST_F(ImageKernelsTest, JpegFilesAreReadAndWrittenAsTensorFlowDoes) {
  const Tensor file = Tensor::Scalar<std::string>(JpegFile());
  const Tensor fast = t_.Get("DecodeJpeg", {file});
  EXPECT_EQ(fast.ToString(6), "uint8 [8,9,3] 10 5 0 28 23 19 ...");
  EXPECT_EQ(Sum(fast), 27060);
  EXPECT_EQ(Sum(t_.Get("DecodeJpeg", {file}, {{"dct_method", "INTEGER_ACCURATE"}})), 27263);
  EXPECT_EQ(Sum(t_.Get("DecodeJpeg", {file}, {{"channels", 1}})), 9037);
  EXPECT_EQ(Sum(t_.Get("DecodeJpeg", {file}, {{"fancy_upscaling", false}})), 27064);
  const Tensor half_size = t_.Get("DecodeJpeg", {file}, {{"ratio", 2}});
  EXPECT_EQ(half_size.shape(), Shape({4, 5, 3}));
  EXPECT_EQ(Sum(half_size), 7582);
  EXPECT_EQ(t_.Text("ExtractJpegShape", {file}), "int32 [3] 8 9 3");
  EXPECT_EQ(absl::BytesToHexString(t_.Get("EncodeJpeg", {JpegImage()}, {{"quality", 90}}).scalar<std::string>()),
            kJpeg);
  const Tensor gray =
      t_.Get("EncodeJpeg", {Tensor::Make(DType::kUint8, Shape({4, 4, 1})).value()}, {{"format", "grayscale"}});
  EXPECT_EQ(t_.Get("DecodeJpeg", {gray}).shape(), Shape({4, 4, 1}));
  EXPECT_THAT(t_.Text("EncodeJpeg", {JpegImage()}, {{"format", "grayscale"}}), HasSubstr("expects 1 channels"));
}

TEST_F(ImageKernelsTest, DamagedJpegFilesAreErrorsOrImages) {
  const std::string good = JpegFile();
  JpegDecodeOptions recover;
  recover.recover_truncated = true;
  recover.acceptable_fraction = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x21);
    if (auto image = DecodeJpeg(bad); image.ok()) {
      EXPECT_EQ(image->rank(), 3);
    }
    DecodeJpeg(good.substr(0, i), recover).status().IgnoreError();
    if (i + 8 < good.size()) {
      EXPECT_FALSE(DecodeJpeg(good.substr(0, i)).ok()) << i;
    }
  }
  EXPECT_TRUE(DecodeJpeg(good.substr(0, good.size() - 20), recover).ok());
}

TEST_F(ImageKernelsTest, ResizingAndItsGradientsAreThoseOfTensorFlow) {
  const Tensor x = Tensor::FromValues<float>(Shape({1, 2, 3, 1}), {1, 2, 4, 8, 16, 32});
  std::vector<float> up_to_12(12);
  std::iota(up_to_12.begin(), up_to_12.end(), 1.0f);
  const Tensor g = Tensor::FromValues<float>(Shape({1, 3, 4, 1}), up_to_12);
  const Tensor size = Tensor::Vector<int32_t>({3, 4}), back = Tensor::Vector<int32_t>({2, 3});
  struct Row {
    AttrMap attrs;
    std::vector<float> bilinear, bilinear_grad, nearest, nearest_grad;
  };
  for (const Row& r : std::initializer_list<Row>{
           {{},
            {1, 1.75, 3, 4, 5.66667, 9.91667, 17, 22.6667, 8, 14, 24, 32},
            {3.6667, 5.6667, 9.3333, 15.833, 18.333, 25.167},
            {1, 1, 2, 4, 1, 1, 2, 4, 8, 8, 16, 32},
            {14, 10, 12, 19, 11, 12}},
           {{{"align_corners", true}},
            {1, 1.66667, 2.66667, 4, 4.5, 7.5, 12, 18, 8, 13.3333, 21.3333, 32},
            {5.1667, 7.6667, 10.167, 15.833, 18.333, 20.833},
            {1, 2, 2, 4, 8, 16, 16, 32, 8, 16, 16, 32},
            {1, 5, 4, 14, 34, 20}},
           {{{"half_pixel_centers", true}},
            {1, 1.625, 2.75, 4, 4.5, 7.3125, 12.375, 18, 8, 13, 22, 32},
            {5.375, 7.1875, 10.438, 16.375, 17.187, 21.438},
            {1, 2, 2, 4, 8, 16, 16, 32, 8, 16, 16, 32},
            {1, 5, 4, 14, 34, 20}},
       }) {
    EXPECT_THAT(t_.Get("ResizeBilinear", {x, size}, r.attrs).flat<float>(), Pointwise(FloatNear(1e-4), r.bilinear));
    EXPECT_THAT(t_.Get("ResizeBilinearGrad", {g, x}, r.attrs).flat<float>(),
                Pointwise(FloatNear(1e-3), r.bilinear_grad));
    EXPECT_THAT(t_.Get("ResizeNearestNeighbor", {x, size}, r.attrs).flat<float>(), Pointwise(FloatNear(0), r.nearest));
    EXPECT_THAT(t_.Get("ResizeNearestNeighborGrad", {g, back}, r.attrs).flat<float>(),
                Pointwise(FloatNear(0), r.nearest_grad));
  }
  const Tensor bytes = Tensor::FromValues<uint8_t>(Shape({1, 1, 2, 1}), {10, 20});
  EXPECT_EQ(t_.Text("ResizeBilinear", {bytes, Tensor::Vector<int32_t>({1, 4})}), "float [1,1,4,1] 10 15 20 20");
  EXPECT_EQ(t_.Text("ResizeNearestNeighbor", {bytes, Tensor::Vector<int32_t>({1, 4})}), "uint8 [1,1,4,1] 10 10 20 20");
  EXPECT_THAT(t_.Text("ResizeBilinear", {x, Tensor::Vector<int32_t>({0, 4})}), HasSubstr("must be positive"));
  EXPECT_EQ(t_.Shapes("ResizeBilinear", {"[?,5,5,3]", "[2]"}, {DType::kUint8, DType::kInt32}), "[?,?,?,3]");
}

TEST_F(ImageKernelsTest, ColorsAreThoseOfTensorFlow) {
  const Tensor c = Tensor::FromValues<float>(Shape({2, 2, 3}), {0.1, 0.5, 0.9, 1, 0.2, 0.2, 0, 0, 0, 0.3, 0.6, 0.1});
  const auto near = [](std::vector<float> v) { return Pointwise(FloatNear(1e-5), v); };
  const Tensor hsv = t_.Get("RGBToHSV", {c});
  EXPECT_THAT(hsv.flat<float>(), near({0.583333, 0.888889, 0.9, 0, 0.8, 1, 0, 0, 0, 0.266667, 0.833333, 0.6}));
  EXPECT_THAT(t_.Get("HSVToRGB", {hsv}).flat<float>(), near({0.1, 0.5, 0.9, 1, 0.2, 0.2, 0, 0, 0, 0.3, 0.6, 0.1}));
  EXPECT_THAT(t_.Get("AdjustHue", {c, Tensor::Scalar(0.3f)}).flat<float>(),
              near({0.9, 0.1, 0.66, 0.36, 1, 0.2, 0, 0, 0, 0.1, 0.4, 0.6}));
  EXPECT_THAT(t_.Get("AdjustSaturation", {c, Tensor::Scalar(1.5f)}).flat<float>(),
              near({0, 0.45, 0.9, 1, 0, 0, 0, 0, 0, 0.24, 0.6, 0}));
  EXPECT_THAT(t_.Get("AdjustContrastv2", {c, Tensor::Scalar(2.0f)}).flat<float>(),
              near({-0.15, 0.675, 1.5, 1.65, 0.075, 0.1, -0.35, -0.325, -0.3, 0.25, 0.875, -0.1}));
}

TEST_F(ImageKernelsTest, BoxesAreCutOutAndSelectedAsTensorFlowDoes) {
  const Tensor x = Tensor::FromValues<float>(Shape({1, 2, 3, 1}), {1, 2, 4, 8, 16, 32});
  const Tensor crops = t_.Get("CropAndResize",
                              {x, Tensor::FromValues<float>(Shape({2, 4}), {0, 0, 1, 1, -0.5, 0.25, 0.5, 0.75}),
                               Tensor::Vector<int32_t>({0, 0}), Tensor::Vector<int32_t>({2, 2})},
                              {{"extrapolation_value", -1.0f}});
  EXPECT_EQ(crops.ToString(), "float [2,2,2,1] 1 4 8 32 -1 -1 6.75 13.5");
  EXPECT_EQ(t_.Text("CropAndResize",
                    {x, Tensor::FromValues<float>(Shape({1, 4}), {0, 0, 1, 1}), Tensor::Vector<int32_t>({0}),
                     Tensor::Vector<int32_t>({1, 3})},
                    {{"method", "nearest"}}),
            "float [1,1,3,1] 8 16 32");
  EXPECT_THAT(t_.Text("CropAndResize", {x, Tensor::FromValues<float>(Shape({1, 4}), {0, 0, 1, 1}),
                                        Tensor::Vector<int32_t>({1}), Tensor::Vector<int32_t>({1, 3})}),
              HasSubstr("OUT_OF_RANGE"));

  const Tensor boxes = Tensor::FromValues<float>(
      Shape({6, 4}), {0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, -0.1, 1, 0.9, 0, 10, 1, 11, 0, 10.1, 1, 11.1, 0, 100, 1, 101});
  const Tensor scores = Tensor::Vector<float>({0.9, 0.75, 0.6, 0.95, 0.5, 0.3});
  const Tensor half = Tensor::Scalar(0.5f);
  EXPECT_EQ(t_.Text("NonMaxSuppressionV3", {boxes, scores, Tensor::Scalar(3), half, Tensor::Scalar(0.0f)}),
            "int32 [3] 3 0 5");
  EXPECT_EQ(t_.Text("NonMaxSuppressionV3", {boxes, scores, Tensor::Scalar(9), half, Tensor::Scalar(0.4f)}),
            "int32 [2] 3 0");
  EXPECT_EQ(t_.Text("NonMaxSuppressionV2", {boxes, scores, Tensor::Scalar(1), half}), "int32 [1] 3");
  EXPECT_EQ(t_.Text("NonMaxSuppression", {boxes, scores, Tensor::Scalar(9)}), "int32 [3] 3 0 5");
}

}  // namespace
}  // namespace sluice
