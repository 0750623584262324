// Boxes: y1, x1, y2, x2.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/base/status.h"
#include "core/types/numeric_types.h"
#include "kernels/image/image_kernels.h"
#include "kernels/image/pixels.h"

namespace sluice {
namespace {

class CropAndResizeKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const std::string method, p.Attr<std::string>("method"));
    bilinear_ = method == "bilinear";
    ASSIGN_OR_RETURN(outside_, p.Attr<float>("extrapolation_value"));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor &in = c.input(0), &boxes = c.input(1), &index = c.input(2), &size = c.input(3);
    if (in.rank() != 4 || in.dim(1) == 0 || in.dim(2) == 0) {
      return InvalidArgument("image must be 4-D and of non-zero size, found ", in.shape().ToString());
    }
    if (boxes.rank() != 2 || boxes.dim(1) != 4 || index.rank() != 1 || index.dim(0) != boxes.dim(0)) {
      return InvalidArgument("wanted boxes [n,4] and box_ind [n], found ", boxes.shape().ToString(), " and ",
                             index.shape().ToString());
    }
    if (size.num_elements() != 2 || size.IntAt(0) <= 0 || size.IntAt(1) <= 0) {
      return InvalidArgument("crop_size must be two positive numbers, found ", size.ToString());
    }
    const int64_t height = size.IntAt(0), width = size.IntAt(1), n = boxes.dim(0), channels = in.dim(3);
    for (int64_t i = 0; i < n; ++i) {
      if (index.data<int32_t>()[i] < 0 || index.data<int32_t>()[i] >= in.dim(0)) {
        return OutOfRange("box_ind has values outside [0, ", in.dim(0), "): ", index.data<int32_t>()[i]);
      }
    }
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make({n, height, width, channels}));
    ASSIGN_OR_RETURN(const Tensor image, PixelsAsFloat(in));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, shape));
    c.ParallelFor(n * height, 3.0 * width * channels, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t b = row / height;
        CropRow(image, index.data<int32_t>()[b], boxes.data<float>() + 4 * b, row % height, height, width,
                out->data<float>() + row * width * channels);
      }
    });
    return absl::OkStatus();
  }

 private:
  // Position i of n between two edges in units of an axis with `size` pixels.
  static float Position(float from, float to, int64_t i, int64_t n, int64_t size) {
    const float last = static_cast<float>(size - 1);
    if (n == 1) return 0.5f * (from + to) * last;
    return from * last + static_cast<float>(i) * ((to - from) * last / static_cast<float>(n - 1));
  }

  void CropRow(const Tensor& image, int64_t b, const float* box, int64_t y, int64_t height, int64_t width,
               float* to) const {
    const int64_t in_height = image.dim(1), in_width = image.dim(2), channels = image.dim(3);
    const float in_y = Position(box[0], box[2], y, height, in_height);
    const auto pixel = [&](int64_t py, int64_t px) {
      return image.data<float>() + ((b * in_height + py) * in_width + px) * channels;
    };
    for (int64_t x = 0; x < width; ++x, to += channels) {
      const float in_x = Position(box[1], box[3], x, width, in_width);
      // Written so that NaN is outside.
      if (!(in_y >= 0 && in_y <= static_cast<float>(in_height - 1) && in_x >= 0 &&
            in_x <= static_cast<float>(in_width - 1))) {
        std::fill_n(to, channels, outside_);
      } else if (!bilinear_) {
        std::copy_n(pixel(std::lround(in_y), std::lround(in_x)), channels, to);
      } else {
        const int64_t top = static_cast<int64_t>(std::floor(in_y)), bottom = static_cast<int64_t>(std::ceil(in_y));
        const int64_t left = static_cast<int64_t>(std::floor(in_x)), right = static_cast<int64_t>(std::ceil(in_x));
        const float dy = in_y - static_cast<float>(top), dx = in_x - static_cast<float>(left);
        const float *tl = pixel(top, left), *tr = pixel(top, right), *bl = pixel(bottom, left),
                    *br = pixel(bottom, right);
        for (int64_t d = 0; d < channels; ++d) {
          const float above = tl[d] + (tr[d] - tl[d]) * dx;
          const float below = bl[d] + (br[d] - bl[d]) * dx;
          to[d] = above + (below - above) * dy;
        }
      }
    }
  }

  bool bilinear_ = true;
  float outside_ = 0;
};

