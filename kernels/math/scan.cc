// Cumsum and Cumprod.
#include <algorithm>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

struct Plus {
  static constexpr int kStart = 0;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::Add(x, y);
  }
};
struct Times {
  static constexpr int kStart = 1;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::Mul(x, y);
  }
};

// Scans the columns [begin, end) of a block of n rows, `inner` elements apart.
template <class F, class T>
void Scan(const T* x, T* y, int64_t n, int64_t inner, int64_t begin, int64_t end, bool exclusive, bool reverse) {
  using Wide = std::conditional_t<std::is_same_v<T, half> || std::is_same_v<T, bfloat16>, float, T>;
  const F f;
  // Many columns side by side.
  constexpr int64_t kWidth = 256;
  for (; end - begin >= 8; begin += std::min(kWidth, end - begin)) {
    const int64_t width = std::min(kWidth, end - begin);
    Wide sums[kWidth];
    std::fill_n(sums, width, static_cast<Wide>(static_cast<float>(F::kStart)));
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = (reverse ? n - 1 - i : i) * inner + begin;
#pragma GCC ivdep
      for (int64_t j = 0; j < width; ++j) {
        const Wide before = sums[j], next = f(before, static_cast<Wide>(x[at + j]));
        y[at + j] = static_cast<T>(exclusive ? before : next);
        sums[j] = next;
      }
    }
  }
  for (int64_t j = begin; j < end; ++j) {
    Wide sum = static_cast<Wide>(static_cast<float>(F::kStart));
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = (reverse ? n - 1 - i : i) * inner + j;
      const Wide next = f(sum, static_cast<Wide>(x[at]));
      y[at] = static_cast<T>(exclusive ? sum : next);
      sum = next;
    }
  }
}

template <class F>
class ScanKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(exclusive_, p.Attr<bool>("exclusive"));
    ASSIGN_OR_RETURN(reverse_, p.Attr<bool>("reverse"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    if (c.input(1).num_elements() != 1)
      return InvalidArgument("axis must be a scalar, found shape ", c.input(1).shape().ToString());
    const int64_t asked = c.input(1).IntAt(0);
    if (asked < -x.rank() || asked >= x.rank()) {
      return InvalidArgument("axis ", asked, " is not in [", -x.rank(), ", ", x.rank(), "), the input has shape ",
                             x.shape().ToString());
    }
    const int axis = static_cast<int>(asked < 0 ? asked + x.rank() : asked);
    const int64_t n = x.dim(axis);
    int64_t inner = 1;
    for (int d = axis + 1; d < x.rank(); ++d) inner *= x.dim(d);
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, x.shape()));
    if (x.num_elements() == 0) return absl::OkStatus();
    const int64_t columns = x.num_elements() / n;
    Dispatch<kArithmeticTypes.bits()>(x.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      c.ParallelFor(columns, 1.0 * static_cast<double>(n), [&](int64_t begin, int64_t end) {
        while (begin < end) {
          const int64_t block = begin / inner, from = begin % inner, to = std::min(inner, from + end - begin);
          const int64_t offset = block * n * inner;
          Scan<F, T>(x.data<T>() + offset, y->data<T>() + offset, n, inner, from, to, exclusive_, reverse_);
          begin += to - from;
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  bool exclusive_ = false, reverse_ = false;
};

}  // namespace

void AddScanKernels(KernelRegistry& k) {
  k.Add("Cumsum", kCpu, KernelDef().Types("T", kArithmeticTypes).Make<ScanKernel<Plus>>());
  k.Add("Cumprod", kCpu, KernelDef().Types("T", kArithmeticTypes).Make<ScanKernel<Times>>());
}

}  // namespace sluice
