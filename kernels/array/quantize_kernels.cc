// Rounding to the grid of a quantized type and back.
#include <cmath>
#include <limits>

#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// The grid of num_bits that covers [low, high]: symmetric about zero, by the side that needs the larger steps.
template <typename F>
struct SymmetricGrid {
  F scale, inverse_scale, low, high;
  SymmetricGrid(F min, F max, bool is_signed, int64_t bits, bool narrow) : low(min), high(max) {
    const int64_t least = is_signed ? -(int64_t{1} << (bits - 1)) + (narrow ? 1 : 0) : 0;
    const int64_t most = is_signed ? (int64_t{1} << (bits - 1)) - 1 : (int64_t{1} << bits) - 1;
    const F none = std::numeric_limits<F>::max();
    const F from_low = least * min > 0 ? least / min : none;
    const F from_high = most * max > 0 ? most / max : none;
    if (from_low < from_high) {
      scale = from_low;
      inverse_scale = min / least;
      high = most * inverse_scale;
    } else {
      scale = from_high;
      inverse_scale = max / most;
      low = least * inverse_scale;
    }
  }
};

class QuantizeAndDequantizeKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(signed_, p.Attr<bool>("signed_input"));
    ASSIGN_OR_RETURN(range_given_, p.Attr<bool>("range_given"));
    inputs_ = p.num_inputs();
    if (inputs_ < 4) {
      ASSIGN_OR_RETURN(bits_, p.Attr<int64_t>("num_bits"));
      RETURN_IF_ERROR(CheckBits(bits_));
    }
    if (inputs_ > 1) {
      ASSIGN_OR_RETURN(narrow_, p.Attr<bool>("narrow_range"));
    } else {
      ASSIGN_OR_RETURN(min_, p.Attr<float>("input_min"));
      ASSIGN_OR_RETURN(max_, p.Attr<float>("input_max"));
    }
    if (inputs_ == 3) {
      ASSIGN_OR_RETURN(const std::string mode, p.Attr<std::string>("round_mode"));
      half_up_ = mode == "HALF_UP";
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    int64_t bits = bits_;
    if (inputs_ == 4) {
      ASSIGN_OR_RETURN(bits, ReadIntScalar(c.input(3), "num_bits"));
      RETURN_IF_ERROR(CheckBits(bits));
    }
    for (int i = 1; i < inputs_; ++i) {
      if (c.input(i).rank() != 0)
        return InvalidArgument("input ", i, " must be a scalar, found ", c.input(i).shape().ToString());
    }
    absl::Status status = Internal("a type without kernel");
    Dispatch<kFloatingTypes.bits()>(c.input(0).dtype(),
                                    [&](auto tag) { status = RunTyped<typename decltype(tag)::type>(c, bits); });
    return status;
  }

 private:
  absl::Status CheckBits(int64_t bits) const {
    const int64_t most = signed_ ? 62 : 63;
    if (bits > 0 && bits < most) return absl::OkStatus();
    return InvalidArgument("num_bits must be in (0, ", most, "), found ", bits);
  }
  template <typename T>
  absl::Status RunTyped(KernelContext& c, int64_t bits) const {
    using F = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const Tensor& in = c.input(0);
    F min = min_, max = max_;
    if (inputs_ > 1) {
      min = static_cast<F>(c.input(1).scalar<T>());
      max = static_cast<F>(c.input(2).scalar<T>());
    }
    if (range_given_ && !(min <= max)) return InvalidArgument("input_min ", min, " is greater than input_max ", max);
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, in.shape()));
    const T* x = in.data<T>();
    T* y = out->data<T>();
    const int64_t n = in.num_elements();
    if (n == 0) return absl::OkStatus();
    if (!range_given_) {
      min = max = static_cast<F>(x[0]);
      for (int64_t i = 1; i < n; ++i) {
        min = std::min(min, static_cast<F>(x[i]));
        max = std::max(max, static_cast<F>(x[i]));
      }
    }
    const SymmetricGrid<F> grid(min, max, signed_, bits, narrow_);
    const bool clamp = range_given_, half_up = half_up_;
    c.ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        F v = static_cast<F>(x[i]);
        if (clamp) v = std::min(std::max(v, grid.low), grid.high);
        v *= grid.scale;
        y[i] = static_cast<T>((half_up ? std::floor(v + F(0.5)) : std::nearbyint(v)) * grid.inverse_scale);
      }
    });
    return absl::OkStatus();
  }

  int inputs_ = 1;
  bool signed_ = true, range_given_ = false, narrow_ = false, half_up_ = false;
  int64_t bits_ = 8;
  float min_ = 0, max_ = 0;
};

// The grid of a range, moved so that zero is on it.
struct FakeQuantGrid {
  bool empty;  // min and max are both zero
  float low = 0, high = 0, scale = 1;
  FakeQuantGrid(float min, float max, float least, float most) : empty(min == 0 && max == 0) {
    if (empty) return;
    scale = (max - min) / (most - least);
    const float zero = least - min / scale;
    const float zero_on_grid = zero < least ? least : zero > most ? most : std::round(zero);
    low = (least - zero_on_grid) * scale;
    high = (most - zero_on_grid) * scale;
  }
  float Round(float x) const {
    const float shifted = std::min(std::max(x, low), high) - low;
    return std::floor(shifted * (1.0f / scale) + 0.5f) * scale + low;
  }
  bool Covers(float x) const { return x >= low && x <= high; }
};

