// Resizing, by interpolation and by the nearest pixel, and the gradients of both.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/base/status.h"
#include "kernels/image/image_kernels.h"
#include "kernels/image/pixels.h"

namespace sluice {
namespace {

struct ResizeOptions {
  bool align_corners = false;
  bool half_pixel_centers = false;
};

absl::StatusOr<ResizeOptions> Options(PrepareContext& p) {
  ResizeOptions o;
  ASSIGN_OR_RETURN(o.align_corners, p.Attr<bool>("align_corners"));
  ASSIGN_OR_RETURN(o.half_pixel_centers, p.Attr<bool>("half_pixel_centers"));
  if (o.align_corners && o.half_pixel_centers)
    return InvalidArgument("align_corners and half_pixel_centers exclude each other");
  return o;
}

float ScaleOf(int64_t in, int64_t out, const ResizeOptions& o) {
  return o.align_corners && out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1)
                                    : static_cast<float>(in) / static_cast<float>(out);
}

// Where output position x of one axis comes from: between `lower` and `upper`.
struct Blend {
  int64_t lower;
  int64_t upper;
  float part;  // of upper
};

std::vector<Blend> Blends(int64_t in, int64_t out, const ResizeOptions& o) {
  const float scale = ScaleOf(in, out, o);
  std::vector<Blend> blends(out);
  for (int64_t x = 0; x < out; ++x) {
    const float at =
        o.half_pixel_centers ? (static_cast<float>(x) + 0.5f) * scale - 0.5f : static_cast<float>(x) * scale;
    const float floor = std::floor(at);
    blends[x].lower = std::min(std::max<int64_t>(static_cast<int64_t>(floor), 0), in - 1);
    blends[x].upper = std::min(static_cast<int64_t>(std::ceil(at)), in - 1);
    blends[x].upper = std::max<int64_t>(blends[x].upper, 0);
    blends[x].part = at - floor;
  }
  return blends;
}

std::vector<int64_t> Nearest(int64_t in, int64_t out, const ResizeOptions& o) {
  const float scale = ScaleOf(in, out, o);
  std::vector<int64_t> from(out);
  for (int64_t x = 0; x < out; ++x) {
    const float at = (o.half_pixel_centers ? static_cast<float>(x) + 0.5f : static_cast<float>(x)) * scale;
    from[x] = std::min(static_cast<int64_t>(o.align_corners ? std::round(at) : std::floor(at)), in - 1);
  }
  return from;
}

// [batch, height, width, channels], with height and width from input 1 when `size` is null.
struct Sizes {
  int64_t batch, in_height, in_width, out_height, out_width, channels;
};

absl::Status CheckImages(const Tensor& t) {
  if (t.rank() != 4) return InvalidArgument("input must be 4-dimensional, found ", t.shape().ToString());
  if (t.num_elements() > 0 || t.dim(0) == 0) return absl::OkStatus();
  if (t.dim(1) == 0 || t.dim(2) == 0 || t.dim(3) == 0) {
    return InvalidArgument("input image must be of non-zero size, found ", t.shape().ToString());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::pair<int64_t, int64_t>> SizeInput(const Tensor& size) {
  if (size.num_elements() != 2) return InvalidArgument("size must be [height, width], found ", size.shape().ToString());
  const int64_t height = size.IntAt(0), width = size.IntAt(1);
  if (height <= 0 || width <= 0) {
    return InvalidArgument("output dimensions must be positive, found ", height, " and ", width);
  }
  return std::make_pair(height, width);
}

absl::StatusOr<Sizes> ForwardSizes(const KernelContext& c) {
  const Tensor& images = c.input(0);
  RETURN_IF_ERROR(CheckImages(images));
  ASSIGN_OR_RETURN(const auto size, SizeInput(c.input(1)));
  RETURN_IF_ERROR(Shape::Make({images.dim(0), size.first, size.second, images.dim(3)}).status());
  return Sizes{images.dim(0), images.dim(1), images.dim(2), size.first, size.second, images.dim(3)};
}

class ResizeKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(options_, Options(p));
    return absl::OkStatus();
  }

 protected:
  ResizeOptions options_;
};

class ResizeBilinearKernel : public ResizeKernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const Sizes s, ForwardSizes(c));
    ASSIGN_OR_RETURN(const Tensor images, PixelsAsFloat(c.input(0)));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape({s.batch, s.out_height, s.out_width, s.channels})));
    const std::vector<Blend> ys = Blends(s.in_height, s.out_height, options_),
                             xs = Blends(s.in_width, s.out_width, options_);
    c.ParallelFor(s.batch * s.out_height, 2.0 * s.out_width * s.channels, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const Blend& y = ys[row % s.out_height];
        const float* const image = images.data<float>() + row / s.out_height * s.in_height * s.in_width * s.channels;
        const float* const top = image + y.lower * s.in_width * s.channels;
        const float* const bottom = image + y.upper * s.in_width * s.channels;
        float* to = out->data<float>() + row * s.out_width * s.channels;
        for (const Blend& x : xs) {
          const int64_t left = x.lower * s.channels, right = x.upper * s.channels;
          for (int64_t d = 0; d < s.channels; ++d) {
            const float above = top[left + d] + (top[right + d] - top[left + d]) * x.part;
            const float below = bottom[left + d] + (bottom[right + d] - bottom[left + d]) * x.part;
            *to++ = above + (below - above) * y.part;
          }
        }
      }
    });
    return absl::OkStatus();
  }
};