// Intersection over union; 0 for boxes without area.
float Overlap(const float* a, const float* b) {
  const auto area = [](const float* r) { return std::abs(r[2] - r[0]) * std::abs(r[3] - r[1]); };
  const float area_a = area(a), area_b = area(b);
  if (!(area_a > 0) || !(area_b > 0)) return 0;
  const auto common = [&](int from, int to) {
    const float begin = std::max(std::min(a[from], a[to]), std::min(b[from], b[to]));
    const float end = std::min(std::max(a[from], a[to]), std::max(b[from], b[to]));
    return std::max(0.0f, end - begin);
  };
  const float both = common(0, 2) * common(1, 3);
  return both / (area_a + area_b - both);
}

// Versions 1 to 3: thresholds come as attribute or inputs.
class NonMaxSuppressionKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    if (p.num_inputs() == 3) {
      ASSIGN_OR_RETURN(attribute_, p.Attr<float>("iou_threshold"));
    }
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    if (c.input(0).rank() != 2 || c.input(0).dim(1) != 4 || c.input(1).rank() != 1 ||
        c.input(1).dim(0) != c.input(0).dim(0)) {
      return InvalidArgument("wanted boxes [n,4] and scores [n], found ", c.input(0).shape().ToString(), " and ",
                             c.input(1).shape().ToString());
    }
    for (int i = 2; i < c.num_inputs(); ++i) {
      if (c.input(i).num_elements() != 1) return InvalidArgument("input ", i, " must be a scalar");
    }
    ASSIGN_OR_RETURN(const Tensor boxes, PixelsAsFloat(c.input(0)));
    ASSIGN_OR_RETURN(const Tensor scores, PixelsAsFloat(c.input(1)));
    const int64_t most = c.input(2).IntAt(0);
    float threshold = attribute_, least = -std::numeric_limits<float>::infinity();
    if (c.num_inputs() > 3) {
      ASSIGN_OR_RETURN(const Tensor t, PixelsAsFloat(c.input(3)));
      threshold = *t.data<float>();
    }
    if (c.num_inputs() > 4) {
      ASSIGN_OR_RETURN(const Tensor t, PixelsAsFloat(c.input(4)));
      least = *t.data<float>();
    }
    if (most < 0) return InvalidArgument("max_output_size must not be negative, found ", most);
    if (!(threshold >= 0 && threshold <= 1))
      return InvalidArgument("iou_threshold must be in [0, 1], found ", threshold);

    const float* const score = scores.data<float>();
    std::vector<int32_t> order;
    for (int64_t i = 0; i < scores.dim(0); ++i) {
      if (score[i] > least) order.push_back(static_cast<int32_t>(i));
    }
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return score[a] > score[b]; });
    std::vector<int32_t> selected;
    for (int32_t i : order) {
      if (static_cast<int64_t>(selected.size()) >= most) break;
      const float* const box = boxes.data<float>() + 4 * i;
      if (std::none_of(selected.begin(), selected.end(),
                       [&](int32_t s) { return Overlap(box, boxes.data<float>() + 4 * s) > threshold; })) {
        selected.push_back(i);
      }
    }
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape({static_cast<int64_t>(selected.size())})));
    std::copy(selected.begin(), selected.end(), out->data<int32_t>());
    return absl::OkStatus();
  }

 private:
  float attribute_ = 0.5f;
};

}  // namespace

void AddBoxKernels(KernelRegistry& k) {
  k.Add("CropAndResize", kCpu, KernelDef().HostMemory("crop_size").Make<CropAndResizeKernel>());
  k.Add("NonMaxSuppression", kCpu, KernelDef().Make<NonMaxSuppressionKernel>());
  k.Add("NonMaxSuppressionV2", kCpu, KernelDef().Make<NonMaxSuppressionKernel>());
  k.Add("NonMaxSuppressionV3", kCpu, KernelDef().Make<NonMaxSuppressionKernel>());
}

}  // namespace sluice
