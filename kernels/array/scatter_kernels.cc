// Writes and sums by index. Updates are taken in order, so the last of equal indices wins and sums come out the same
// each time.
#include "core/base/status.h"
#include "kernels/array/coordinates.h"
#include "kernels/array/elements.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

enum class ScatterOp { kUpdate, kAdd, kSubtract };

constexpr DTypeSet kAddable = kArithmeticTypes | DTypeSet{DType::kBool, DType::kString};

template <typename T, ScatterOp kOp>
inline void Combine(T* to, const T* from, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (kOp == ScatterOp::kSubtract && !std::is_same_v<T, std::string>) {
      to[i] = to[i] - from[i];
    } else if constexpr (std::is_same_v<T, bool>) {
      to[i] = to[i] || from[i];
    } else {
      to[i] = to[i] + from[i];
    }
  }
}

// Each thread owns a range of the target and goes over all updates: no two write one place, and the order stays.
template <typename T, ScatterOp kOp>
void CombineSlices(const KernelContext& c, const SliceOffsets& slices, const T* from, T* to, int64_t target_elements) {
  const int64_t row = slices.slice_elements, n = slices.offsets.size();
  const auto apply = [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = slices.offsets[i];
      const int64_t first = std::max(at, begin), last = std::min(at + row, end);
      if (first < last) Combine<T, kOp>(to + first, from + i * row + (first - at), last - first);
    }
  };
  if (n * row < 32768 || row < 8) return apply(0, target_elements);
  c.ParallelFor(target_elements, std::max(0.05, 0.5 * n * row / target_elements), apply, 64);
}

template <ScatterOp kOp>
void ScatterSlices(const KernelContext& c, const SliceOffsets& slices, const Tensor& updates, Tensor* out) {
  if (updates.num_elements() == 0) return;
  if constexpr (kOp == ScatterOp::kUpdate) {
    DispatchUnit(out->dtype(), [&](auto tag) {
      using U = typename decltype(tag)::type;
      const int64_t row = slices.slice_elements;
      const U* from = updates.data<U>();
      for (size_t i = 0; i < slices.offsets.size(); ++i)
        CopyRun(out->data<U>() + slices.offsets[i], from + i * row, row);
    });
  } else {
    constexpr DTypeSet kTypes = kOp == ScatterOp::kAdd ? kAddable : kArithmeticTypes;
    Dispatch<kTypes.bits()>(out->dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      CombineSlices<T, kOp>(c, slices, updates.data<T>(), out->data<T>(), out->num_elements());
    });
  }
}

absl::StatusOr<SliceOffsets> CheckedSlices(const Tensor& indices, const Tensor& updates, const Shape& target) {
  ASSIGN_OR_RETURN(SliceOffsets slices, FindSlices(indices, target, "the tensor"));
  Shape wanted = indices.shape();
  const int depth = static_cast<int>(wanted.dim(wanted.rank() - 1));
  wanted.RemoveDim(wanted.rank() - 1);
  for (int i = depth; i < target.rank(); ++i) wanted.AddDim(target.dim(i));
  if (updates.shape() != wanted) {
    return InvalidArgument("updates have shape ", updates.shape().ToString(), ", wanted ", wanted.ToString(),
                           " for indices ", indices.shape().ToString(), " into ", target.ToString());
  }
  return slices;
}

class ScatterNdKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const IntList sizes, ReadIntVector(c.input(2), "shape"));
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(const SliceOffsets slices, CheckedSlices(c.input(0), c.input(1), shape));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    ZeroTensor(c, out);
    ScatterSlices<ScatterOp::kAdd>(c, slices, c.input(1), out);
    return absl::OkStatus();
  }
};

template <ScatterOp kOp>
class TensorScatterKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const SliceOffsets slices, CheckedSlices(c.input(1), c.input(2), in.shape()));
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, in.shape()));
    if (out->raw_data() != in.raw_data()) CopyElements(in.dtype(), out->raw_data(), in.raw_data(), in.num_elements());
    ScatterSlices<kOp>(c, slices, c.input(2), out);
    return absl::OkStatus();
  }
};

}  // namespace

void AddScatterKernels(KernelRegistry& k) {
  k.Add("ScatterNd", kCpu, KernelDef().Types("T", kAddable).Make<ScatterNdKernel>());
  k.Add("ScatterNdNonAliasingAdd", kCpu, KernelDef().Types("T", kAddable).Make<TensorScatterKernel<ScatterOp::kAdd>>());
  k.Add("TensorScatterUpdate", kCpu, KernelDef().Make<TensorScatterKernel<ScatterOp::kUpdate>>());
  k.Add("TensorScatterAdd", kCpu, KernelDef().Types("T", kAddable).Make<TensorScatterKernel<ScatterOp::kAdd>>());
  k.Add("TensorScatterSub", kCpu,
        KernelDef().Types("T", kArithmeticTypes).Make<TensorScatterKernel<ScatterOp::kSubtract>>());
}

}  // namespace sluice
