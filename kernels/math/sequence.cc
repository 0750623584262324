// Ranges, and the arithmetic of shapes that broadcast.
#include <cmath>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/segment.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kRangeTypes = kRealTypes - DTypeSet{DType::kUint8, DType::kUint64};
constexpr int64_t kMostElements = int64_t{1} << 40;

template <class T>
absl::StatusOr<int64_t> RangeSize(T start, T limit, T delta) {
  if (delta == T(0)) return InvalidArgument("delta must not be 0");
  if ((delta > T(0) && start > limit) || (delta < T(0) && start < limit)) {
    return InvalidArgument("from ", static_cast<double>(start), " one does not come to ", static_cast<double>(limit),
                           " by steps of ", static_cast<double>(delta));
  }
  if constexpr (std::is_integral_v<T>) {
    const __int128 span = static_cast<__int128>(limit) - start;
    return static_cast<int64_t>((span + delta - (delta > 0 ? 1 : -1)) / delta);
  } else {
    const double size =
        std::ceil(std::abs((static_cast<double>(limit) - static_cast<double>(start)) / static_cast<double>(delta)));
    if (!(size < static_cast<double>(kMostElements)))
      return InvalidArgument("a range of ", size, " elements is too long");
    return static_cast<int64_t>(size);
  }
}

absl::Status CheckScalars(KernelContext& c, std::initializer_list<const char*> names) {
  int i = 0;
  for (const char* name : names) {
    if (c.input(i).num_elements() != 1)
      return InvalidArgument(name, " must be a scalar, found shape ", c.input(i).shape().ToString());
    ++i;
  }
  return absl::OkStatus();
}

template <class T>
class RangeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    RETURN_IF_ERROR(CheckScalars(c, {"start", "limit", "delta"}));
    const T start = *c.input(0).data<T>(), limit = *c.input(1).data<T>(), delta = *c.input(2).data<T>();
    ASSIGN_OR_RETURN(const int64_t n, RangeSize<T>(start, limit, delta));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({n})));
    T* y = out->data<T>();
    if constexpr (std::is_integral_v<T>) {
      for (int64_t i = 0; i < n; ++i)
        y[i] = static_cast<T>(static_cast<uint64_t>(start) + static_cast<uint64_t>(i) * static_cast<uint64_t>(delta));
    } else {
      // By repeated addition in the type itself, as TensorFlow counts.
      T value = start;
      for (int64_t i = 0; i < n; ++i) {
        y[i] = value;
        value += delta;
      }
    }
    return absl::OkStatus();
  }
};

template <class T>
class LinSpaceKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    RETURN_IF_ERROR(CheckScalars(c, {"start", "stop", "num"}));
    const T start = *c.input(0).data<T>(), stop = *c.input(1).data<T>();
    const int64_t n = c.input(2).IntAt(0);
    if (n <= 0) return InvalidArgument("num must be positive, found ", n);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({n})));
    T* y = out->data<T>();
    using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;
    y[0] = start;
    if (n > 1) {
      const Wide step = (static_cast<Wide>(stop) - static_cast<Wide>(start)) / static_cast<Wide>(n - 1);
      for (int64_t i = 1; i < n - 1; ++i) y[i] = static_cast<T>(static_cast<Wide>(start) + step * static_cast<Wide>(i));
      y[n - 1] = stop;
    }
    return absl::OkStatus();
  }
};

absl::Status CheckShapes(const Tensor& a, const Tensor& b) {
  if (a.rank() == 1 && b.rank() == 1) return absl::OkStatus();
  return InvalidArgument("shapes must be vectors, found shapes ", a.shape().ToString(), " and ", b.shape().ToString());
}
absl::Status DoNotBroadcast(absl::Span<const int64_t> a, absl::Span<const int64_t> b) {
  return InvalidArgument("shapes ", Shape(a).ToString(), " and ", Shape(b).ToString(), " do not broadcast");
}
absl::Status SetInts(KernelContext& c, int output, absl::Span<const int64_t> values) {
  ASSIGN_OR_RETURN(Tensor * out, c.Allocate(output, Shape({static_cast<int64_t>(values.size())})));
  Dispatch<kIndexTypes.bits()>(out->dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (size_t i = 0; i < values.size(); ++i) out->data<T>()[i] = static_cast<T>(values[i]);
  });
  return absl::OkStatus();
}

class BroadcastArgsKernel : public Kernel {
 public:
  explicit BroadcastArgsKernel(bool gradient) : gradient_(gradient) {}
  absl::Status Run(KernelContext& c) const override {
    RETURN_IF_ERROR(CheckShapes(c.input(0), c.input(1)));
    const std::vector<int64_t> a = Integers(c.input(0)), b = Integers(c.input(1));
    const int rank = static_cast<int>(std::max(a.size(), b.size()));
    std::vector<int64_t> shape(rank), axes_a, axes_b;
    for (int i = 0; i < rank; ++i) {
      const int ia = i - (rank - static_cast<int>(a.size())), ib = i - (rank - static_cast<int>(b.size()));
      const int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
      if (da != db && da != 1 && db != 1) return DoNotBroadcast(a, b);
      shape[i] = da == 1 ? db : da;
      // Sizes of 1 on both sides are summed over too: it costs nothing and is what TensorFlow lists.
      if (da == 1) axes_a.push_back(i);
      if (db == 1) axes_b.push_back(i);
    }
    if (!gradient_) return SetInts(c, 0, shape);
    if (a == b) axes_a.clear(), axes_b.clear();
    RETURN_IF_ERROR(SetInts(c, 0, axes_a));
    return SetInts(c, 1, axes_b);
  }

 private:
  bool gradient_;
};

}  // namespace

void AddSequenceKernels(KernelRegistry& k) {
  k.Add("Range", kCpu, KernelByType<RangeKernel, kRangeTypes.bits()>("Tidx"));
  k.Add("LinSpace", kCpu, KernelByType<LinSpaceKernel, kFloatingTypes.bits()>("T"));
  k.Add("BroadcastArgs", kCpu, KernelDef().Types("T", kIndexTypes).Factory([](const NodeInfo&) {
    return std::make_unique<BroadcastArgsKernel>(false);
  }));
  k.Add("BroadcastGradientArgs", kCpu, KernelDef().Types("T", kIndexTypes).Factory([](const NodeInfo&) {
    return std::make_unique<BroadcastArgsKernel>(true);
  }));
}

}  // namespace sluice
