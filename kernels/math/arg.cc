// ArgMax and ArgMin.
#include <algorithm>

#include "core/base/status.h"
#include "kernels/common/macros.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr int64_t kArgWidth = 64;  // columns at a time

template <class T, bool kMax>
SLUICE_HOST_DEVICE bool Better(T a, T than) {
  return kMax ? than < a : a < than;
}

// Both: where the best element is, the first of equals. A nan is never better, so it wins only in the first place.

// Of n contiguous elements: the best value in lanes, then its first place.
template <class T, bool kMax>
int64_t BestOfRow(const T* x, int64_t n) {
  constexpr int kLanes = 32;
  T lane[kLanes];
  std::fill_n(lane, kLanes, x[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lane[l] = Better<T, kMax>(x[i + l], lane[l]) ? x[i + l] : lane[l];
  }
  T best = lane[0];
  for (int l = 1; l < kLanes; ++l) best = Better<T, kMax>(lane[l], best) ? lane[l] : best;
  for (; i < n; ++i) best = Better<T, kMax>(x[i], best) ? x[i] : best;
  return std::max<int64_t>(0, std::find(x, x + n, best) - x) % n;
}

// Of each of `width` columns of n rows, `stride` elements apart, row by row.
template <class T, bool kMax>
void BestOfColumns(const T* x, int64_t n, int64_t stride, int64_t width, int64_t* at) {
  T best[kArgWidth];
  std::copy_n(x, width, best);
  std::fill_n(at, width, 0);
  for (int64_t i = 1; i < n; ++i) {
    const T* row = x + i * stride;
    for (int64_t j = 0; j < width; ++j) {
      const bool better = Better<T, kMax>(row[j], best[j]);
      best[j] = better ? row[j] : best[j];
      at[j] = better ? i : at[j];
    }
  }
}

template <class T, bool kMax>
void Best(const void* xp, int64_t n, int64_t stride, int64_t width, int64_t* at) {
  const T* x = static_cast<const T*>(xp);
  if (stride == 1) {
    *at = BestOfRow<T, kMax>(x, n);
  } else {
    BestOfColumns<T, kMax>(x, n, stride, width, at);
  }
}
using BestLoop = void (*)(const void* x, int64_t n, int64_t stride, int64_t width, int64_t* at);

class ArgKernel : public Kernel {
 public:
  explicit ArgKernel(bool max) : max_(max) {}
  absl::Status Prepare(PrepareContext& p) override {
    bytes_ = ElementSize(p.input_type(0));
    Dispatch<(kRealTypes | DTypeSet{DType::kBool}).bits()>(p.input_type(0), [&](auto tag) {
      using T = typename decltype(tag)::type;
      best_ = max_ ? &Best<T, true> : &Best<T, false>;
    });
    return best_ == nullptr ? Unimplemented("no order of ", DTypeName(p.input_type(0))) : absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& x = c.input(0);
    if (c.input(1).num_elements() != 1) {
      return InvalidArgument("dimension must be a scalar, found shape ", c.input(1).shape().ToString());
    }
    const int64_t asked = c.input(1).IntAt(0);
    if (asked < -x.rank() || asked >= x.rank()) {
      return InvalidArgument("dimension ", asked, " is not in [", -x.rank(), ", ", x.rank(), "), the input has shape ",
                             x.shape().ToString());
    }
    const int axis = static_cast<int>(asked < 0 ? asked + x.rank() : asked);
    const int64_t n = x.dim(axis);
    int64_t inner = 1;
    for (int d = axis + 1; d < x.rank(); ++d) inner *= x.dim(d);
    Shape shape = x.shape();
    shape.RemoveDim(axis);
    if (n == 0 && shape.num_elements() > 0) {
      return InvalidArgument("dimension ", asked, " of the input is empty: its shape is ", x.shape().ToString());
    }
    const char* data = static_cast<const char*>(x.raw_data());
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, shape));
    const bool narrow = y->dtype() == DType::kInt32;
    c.ParallelFor(shape.num_elements(), 1.0 * static_cast<double>(n), [&](int64_t begin, int64_t end) {
      int64_t at[kArgWidth];
      for (int64_t i = begin; i < end;) {
        const int64_t width = std::min({kArgWidth, inner - i % inner, end - i});
        best_(data + (i / inner * n * inner + i % inner) * bytes_, n, inner, width, at);
        for (int64_t j = 0; j < width; ++j) {
          if (narrow) {
            y->data<int32_t>()[i + j] = static_cast<int32_t>(at[j]);
          } else {
            y->data<int64_t>()[i + j] = at[j];
          }
        }
        i += width;
      }
    });
    return absl::OkStatus();
  }

 private:
  bool max_;
  int64_t bytes_ = 0;
  BestLoop best_ = nullptr;
};

}  // namespace

void AddArgKernels(KernelRegistry& k) {
  constexpr DTypeSet kTypes = kRealTypes | DTypeSet{DType::kBool};
  k.Add("ArgMax", kCpu,
        KernelDef().Types("T", kTypes).Factory([](const NodeInfo&) { return std::make_unique<ArgKernel>(true); }));
  k.Add("ArgMin", kCpu,
        KernelDef().Types("T", kTypes).Factory([](const NodeInfo&) { return std::make_unique<ArgKernel>(false); }));
}

}  // namespace sluice
