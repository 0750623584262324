// ArgMax and ArgMin.
#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

template <class T, bool kMax>
bool Better(T a, T than) {
  return kMax ? than < a : a < than;
}

// Where the best of n elements `stride` apart is: the first of equals. A nan is never better, so it wins only in the first place.
template <class T, bool kMax>
int64_t Best(const void* xp, int64_t n, int64_t stride) {
  const T* x = static_cast<const T*>(xp);
  int64_t best = 0;
  for (int64_t i = 1; i < n; ++i) {
    if (Better<T, kMax>(x[i * stride], x[best * stride])) best = i;
  }
  return best;
}
using BestLoop = int64_t (*)(const void* x, int64_t n, int64_t stride);

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
      for (int64_t i = begin; i < end; ++i) {
        const int64_t at = best_(data + (i / inner * n * inner + i % inner) * bytes_, n, inner);
        if (narrow) {
          y->data<int32_t>()[i] = static_cast<int32_t>(at);
        } else {
          y->data<int64_t>()[i] = at;
        }
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
  k.Add("ArgMax", kCpu, KernelDef().Types("T", kTypes).Factory([](const NodeInfo&) { return std::make_unique<ArgKernel>(true); }));
  k.Add("ArgMin", kCpu, KernelDef().Types("T", kTypes).Factory([](const NodeInfo&) { return std::make_unique<ArgKernel>(false); }));
}

}  // namespace sluice
