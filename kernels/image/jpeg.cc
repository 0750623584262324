// DecodeJpeg, EncodeJpeg and ExtractJpegShape.
#include <utility>

#include "core/base/status.h"
#include "kernels/image/image_kernels.h"
#include "kernels/image/jpeg_codec.h"

namespace sluice {
namespace {

absl::StatusOr<std::string> Contents(const KernelContext& c) {
  if (c.input(0).num_elements() != 1)
    return InvalidArgument("contents must be a scalar, found ", c.input(0).shape().ToString());
  return *c.input(0).data<std::string>();
}

class DecodeJpegKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const int64_t channels, p.Attr<int64_t>("channels"));
    ASSIGN_OR_RETURN(const int64_t ratio, p.Attr<int64_t>("ratio"));
    options_.channels = static_cast<int>(channels);
    options_.ratio = static_cast<int>(ratio);
    ASSIGN_OR_RETURN(options_.fancy_upscaling, p.Attr<bool>("fancy_upscaling"));
    ASSIGN_OR_RETURN(options_.recover_truncated, p.Attr<bool>("try_recover_truncated"));
    ASSIGN_OR_RETURN(options_.acceptable_fraction, p.Attr<float>("acceptable_fraction"));
    ASSIGN_OR_RETURN(const std::string method, p.Attr<std::string>("dct_method"));
    if (method != "" && method != "INTEGER_FAST" && method != "INTEGER_ACCURATE") {
      return InvalidArgument("dct_method must be one of {'', 'INTEGER_FAST', 'INTEGER_ACCURATE'}, found '", method,
                             "'");
    }
    options_.accurate = method == "INTEGER_ACCURATE";
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string contents, Contents(c));
    ASSIGN_OR_RETURN(Tensor image, DecodeJpeg(contents, options_));
    c.SetOutput(0, std::move(image));
    return absl::OkStatus();
  }

 private:
  JpegDecodeOptions options_;
};

class EncodeJpegKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(format_, p.Attr<std::string>("format"));
    ASSIGN_OR_RETURN(const int64_t quality, p.Attr<int64_t>("quality"));
    ASSIGN_OR_RETURN(options_.progressive, p.Attr<bool>("progressive"));
    ASSIGN_OR_RETURN(options_.optimize_size, p.Attr<bool>("optimize_size"));
    ASSIGN_OR_RETURN(options_.chroma_downsampling, p.Attr<bool>("chroma_downsampling"));
    ASSIGN_OR_RETURN(const std::string unit, p.Attr<std::string>("density_unit"));
    ASSIGN_OR_RETURN(const int64_t x_density, p.Attr<int64_t>("x_density"));
    ASSIGN_OR_RETURN(const int64_t y_density, p.Attr<int64_t>("y_density"));
    ASSIGN_OR_RETURN(options_.xmp_metadata, p.Attr<std::string>("xmp_metadata"));
    if (quality < 0 || quality > 100) return InvalidArgument("quality must be in [0,100], got ", quality);
    options_.quality = static_cast<int>(quality);
    options_.density_in_cm = unit == "cm";
    options_.x_density = static_cast<int>(x_density);
    options_.y_density = static_cast<int>(y_density);
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& image = c.input(0);
    const int64_t wanted = format_ == "grayscale" ? 1 : format_ == "rgb" ? 3 : 0;
    if (wanted != 0 && (image.rank() != 3 || image.dim(2) != wanted)) {
      return InvalidArgument("format '", format_, "' expects ", wanted, " channels, found ", image.shape().ToString());
    }
    ASSIGN_OR_RETURN(std::string file, EncodeJpeg(image, options_));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
    out->scalar<std::string>() = std::move(file);
    return absl::OkStatus();
  }

 private:
  std::string format_;
  JpegEncodeOptions options_;
};

class ExtractJpegShapeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string contents, Contents(c));
    ASSIGN_OR_RETURN(const Shape shape, JpegShape(contents));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape({3})));
    for (int i = 0; i < 3; ++i) {
      if (out->dtype() == DType::kInt32) {
        out->data<int32_t>()[i] = static_cast<int32_t>(shape.dim(i));
      } else {
        out->data<int64_t>()[i] = shape.dim(i);
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace

void AddJpegKernels(KernelRegistry& k) {
  k.Add("DecodeJpeg", kCpu, KernelDef().Make<DecodeJpegKernel>());
  k.Add("EncodeJpeg", kCpu, KernelDef().Make<EncodeJpegKernel>());
  k.Add("ExtractJpegShape", kCpu, KernelDef().Make<ExtractJpegShapeKernel>());
}

}  // namespace sluice
