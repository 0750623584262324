// The kernels of Conv2D, Conv3D, DepthwiseConv2dNative and their gradients.
//
// Shapes become a ConvShape; images with channels first are turned round, half and bfloat16 are computed in float.
// Float goes to the algorithm that is chosen for its shape (conv_choice.h), all else to the generic loops. What is
// prepared is kept: for static shapes from the start, else for the last few shapes seen. Filters that are constants are
// laid out with it.
#include <algorithm>
#include <memory>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"
#include "core/types/numeric_types.h"
#include "kernels/nn/conv_choice.h"
#include "kernels/nn/conv_generic.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {
namespace {

constexpr size_t kKeptPlans = 8;

struct Plan {
  ConvShape shape;
  std::unique_ptr<ConvAlgorithm> algorithm;  // null where the generic loops run
};

// Fills the sizes of a convolution from the shapes of its input and filter.
absl::StatusOr<ConvShape> MakeConvShape(const WindowAttrs& w, const Shape& input, const Shape& filter, bool depthwise) {
  if (input.rank() != w.rank() || filter.rank() != w.rank()) {
    return InvalidArgument("input is ", input.ToString(), " and filter is ", filter.ToString(), ", wanted rank ",
                           w.rank());
  }
  ConvShape s;
  s.spatial = w.spatial;
  s.batch = input.dim(0);
  s.in_channels = input.dim(w.channel_dim());
  const int64_t filter_in = filter.dim(w.spatial), filter_out = filter.dim(w.spatial + 1);
  if (depthwise ? filter_in != s.in_channels : (filter_in == 0 ? s.in_channels != 0 : s.in_channels % filter_in != 0)) {
    return InvalidArgument("input ", input.ToString(), " has ", s.in_channels, " channels, but the filter ",
                           filter.ToString(), " takes ", filter_in);
  }
  s.groups = depthwise ? s.in_channels : (filter_in == 0 ? 1 : s.in_channels / filter_in);
  s.out_channels = depthwise ? MultiplyWithoutOverflow(filter_in, filter_out) : filter_out;
  if (s.out_channels < 0) return InvalidArgument("the filter ", filter.ToString(), " gives too many channels");
  if (!depthwise && s.groups > 1 && filter_out % s.groups != 0) {
    return InvalidArgument("the filter ", filter.ToString(), " gives ", filter_out, " channels, which ", s.groups,
                           " groups do not divide");
  }
  s.groups = std::max<int64_t>(s.groups, 1);
  for (int i = 0; i < 3 - w.spatial; ++i) s.axes[i].input = s.axes[i].output = 1;
  for (int i = 0; i < w.spatial; ++i) {
    ASSIGN_OR_RETURN(s.axes[3 - w.spatial + i], w.Axis(i, input.dim(w.spatial_dim(i)), filter.dim(i)));
  }
  return s;
}

absl::StatusOr<Shape> OutputShape(const WindowAttrs& w, const ConvShape& s) {
  int64_t sizes[3] = {};
  for (int i = 0; i < w.spatial; ++i) sizes[i] = s.axes[3 - w.spatial + i].output;
  return Shape::Make(w.MakeShape(s.batch, sizes, s.out_channels).dims());
}

// [outer][rows][columns] -> [outer][columns][rows].
void TransposeInner(KernelContext& c, const float* from, int64_t outer, int64_t rows, int64_t columns, float* to) {
  constexpr int64_t kBlock = 16;
  const int64_t blocks = (rows + kBlock - 1) / kBlock;
  c.ParallelFor(outer * blocks, kBlock * columns * 0.5, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r0 = i % blocks * kBlock, r1 = std::min(r0 + kBlock, rows);
      const float* x = from + i / blocks * rows * columns;
      float* y = to + i / blocks * rows * columns;
      for (int64_t col = 0; col < columns; ++col) {
        for (int64_t r = r0; r < r1; ++r) y[col * rows + r] = x[r * columns + col];
      }
    }
  });
}
void TransposeInner(KernelContext& c, const double* from, int64_t outer, int64_t rows, int64_t columns, double* to) {
  c.ParallelFor(outer * columns, rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / columns, col = i % columns;
      for (int64_t r = 0; r < rows; ++r) to[(o * columns + col) * rows + r] = from[(o * rows + r) * columns + col];
    }
  });
}

template <typename From, typename To>
void Convert(KernelContext& c, const From* from, int64_t n, To* to) {
  c.ParallelFor(n, 0.5, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = static_cast<To>(from[i]);
  });
}