// Both directions, and min and max as attributes, scalars, or one for each channel.
class FakeQuantKernel : public Kernel {
 public:
  FakeQuantKernel(bool gradient, bool per_channel) : gradient_(gradient), per_channel_(per_channel) {}
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const int64_t bits, p.Attr<int64_t>("num_bits"));
    ASSIGN_OR_RETURN(const bool narrow, p.Attr<bool>("narrow_range"));
    if (bits < 2 || bits > 16) return InvalidArgument("num_bits must be in [2, 16], found ", bits);
    least_ = narrow ? 1 : 0;
    most_ = static_cast<float>((1 << bits) - 1);
    data_ = gradient_ ? 1 : 0;
    from_attrs_ = p.num_inputs() == data_ + 1;
    if (from_attrs_) {
      ASSIGN_OR_RETURN(min_, p.Attr<float>("min"));
      ASSIGN_OR_RETURN(max_, p.Attr<float>("max"));
      if (!(min_ < max_)) return InvalidArgument("min must be less than max, found ", min_, " and ", max_);
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(data_);
    if (gradient_ && c.input(0).shape() != in.shape()) {
      return InvalidArgument("gradients have shape ", c.input(0).shape().ToString(), ", inputs ",
                             in.shape().ToString());
    }
    int64_t channels = 1;
    if (!from_attrs_) {
      if (per_channel_) {
        if (in.rank() < 1) return InvalidArgument("inputs must have a dimension, found a scalar");
        channels = in.dim(in.rank() - 1);
      }
      for (int i = data_ + 1; i < data_ + 3; ++i) {
        const Shape wanted = per_channel_ ? Shape({channels}) : Shape();
        if (c.input(i).shape() != wanted) {
          return InvalidArgument("min and max must have shape ", wanted.ToString(), ", found ",
                                 c.input(i).shape().ToString());
        }
      }
    }
    std::vector<FakeQuantGrid> grids;
    for (int64_t i = 0; i < channels; ++i) {
      const float min = from_attrs_ ? min_ : c.input(data_ + 1).data<float>()[i];
      const float max = from_attrs_ ? max_ : c.input(data_ + 2).data<float>()[i];
      grids.emplace_back(min, max, least_, most_);
    }
    return gradient_ ? Backward(c, grids) : Forward(c, grids);
  }

 private:
  absl::Status Forward(KernelContext& c, const std::vector<FakeQuantGrid>& grids) const {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, in.shape()));
    const int64_t channels = grids.size();
    c.ParallelFor(in.num_elements(), 2, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const FakeQuantGrid& g = grids[channels == 1 ? 0 : i % channels];
        out->data<float>()[i] = g.empty ? 0.0f : g.Round(in.data<float>()[i]);
      }
    });
    return absl::OkStatus();
  }
  absl::Status Backward(KernelContext& c, const std::vector<FakeQuantGrid>& grids) const {
    const Tensor& dy = c.input(0);
    const Tensor& in = c.input(1);
    ASSIGN_OR_RETURN(Tensor * dx, c.Allocate(0, in.shape()));
    const int64_t channels = grids.size();
    std::vector<double> below(channels, 0), above(channels, 0);
    for (int64_t i = 0; i < in.num_elements(); ++i) {
      const int64_t at = channels == 1 ? 0 : i % channels;
      const FakeQuantGrid& g = grids[at];
      const float x = in.data<float>()[i], d = dy.data<float>()[i];
      dx->data<float>()[i] = g.empty || g.Covers(x) ? d : 0.0f;
      if (!g.empty && x < g.low) below[at] += d;
      if (!g.empty && x > g.high) above[at] += d;
    }
    if (from_attrs_) return absl::OkStatus();
    const Shape shape = per_channel_ ? Shape({channels}) : Shape();
    ASSIGN_OR_RETURN(Tensor * dmin, c.Allocate(1, shape));
    ASSIGN_OR_RETURN(Tensor * dmax, c.Allocate(2, shape));
    std::copy(below.begin(), below.end(), dmin->data<float>());
    std::copy(above.begin(), above.end(), dmax->data<float>());
    return absl::OkStatus();
  }

  bool gradient_, per_channel_;
  bool from_attrs_ = false;
  int data_ = 0;  // which input holds the data
  float least_ = 0, most_ = 255, min_ = 0, max_ = 0;
};

KernelDef FakeQuant(bool gradient, bool per_channel) {
  return KernelDef().Factory(
      [gradient, per_channel](const NodeInfo&) { return std::make_unique<FakeQuantKernel>(gradient, per_channel); });
}

}  // namespace

void AddQuantizeKernels(KernelRegistry& k) {
  for (const char* op : {"QuantizeAndDequantize", "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3"}) {
    k.Add(op, kCpu, KernelDef().Types("T", kFloatingTypes).Make<QuantizeAndDequantizeKernel>());
  }
  k.Add("FakeQuantWithMinMaxArgs", kCpu, FakeQuant(false, false));
  k.Add("FakeQuantWithMinMaxArgsGradient", kCpu, FakeQuant(true, false));
  k.Add("FakeQuantWithMinMaxVars", kCpu, FakeQuant(false, false));
  k.Add("FakeQuantWithMinMaxVarsGradient", kCpu, FakeQuant(true, false));
  k.Add("FakeQuantWithMinMaxVarsPerChannel", kCpu, FakeQuant(false, true));
  k.Add("FakeQuantWithMinMaxVarsPerChannelGradient", kCpu, FakeQuant(true, true));
}

}  // namespace sluice
