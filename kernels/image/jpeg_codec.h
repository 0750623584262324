// JPEG files to and from pixels.
#ifndef SLUICE_KERNELS_IMAGE_JPEG_CODEC_H_
#define SLUICE_KERNELS_IMAGE_JPEG_CODEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/types/tensor.h"

namespace sluice {

struct JpegDecodeOptions {
  int channels = 0;  // 0 keeps those of the file, 1 is gray, 3 is color
  int ratio = 1;     // 1, 2, 4 or 8 times smaller
  bool fancy_upscaling = true;
  bool recover_truncated = false;
  float acceptable_fraction = 1;  // of the rows of a cut-off file
  bool accurate = false;          // the slower inverse transform
};
// [height, width, channels] of uint8. INVALID_ARGUMENT when the file is no JPEG, is damaged or has more than 2^28
// pixels.
absl::StatusOr<Tensor> DecodeJpeg(absl::string_view file, const JpegDecodeOptions& options = {});
// [height, width, channels] from the header.
absl::StatusOr<Shape> JpegShape(absl::string_view file);

struct JpegEncodeOptions {
  int quality = 95;
  bool progressive = false;
  bool optimize_size = false;
  bool chroma_downsampling = true;
  bool density_in_cm = false;
  int x_density = 300;
  int y_density = 300;
  std::string xmp_metadata;  // an XMP packet to store in the file, at most 65,504 bytes
};
// `image` is [height, width, 1 or 3] of uint8.
absl::StatusOr<std::string> EncodeJpeg(const Tensor& image, const JpegEncodeOptions& options = {});

}  // namespace sluice

#endif  // SLUICE_KERNELS_IMAGE_JPEG_CODEC_H_