class ConvKernel : public Kernel {
 public:
  ConvKernel(ConvDirection direction, int spatial, bool depthwise)
      : direction_(direction), spatial_(spatial), depthwise_(depthwise) {}

  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(window_, ParseWindowAttrs(p.node().attrs, spatial_));
    type_ = p.output_type(0);
    if (type_ == DType::kFloat && direction_ != ConvDirection::kBackwardFilter && p.constant_inputs[1] != nullptr) {
      constant_filter_ = *p.constant_inputs[1];
    }
    const PartialShape input = direction_ == ConvDirection::kBackwardInput ? p.output_shapes[0] : p.input_shapes[0];
    const PartialShape filter = direction_ == ConvDirection::kBackwardFilter ? p.output_shapes[0] : p.input_shapes[1];
    if (!input.IsFullyKnown() || !filter.IsFullyKnown() || p.device == nullptr) return absl::OkStatus();
    ASSIGN_OR_RETURN(ConvShape s, MakeConvShape(window_, input.ToShape(), filter.ToShape(), depthwise_));
    if (!s.empty()) prepared_ = PlanFor(s, p.device->pool()->parallelism());
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const bool to_input = direction_ == ConvDirection::kBackwardInput,
               to_filter = direction_ == ConvDirection::kBackwardFilter;
    Shape input = c.input(0).shape(), filter = c.input(1).shape();
    if (to_input) {
      ASSIGN_OR_RETURN(input, ShapeFrom(c.input(0)));
    }
    if (to_filter) {
      ASSIGN_OR_RETURN(filter, ShapeFrom(c.input(1)));
    }
    ASSIGN_OR_RETURN(ConvShape s, MakeConvShape(window_, input, filter, depthwise_));
    ASSIGN_OR_RETURN(Shape output, OutputShape(window_, s));
    if ((to_input || to_filter) && c.input(2).shape() != output) {
      return InvalidArgument("out_backprop is ", c.input(2).shape().ToString(), ", wanted ", output.ToString(),
                             " for input ", input.ToString(), " and filter ", filter.ToString());
    }
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, to_input ? input : to_filter ? filter : output));
    if (s.empty()) {
      std::fill_n(static_cast<char*>(y->raw_data()), y->num_bytes(), 0);
      return absl::OkStatus();
    }
    const Tensor& a = to_input ? c.input(2) : c.input(0);
    const Tensor& b = to_filter ? c.input(2) : c.input(1);
    switch (type_) {
      case DType::kFloat:
        return RunIn<float, float>(c, s, a, b, y);
      case DType::kDouble:
        return RunIn<double, double>(c, s, a, b, y);
      case DType::kHalf:
        return RunIn<half, float>(c, s, a, b, y);
      case DType::kBfloat16:
        return RunIn<bfloat16, float>(c, s, a, b, y);
      default:
        return Internal("convolution of ", DTypeName(type_));
    }
  }

 private:
  static absl::StatusOr<Shape> ShapeFrom(const Tensor& sizes) {
    if (sizes.rank() != 1) return InvalidArgument("the sizes are ", sizes.shape().ToString(), ", wanted a vector");
    absl::InlinedVector<int64_t, 5> dims;
    for (int64_t i = 0; i < sizes.num_elements(); ++i) dims.push_back(sizes.IntAt(i));
    return Shape::Make(dims);
  }

  std::shared_ptr<const Plan> PlanFor(const ConvShape& s, int parallelism) const {
    if (type_ == DType::kDouble) return nullptr;
    absl::MutexLock lock(&mu_);
    for (const auto& plan : plans_) {
      if (plan->shape == s) return plan;
    }
    auto plan = std::make_shared<Plan>();
    plan->shape = s;
    plan->algorithm = ChooseConv(s, direction_, parallelism);
    if (plan->algorithm && constant_filter_.IsValid() &&
        !plan->algorithm->KeepFilter(constant_filter_.data<float>()).ok()) {
      plan->algorithm = nullptr;
    }
    if (plans_.size() == kKeptPlans) plans_.erase(plans_.begin());
    plans_.push_back(plan);
    return plan;
  }

  absl::Status Compute(KernelContext& c, const ConvShape& s, const float* a, const float* b, float* out) const {
    std::shared_ptr<const Plan> found;  // of a shape that was not known before
    const Plan* plan = prepared_.get();
    if (plan == nullptr || !(plan->shape == s)) {
      found = PlanFor(s, c.step().pool->parallelism());
      plan = found.get();
    }
    return plan->algorithm ? plan->algorithm->Run(c, a, b, out) : GenericConv<float>(c, s, direction_, a, b, out);
  }
  absl::Status Compute(KernelContext& c, const ConvShape& s, const double* a, const double* b, double* out) const {
    return GenericConv<double>(c, s, direction_, a, b, out);
  }

  // What an operand is: an image of the input or output side, which has channels, or a filter.
  struct Operand {
    bool image;
    int64_t batch, positions, channels;
    int64_t elements;
  };

  // Operands in the type they are computed in and with channels last; `from` itself when it is so already.
  template <typename T, typename C>
  absl::StatusOr<Tensor> Import(KernelContext& c, const Operand& o, const Tensor& from) const {
    Tensor t = from;
    if constexpr (!std::is_same_v<T, C>) {
      ASSIGN_OR_RETURN(t, c.AllocateTemp(kDTypeOf<C>, Shape({o.elements})));
      Convert(c, from.data<T>(), o.elements, t.data<C>());
    }
    if (!o.image || !window_.channels_first) return t;
    ASSIGN_OR_RETURN(Tensor turned, c.AllocateTemp(kDTypeOf<C>, Shape({o.elements})));
    TransposeInner(c, t.data<C>(), o.batch, o.channels, o.positions, turned.data<C>());
    return turned;
  }

  template <typename T, typename C>
  absl::Status RunIn(KernelContext& c, const ConvShape& s, const Tensor& a, const Tensor& b, Tensor* y) const {
    const Operand in{true, s.batch, s.in_positions(), s.in_channels, s.input_elements()};
    const Operand out{true, s.batch, s.out_positions(), s.out_channels, s.output_elements()};
    const Operand filter{false, 0, 0, 0, s.filter_elements()};
    const bool forward = direction_ == ConvDirection::kForward, to_input = direction_ == ConvDirection::kBackwardInput;
    const Operand& result = forward ? out : to_input ? in : filter;
    ASSIGN_OR_RETURN(Tensor x1, (Import<T, C>(c, to_input ? out : in, a)));
    ASSIGN_OR_RETURN(Tensor x2, (Import<T, C>(c, forward || to_input ? filter : out, b)));
    const bool turn = result.image && window_.channels_first;
    if (std::is_same_v<T, C> && !turn) return Compute(c, s, x1.data<C>(), x2.data<C>(), y->data<C>());
    ASSIGN_OR_RETURN(Tensor r, c.AllocateTemp(kDTypeOf<C>, Shape({result.elements})));
    RETURN_IF_ERROR(Compute(c, s, x1.data<C>(), x2.data<C>(), r.data<C>()));
    if (turn) {
      Tensor turned;
      C* to = y->data<C>();
      if constexpr (!std::is_same_v<T, C>) {
        ASSIGN_OR_RETURN(turned, c.AllocateTemp(kDTypeOf<C>, Shape({result.elements})));
        to = turned.data<C>();
      }
      TransposeInner(c, r.data<C>(), result.batch, result.positions, result.channels, to);
      if constexpr (!std::is_same_v<T, C>) r = turned;
    }
    if constexpr (!std::is_same_v<T, C>) Convert(c, r.data<C>(), result.elements, y->data<T>());
    return absl::OkStatus();
  }

  const ConvDirection direction_;
  const int spatial_;
  const bool depthwise_;
  WindowAttrs window_;
  DType type_ = DType::kInvalid;
  Tensor constant_filter_;                // of graphs that only infer
  std::shared_ptr<const Plan> prepared_;  // for static shapes: no lock to find it
  mutable absl::Mutex mu_;
  mutable std::vector<std::shared_ptr<const Plan>> plans_;
};

}  // namespace