class ResizeBilinearGradKernel : public ResizeKernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor &grads = c.input(0), &original = c.input(1);
    RETURN_IF_ERROR(CheckImages(original));
    if (grads.rank() != 4 || grads.dim(0) != original.dim(0) || grads.dim(3) != original.dim(3)) {
      return InvalidArgument("grads is ", grads.shape().ToString(), " for images ", original.shape().ToString());
    }
    const Sizes s = {grads.dim(0), original.dim(1), original.dim(2), grads.dim(1), grads.dim(2), grads.dim(3)};
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, original.shape()));
    const std::vector<Blend> ys = Blends(s.in_height, s.out_height, options_),
                             xs = Blends(s.in_width, s.out_width, options_);
    Tensor sums = *out;
    if (out->dtype() != DType::kFloat) {
      ASSIGN_OR_RETURN(sums, Tensor::Make(DType::kFloat, out->shape()));
    }
    const int64_t per_image = s.in_height * s.in_width * s.channels;
    // Rows of one image add to the same pixels, so only images are independent.
    c.ParallelFor(s.batch, 4.0 * s.out_height * s.out_width * s.channels, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        float* const image = sums.data<float>() + b * per_image;
        std::fill(image, image + per_image, 0.0f);
        const float* g = grads.data<float>() + b * s.out_height * s.out_width * s.channels;
        for (const Blend& y : ys) {
          float* const top = image + y.lower * s.in_width * s.channels;
          float* const bottom = image + y.upper * s.in_width * s.channels;
          for (const Blend& x : xs) {
            const int64_t left = x.lower * s.channels, right = x.upper * s.channels;
            for (int64_t d = 0; d < s.channels; ++d, ++g) {
              top[left + d] += *g * (1 - y.part) * (1 - x.part);
              top[right + d] += *g * (1 - y.part) * x.part;
              bottom[left + d] += *g * y.part * (1 - x.part);
              bottom[right + d] += *g * y.part * x.part;
            }
          }
        }
      }
    });
    if (out->dtype() != DType::kFloat) PixelsFromFloat(sums.flat<float>(), out);
    return absl::OkStatus();
  }
};

class ResizeNearestKernel : public ResizeKernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const Sizes s, ForwardSizes(c));
    const Tensor& images = c.input(0);
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape({s.batch, s.out_height, s.out_width, s.channels})));
    const std::vector<int64_t> ys = Nearest(s.in_height, s.out_height, options_),
                               xs = Nearest(s.in_width, s.out_width, options_);
    const size_t pixel = s.channels * ElementSize(out->dtype());
    c.ParallelFor(s.batch * s.out_height, 0.1 * s.out_width * pixel, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const char* const from =
            images.data<char>() + (row / s.out_height * s.in_height + ys[row % s.out_height]) * s.in_width * pixel;
        char* to = out->data<char>() + row * s.out_width * pixel;
        for (int64_t x : xs) {
          std::memcpy(to, from + x * pixel, pixel);
          to += pixel;
        }
      }
    });
    return absl::OkStatus();
  }
};

class ResizeNearestGradKernel : public ResizeKernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& grads = c.input(0);
    RETURN_IF_ERROR(CheckImages(grads));
    ASSIGN_OR_RETURN(const auto size, SizeInput(c.input(1)));
    const Sizes s = {grads.dim(0), size.first, size.second, grads.dim(1), grads.dim(2), grads.dim(3)};
    RETURN_IF_ERROR(Shape::Make({s.batch, s.in_height, s.in_width, s.channels}).status());
    ASSIGN_OR_RETURN(const Tensor from, PixelsAsFloat(grads));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape({s.batch, s.in_height, s.in_width, s.channels})));
    Tensor sums = *out;
    if (out->dtype() != DType::kFloat) {
      ASSIGN_OR_RETURN(sums, Tensor::Make(DType::kFloat, out->shape()));
    }
    const std::vector<int64_t> ys = Nearest(s.in_height, s.out_height, options_),
                               xs = Nearest(s.in_width, s.out_width, options_);
    std::fill_n(sums.data<float>(), sums.num_elements(), 0.0f);
    const float* g = from.data<float>();
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t y : ys) {
        for (int64_t x : xs) {
          float* const to = sums.data<float>() + ((b * s.in_height + y) * s.in_width + x) * s.channels;
          for (int64_t d = 0; d < s.channels; ++d) to[d] += *g++;
        }
      }
    }
    if (out->dtype() != DType::kFloat) PixelsFromFloat(sums.flat<float>(), out);
    return absl::OkStatus();
  }
};

}  // namespace

void AddResizeKernels(KernelRegistry& k) {
  k.Add("ResizeBilinear", kCpu, KernelDef().HostMemory("size").Make<ResizeBilinearKernel>());
  k.Add("ResizeBilinearGrad", kCpu, KernelDef().Make<ResizeBilinearGradKernel>());
  k.Add("ResizeNearestNeighbor", kCpu, KernelDef().HostMemory("size").Make<ResizeNearestKernel>());
  k.Add("ResizeNearestNeighborGrad", kCpu, KernelDef().HostMemory("size").Make<ResizeNearestGradKernel>());
}

}  // namespace sluice
