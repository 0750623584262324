// libjpeg reports errors through a callback that must not return, hence longjmp: functions that call it hold no objects
// with destructors; those live in the callers.
#include "kernels/image/jpeg_codec.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "core/base/status.h"

namespace sluice {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 28;

struct ErrorManager {
  jpeg_error_mgr base;
  jmp_buf jump;
  char text[JMSG_LENGTH_MAX] = "";
};

void OnError(j_common_ptr info) {
  auto* error = reinterpret_cast<ErrorManager*>(info->err);
  info->err->format_message(info, error->text);
  longjmp(error->jump, 1);
}
void OnMessage(j_common_ptr) {}

struct Decoding {
  jpeg_decompress_struct info;
  ErrorManager error;
  jpeg_source_mgr source;
  JpegDecodeOptions options;
  bool cut_off = false;
  // A file that ends early reads as if it ended with the marker that it should have.
  JOCTET end[2] = {0xff, JPEG_EOI};
  ~Decoding() { jpeg_destroy_decompress(&info); }
};

void NoSource(j_decompress_ptr) {}

boolean AtEnd(j_decompress_ptr info) {
  auto* d = static_cast<Decoding*>(info->client_data);
  d->cut_off = true;
  d->source.next_input_byte = d->end;
  d->source.bytes_in_buffer = sizeof(d->end);
  return TRUE;
}

void Skip(j_decompress_ptr info, long count) {  // NOLINT: libjpeg's type
  if (count <= 0) return;
  if (static_cast<size_t>(count) >= info->src->bytes_in_buffer) {
    AtEnd(info);
    return;
  }
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= count;
}

bool ReadHeader(Decoding* d, const char* bytes, size_t size) {
  d->info.err = jpeg_std_error(&d->error.base);
  d->error.base.error_exit = OnError;
  d->error.base.output_message = OnMessage;
  if (setjmp(d->error.jump)) return false;
  jpeg_create_decompress(&d->info);
  d->info.client_data = d;
  d->info.src = &d->source;
  d->source.init_source = NoSource;
  d->source.fill_input_buffer = AtEnd;
  d->source.skip_input_data = Skip;
  d->source.resync_to_restart = jpeg_resync_to_restart;
  d->source.term_source = NoSource;
  d->source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes);
  d->source.bytes_in_buffer = size;
  jpeg_read_header(&d->info, TRUE);
  return true;
}

bool StartDecoding(Decoding* d) {
  if (setjmp(d->error.jump)) return false;
  jpeg_decompress_struct& info = d->info;
  const bool cmyk = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  const int channels = d->options.channels != 0 ? d->options.channels : info.num_components == 1 ? 1 : 3;
  info.out_color_space = channels == 1 ? JCS_GRAYSCALE : cmyk ? JCS_CMYK : JCS_RGB;
  info.do_fancy_upsampling = d->options.fancy_upscaling;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(d->options.ratio);
  info.dct_method = d->options.accurate ? JDCT_ISLOW : JDCT_IFAST;
  jpeg_start_decompress(&info);
  return true;
}

// Reads rows into `to`; returns false on an error. `rows` is how many were there before the file ended.
bool ReadRows(Decoding* d, JSAMPLE* to, size_t stride, unsigned* rows) {
  if (setjmp(d->error.jump)) return false;
  while (d->info.output_scanline < d->info.output_height) {
    JSAMPROW row = to + d->info.output_scanline * stride;
    if (jpeg_read_scanlines(&d->info, &row, 1) != 1) break;
    if (!d->cut_off) *rows = d->info.output_scanline;
  }
  if (!d->cut_off) jpeg_finish_decompress(&d->info);
  return true;
}

absl::Status CheckSize(const jpeg_decompress_struct& info) {
  if (int64_t{info.output_width} * info.output_height <= kMaxPixels) return absl::OkStatus();
  return InvalidArgument("JPEG of ", info.output_width, " x ", info.output_height, " pixels; the limit is ",
                         kMaxPixels);
}

// Adobe's files hold inverted CMYK.
void CmykToRgb(const JSAMPLE* from, size_t pixels, JSAMPLE* to) {
  for (size_t i = 0; i < pixels; ++i) {
    const int k = from[4 * i + 3];
    for (int d = 0; d < 3; ++d) to[3 * i + d] = static_cast<JSAMPLE>(from[4 * i + d] * k / 255);
  }
}

struct Encoding {
  jpeg_compress_struct info;
  ErrorManager error;
  unsigned char* bytes = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  ~Encoding() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
};