void AddConvCpu(KernelRegistry& k) {
  struct Row {
    const char* op;
    ConvDirection direction;
    int spatial;
    bool depthwise;
    const char* sizes;  // the input that gives a shape
  };
  for (const Row& r : std::initializer_list<Row>{
           {"Conv2D", ConvDirection::kForward, 2, false, ""},
           {"Conv2DBackpropInput", ConvDirection::kBackwardInput, 2, false, "input_sizes"},
           {"Conv2DBackpropFilter", ConvDirection::kBackwardFilter, 2, false, "filter_sizes"},
           {"DepthwiseConv2dNative", ConvDirection::kForward, 2, true, ""},
           {"DepthwiseConv2dNativeBackpropInput", ConvDirection::kBackwardInput, 2, true, "input_sizes"},
           {"DepthwiseConv2dNativeBackpropFilter", ConvDirection::kBackwardFilter, 2, true, "filter_sizes"},
           {"Conv3D", ConvDirection::kForward, 3, false, ""},
           {"Conv3DBackpropInputV2", ConvDirection::kBackwardInput, 3, false, "input_sizes"},
           {"Conv3DBackpropFilterV2", ConvDirection::kBackwardFilter, 3, false, "filter_sizes"},
       }) {
    KernelDef def = KernelDef().Types("T", kFloatingTypes).Factory([r](const NodeInfo&) {
      return std::make_unique<ConvKernel>(r.direction, r.spatial, r.depthwise);
    });
    if (*r.sizes != '\0') def.host_memory.push_back(r.sizes);
    k.Add(r.op, kCpu, std::move(def));
  }
}

}  // namespace sluice
