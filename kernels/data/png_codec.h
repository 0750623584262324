// PNG files to and from pixels.
#ifndef SLUICE_KERNELS_DATA_PNG_CODEC_H_
#define SLUICE_KERNELS_DATA_PNG_CODEC_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/types/tensor.h"

namespace sluice {

// The image as [height, width, channels] of uint8 or uint16. channels 0 keeps those of the file. INVALID_ARGUMENT when
// it is not a PNG file, is damaged or cut off, or has more than 2^28 pixels.
absl::StatusOr<Tensor> DecodePng(absl::string_view file, int channels, DType dtype);

// `image` is [height, width, channels] of uint8 or uint16 with 1 to 4 channels. compression is zlib's, -1 the default.
absl::StatusOr<std::string> EncodePng(const Tensor& image, int compression = -1);

}  // namespace sluice

#endif  // SLUICE_KERNELS_DATA_PNG_CODEC_H_