bool Encode(Encoding* e, const JSAMPLE* pixels, unsigned height, unsigned width, int channels,
            const JpegEncodeOptions* o, const std::string* marker) {
  e->info.err = jpeg_std_error(&e->error.base);
  e->error.base.error_exit = OnError;
  e->error.base.output_message = OnMessage;
  if (setjmp(e->error.jump)) return false;
  jpeg_create_compress(&e->info);
  jpeg_mem_dest(&e->info, &e->bytes, &e->size);
  jpeg_compress_struct& info = e->info;
  info.image_width = width;
  info.image_height = height;
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  info.optimize_coding = o->optimize_size;
  info.density_unit = o->density_in_cm ? 2 : 1;
  info.X_density = static_cast<UINT16>(o->x_density);
  info.Y_density = static_cast<UINT16>(o->y_density);
  jpeg_set_quality(&info, o->quality, TRUE);
  if (o->progressive) jpeg_simple_progression(&info);
  if (!o->chroma_downsampling) {
    for (int i = 0; i < info.num_components; ++i) info.comp_info[i].h_samp_factor = info.comp_info[i].v_samp_factor = 1;
  }
  jpeg_start_compress(&info, TRUE);
  if (marker != nullptr) {
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(marker->data()),
                      static_cast<unsigned>(marker->size()));
  }
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(pixels) + size_t{info.next_scanline} * width * channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

}  // namespace

absl::StatusOr<Tensor> DecodeJpeg(absl::string_view file, const JpegDecodeOptions& options) {
  if (options.ratio != 1 && options.ratio != 2 && options.ratio != 4 && options.ratio != 8) {
    return InvalidArgument("ratio must be 1, 2, 4, or 8, got ", options.ratio);
  }
  Decoding d = {};
  d.options = options;
  const auto invalid = [&] { return InvalidArgument("Invalid JPEG data, size ", file.size(), ": ", d.error.text); };
  if (!ReadHeader(&d, file.data(), file.size()) || !StartDecoding(&d)) return invalid();
  RETURN_IF_ERROR(CheckSize(d.info));
  const int64_t height = d.info.output_height, width = d.info.output_width, channels = d.info.output_components;
  const bool cmyk = channels == 4;
  ASSIGN_OR_RETURN(Tensor image, Tensor::Make(DType::kUint8, Shape({height, width, cmyk ? 3 : channels})));
  Tensor pixels = image;
  if (cmyk) {
    ASSIGN_OR_RETURN(pixels, Tensor::Make(DType::kUint8, Shape({height, width, 4})));
  }
  unsigned rows = 0;
  if (!ReadRows(&d, pixels.data<JSAMPLE>(), static_cast<size_t>(width * channels), &rows)) return invalid();
  if (d.cut_off) {
    if (!options.recover_truncated ||
        static_cast<float>(rows) < options.acceptable_fraction * static_cast<float>(height)) {
      return InvalidArgument("Invalid JPEG data, size ", file.size(), ": cut off after ", rows, " of ", height,
                             " rows");
    }
  }
  if (cmyk) CmykToRgb(pixels.data<JSAMPLE>(), static_cast<size_t>(height * width), image.data<JSAMPLE>());
  return image;
}

absl::StatusOr<Shape> JpegShape(absl::string_view file) {
  Decoding d = {};
  if (!ReadHeader(&d, file.data(), file.size())) {
    return InvalidArgument("Invalid JPEG data, size ", file.size(), ": ", d.error.text);
  }
  return Shape({d.info.image_height, d.info.image_width, d.info.num_components});
}

absl::StatusOr<std::string> EncodeJpeg(const Tensor& image, const JpegEncodeOptions& options) {
  if (image.rank() != 3 || (image.dim(2) != 1 && image.dim(2) != 3) || image.num_elements() == 0 ||
      image.dim(0) > JPEG_MAX_DIMENSION || image.dim(1) > JPEG_MAX_DIMENSION) {
    return InvalidArgument("an image must be [height, width, 1 or 3] with sizes up to ", JPEG_MAX_DIMENSION, ", found ",
                           image.shape().ToString());
  }
  if (options.quality < 0 || options.quality > 100) {
    return InvalidArgument("quality must be in [0,100], got ", options.quality);
  }
  // The name of its space, a zero, and the packet make one APP1 segment.
  constexpr absl::string_view kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  constexpr size_t kMostOfSegment = 65533;
  const std::string marker = absl::StrCat(kXmp, options.xmp_metadata);
  if (marker.size() > kMostOfSegment) {
    return InvalidArgument("xmp_metadata must have at most ", kMostOfSegment - kXmp.size(), " bytes, found ",
                           options.xmp_metadata.size());
  }
  Encoding e = {};
  if (!Encode(&e, image.data<JSAMPLE>(), static_cast<unsigned>(image.dim(0)), static_cast<unsigned>(image.dim(1)),
              static_cast<int>(image.dim(2)), &options, options.xmp_metadata.empty() ? nullptr : &marker)) {
    return Internal("encoding a JPEG file failed: ", e.error.text);
  }
  return std::string(reinterpret_cast<const char*>(e.bytes), e.size);
}

}  // namespace sluice
