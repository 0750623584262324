// libpng reports errors by longjmp, so functions that call it hold no objects with destructors: those live in the
// callers.
#include "kernels/data/png_codec.h"

#include <png.h>

#include <csetjmp>
#include <cstring>
#include <vector>

#include "core/base/status.h"

namespace sluice {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 28;
constexpr png_uint_32 kMaxSide = 1 << 20;

struct PngError {
  char text[120] = "";
};

void OnError(png_structp png, png_const_charp message) {
  std::strncpy(static_cast<PngError*>(png_get_error_ptr(png))->text, message, sizeof(PngError::text) - 1);
  longjmp(png_jmpbuf(png), 1);
}
void OnWarning(png_structp, png_const_charp) {}

struct Reading {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const char* next = nullptr;
  size_t left = 0;
  int wanted_channels = 0;
  bool wide = false;
  png_uint_32 width = 0, height = 0;
  int channels = 0;
  ~Reading() { png_destroy_read_struct(&png, &info, nullptr); }
};

void ReadBytes(png_structp png, png_bytep to, png_size_t size) {
  auto* r = static_cast<Reading*>(png_get_io_ptr(png));
  if (size > r->left) png_error(png, "the file is cut off");
  std::memcpy(to, r->next, size);
  r->next += size;
  r->left -= size;
}

// Reads the header and asks for the form of the pixels.
bool ReadHeader(Reading* r) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  png_set_read_fn(r->png, r, ReadBytes);
  png_set_user_limits(r->png, kMaxSide, kMaxSide);
  png_set_chunk_malloc_max(r->png, 64 << 20);
  png_read_info(r->png, r->info);
  const int color = png_get_color_type(r->png, r->info);
  const int bits = png_get_bit_depth(r->png, r->info);
  bool alpha = (color & PNG_COLOR_MASK_ALPHA) != 0;
  bool gray = (color & PNG_COLOR_MASK_COLOR) == 0;
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r->png);
  if (gray && bits < 8) png_set_expand_gray_1_2_4_to_8(r->png);
  if (png_get_valid(r->png, r->info, PNG_INFO_tRNS)) {
    png_set_tRNS_to_alpha(r->png);
    alpha = true;
  }
  const int wanted = r->wanted_channels;
  if (alpha && (wanted == 1 || wanted == 3)) png_set_strip_alpha(r->png);
  if (gray && wanted >= 3) png_set_gray_to_rgb(r->png);
  if (!gray && wanted == 1) png_set_rgb_to_gray(r->png, 1, 0.299, 0.587);  // as TensorFlow, by the eye's weights
  if (!alpha && wanted == 4) png_set_add_alpha(r->png, r->wide ? 0xffff : 0xff, PNG_FILLER_AFTER);
  if (r->wide) {
    png_set_expand_16(r->png);
    png_set_swap(r->png);
  } else if (bits == 16) {
    png_set_strip_16(r->png);
  }
  png_set_interlace_handling(r->png);
  png_read_update_info(r->png, r->info);
  r->width = png_get_image_width(r->png, r->info);
  r->height = png_get_image_height(r->png, r->info);
  r->channels = png_get_channels(r->png, r->info);
  return true;
}

bool ReadRows(Reading* r, png_bytepp rows) {
  if (setjmp(png_jmpbuf(r->png))) return false;
  png_read_image(r->png, rows);
  png_read_end(r->png, nullptr);
  return true;
}

struct Writing {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string file;
  ~Writing() { png_destroy_write_struct(&png, &info); }
};

void WriteBytes(png_structp png, png_bytep from, png_size_t size) {
  static_cast<Writing*>(png_get_io_ptr(png))->file.append(reinterpret_cast<const char*>(from), size);
}
void FlushBytes(png_structp) {}

bool WriteImage(Writing* w, png_uint_32 width, png_uint_32 height, int channels, bool wide, int compression,
                png_bytepp rows) {
  static constexpr int kColors[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                    PNG_COLOR_TYPE_RGB_ALPHA};
  if (setjmp(png_jmpbuf(w->png))) return false;
  png_set_write_fn(w->png, w, WriteBytes, FlushBytes);
  png_set_user_limits(w->png, kMaxSide, kMaxSide);
  png_set_compression_level(w->png, compression);
  png_set_IHDR(w->png, w->info, width, height, wide ? 16 : 8, kColors[channels - 1], PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(w->png, w->info);
  if (wide) png_set_swap(w->png);
  png_write_image(w->png, rows);
  png_write_end(w->png, nullptr);
  return true;
}

}  // namespace

absl::StatusOr<Tensor> DecodePng(absl::string_view file, int channels, DType dtype) {
  PngError error;
  Reading r;
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &error, OnError, OnWarning);
  r.info = r.png == nullptr ? nullptr : png_create_info_struct(r.png);
  if (r.info == nullptr) return ResourceExhausted("no memory to decode a PNG file");
  r.next = file.data();
  r.left = file.size();
  r.wanted_channels = channels;
  r.wide = dtype == DType::kUint16;
  if (!ReadHeader(&r)) return InvalidArgument("Invalid PNG data, size ", file.size(), ": ", error.text);
  if (int64_t{r.width} * r.height > kMaxPixels) {
    return InvalidArgument("PNG of ", r.width, " x ", r.height, " pixels; the limit is ", kMaxPixels);
  }
  if (channels != 0 && r.channels != channels) {
    return InvalidArgument("PNG gives ", r.channels, " channels, wanted ", channels);
  }
  ASSIGN_OR_RETURN(Tensor image, Tensor::Make(dtype, Shape({r.height, r.width, r.channels})));
  std::vector<png_bytep> rows(r.height);
  const size_t stride = size_t{r.width} * r.channels * ElementSize(dtype);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = image.data<png_byte>() + y * stride;
  if (!ReadRows(&r, rows.data())) return InvalidArgument("Invalid PNG data, size ", file.size(), ": ", error.text);
  return image;
}

absl::StatusOr<std::string> EncodePng(const Tensor& image, int compression) {
  if (image.rank() != 3 || image.dim(2) < 1 || image.dim(2) > 4 || image.num_elements() == 0 ||
      image.dim(0) > kMaxSide || image.dim(1) > kMaxSide) {
    return InvalidArgument("an image must be [height, width, channels] with 1 to 4 channels and sizes up to ", kMaxSide,
                           ", found ", image.shape().ToString());
  }
  if (image.dtype() != DType::kUint8 && image.dtype() != DType::kUint16) {
    return InvalidArgument("an image must be uint8 or uint16, found ", DTypeName(image.dtype()));
  }
  if (compression < -1 || compression > 9) return InvalidArgument("compression should be in [-1,9], got ", compression);
  PngError error;
  Writing w;
  w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &error, OnError, OnWarning);
  w.info = w.png == nullptr ? nullptr : png_create_info_struct(w.png);
  if (w.info == nullptr) return ResourceExhausted("no memory to encode a PNG file");
  std::vector<png_bytep> rows(image.dim(0));
  const size_t stride = image.num_bytes() / image.dim(0);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = image.data<png_byte>() + y * stride;
  if (!WriteImage(&w, image.dim(1), image.dim(0), static_cast<int>(image.dim(2)), image.dtype() == DType::kUint16,
                  compression, rows.data())) {
    return Internal("encoding a PNG file failed: ", error.text);
  }
  return std::move(w.file);
}

}  // namespace sluice
