// Color spaces and adjustments. Everything is computed in float.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/base/status.h"
#include "kernels/image/image_kernels.h"
#include "kernels/image/pixels.h"

namespace sluice {
namespace {

struct Color {
  float a, b, c;  // red, green, blue or hue, saturation, value
};

Color ToHsv(Color rgb) {
  const float value = std::max({rgb.a, rgb.b, rgb.c});
  const float range = value - std::min({rgb.a, rgb.b, rgb.c});
  const float saturation = value > 0 ? range / value : 0;
  if (!(range > 0)) return {0, saturation, value};
  const float norm = 1.0f / (6.0f * range);
  float hue;
  if (rgb.a == value) {
    hue = norm * (rgb.b - rgb.c);
  } else if (rgb.b == value) {
    hue = norm * (rgb.c - rgb.a) + 2.0f / 6.0f;
  } else {
    hue = norm * (rgb.a - rgb.b) + 4.0f / 6.0f;
  }
  return {hue < 0 ? hue + 1 : hue, saturation, value};
}

float Clamp01(float v) { return std::min(1.0f, std::max(0.0f, v)); }

Color ToRgb(Color hsv) {
  const float hue = hsv.a * 6, rest = 1 - hsv.b;
  return {(rest + hsv.b * Clamp01(std::abs(hue - 3) - 1)) * hsv.c,
          (rest + hsv.b * Clamp01(2 - std::abs(hue - 2))) * hsv.c,
          (rest + hsv.b * Clamp01(2 - std::abs(hue - 4))) * hsv.c};
}

// Applies `change` to each color of input 0. The second argument is input 1, or 0.
using Change = Color (*)(Color, float);

template <Change change>
class ColorKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    if (in.rank() < 1 || in.dim(in.rank() - 1) != 3) {
      return InvalidArgument("images must end in 3 channels, found ", in.shape().ToString());
    }
    if (c.num_inputs() > 1 && c.input(1).num_elements() != 1) return InvalidArgument("the amount must be a scalar");
    const float amount = c.num_inputs() > 1 ? *c.input(1).data<float>() : 0;
    ASSIGN_OR_RETURN(Tensor pixels, PixelsAsFloat(in));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, in.shape()));
    Tensor result = *out;
    if (out->dtype() != DType::kFloat) {
      ASSIGN_OR_RETURN(result, Tensor::Make(DType::kFloat, in.shape()));
    }
    c.ParallelFor(in.num_elements() / 3, 10, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* const from = pixels.data<float>() + 3 * i;
        const Color to = change({from[0], from[1], from[2]}, amount);
        float* const at = result.data<float>() + 3 * i;
        at[0] = to.a, at[1] = to.b, at[2] = to.c;
      }
    });
    if (out->dtype() != DType::kFloat) PixelsFromFloat(result.flat<float>(), out);
    return absl::OkStatus();
  }
};

Color ChangeToHsv(Color c, float) { return ToHsv(c); }
Color ChangeToRgb(Color c, float) { return ToRgb(c); }
Color ChangeHue(Color c, float delta) {
  Color hsv = ToHsv(c);
  hsv.a += delta;
  hsv.a -= std::floor(hsv.a);
  return ToRgb(hsv);
}
Color ChangeSaturation(Color c, float scale) {
  Color hsv = ToHsv(c);
  hsv.b = Clamp01(hsv.b * scale);
  return ToRgb(hsv);
}

class AdjustContrastKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    if (in.rank() < 3) return InvalidArgument("images must have at least 3 dimensions, found ", in.shape().ToString());
    if (c.input(1).num_elements() != 1) return InvalidArgument("contrast_factor must be a scalar");
    const float factor = *c.input(1).data<float>();
    const int rank = in.rank();
    const int64_t channels = in.dim(rank - 1), pixels = in.dim(rank - 2) * in.dim(rank - 3);
    const int64_t per_image = pixels * channels;
    ASSIGN_OR_RETURN(Tensor from, PixelsAsFloat(in));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, in.shape()));
    Tensor result = *out;
    if (out->dtype() != DType::kFloat) {
      ASSIGN_OR_RETURN(result, Tensor::Make(DType::kFloat, in.shape()));
    }
    c.ParallelFor(per_image == 0 ? 0 : in.num_elements() / per_image, 2.0 * per_image, [&](int64_t begin, int64_t end) {
      std::vector<double> mean(channels);
      for (int64_t b = begin; b < end; ++b) {
        const float* const x = from.data<float>() + b * per_image;
        float* const y = result.data<float>() + b * per_image;
        std::fill(mean.begin(), mean.end(), 0.0);
        for (int64_t i = 0; i < per_image; ++i) mean[i % channels] += x[i];
        for (double& m : mean) m /= static_cast<double>(pixels);
        for (int64_t i = 0; i < per_image; ++i) {
          const float m = static_cast<float>(mean[i % channels]);
          y[i] = (x[i] - m) * factor + m;
        }
      }
    });
    if (out->dtype() != DType::kFloat) PixelsFromFloat(result.flat<float>(), out);
    return absl::OkStatus();
  }
};

}  // namespace

void AddColorKernels(KernelRegistry& k) {
  k.Add("RGBToHSV", kCpu, KernelDef().Make<ColorKernel<ChangeToHsv>>());
  k.Add("HSVToRGB", kCpu, KernelDef().Make<ColorKernel<ChangeToRgb>>());
  k.Add("AdjustHue", kCpu, KernelDef().Make<ColorKernel<ChangeHue>>());
  k.Add("AdjustSaturation", kCpu, KernelDef().Make<ColorKernel<ChangeSaturation>>());
  k.Add("AdjustContrastv2", kCpu, KernelDef().Make<AdjustContrastKernel>());
}

}  // namespace sluice
