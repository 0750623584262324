// Counting: Bincount, Bucketize, HistogramFixedWidth.
#include <algorithm>
#include <cmath>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kTypes = {DType::kInt32, DType::kInt64, DType::kFloat, DType::kDouble};

template <class T>
class BincountKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor arr = c.input(0), weights = c.input(2);
    if (c.input(1).num_elements() != 1)
      return InvalidArgument("size must be a scalar, found shape ", c.input(1).shape().ToString());
    const int64_t size = c.input(1).IntAt(0);
    if (size < 0) return InvalidArgument("size must not be negative, found ", size);
    const bool weighted = weights.num_elements() > 0;
    if (weighted && weights.shape() != arr.shape()) {
      return InvalidArgument("weights must have the shape of arr, ", arr.shape().ToString(), ", or no elements, found ",
                             weights.shape().ToString());
    }
    const int32_t* x = arr.data<int32_t>();
    for (int64_t i = 0; i < arr.num_elements(); ++i) {
      if (x[i] < 0) return InvalidArgument("arr must not have negative elements, found ", x[i], " at ", i);
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({size})));
    T* bins = out->data<T>();
    std::fill_n(bins, size, T(0));
    for (int64_t i = 0; i < arr.num_elements(); ++i) {
      if (x[i] < size) bins[x[i]] += weighted ? weights.data<T>()[i] : T(1);
    }
    return absl::OkStatus();
  }
};

template <class T>
class BucketizeKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(boundaries_, p.Attr<std::vector<float>>("boundaries"));
    if (!std::is_sorted(boundaries_.begin(), boundaries_.end())) return InvalidArgument("boundaries must be sorted");
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, x.shape()));
    c.ParallelFor(x.num_elements(), 10, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto above =
            std::upper_bound(boundaries_.begin(), boundaries_.end(), x.data<T>()[i], [](T value, float boundary) {
              // A boundary between two integers is not rounded to one.
              return static_cast<double>(value) < static_cast<double>(boundary);
            });
        out->data<int32_t>()[i] = static_cast<int32_t>(above - boundaries_.begin());
      }
    });
    return absl::OkStatus();
  }

 private:
  std::vector<float> boundaries_;
};

template <class T>
class HistogramKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0), range = c.input(1);
    if (range.rank() != 1 || range.num_elements() != 2) {
      return InvalidArgument("value_range must be two numbers, found shape ", range.shape().ToString());
    }
    const T low = range.data<T>()[0], high = range.data<T>()[1];
    if (!(low < high)) return InvalidArgument("value_range must rise, found ", low, " and ", high);
    if (c.input(2).num_elements() != 1)
      return InvalidArgument("nbins must be a scalar, found shape ", c.input(2).shape().ToString());
    const int64_t bins = c.input(2).IntAt(0);
    if (bins <= 0) return InvalidArgument("nbins must be positive, found ", bins);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({bins})));
    std::vector<int64_t> counts(static_cast<size_t>(bins), 0);
    const double step = (static_cast<double>(high) - static_cast<double>(low)) / static_cast<double>(bins);
    for (int64_t i = 0; i < x.num_elements(); ++i) {
      const double at = (static_cast<double>(x.data<T>()[i]) - static_cast<double>(low)) / step;
      if (std::isnan(at)) return InvalidArgument("element ", i, " of values is nan and belongs to no bin");
      ++counts[static_cast<int64_t>(std::clamp(at, 0.0, static_cast<double>(bins - 1)))];
    }
    for (int64_t b = 0; b < bins; ++b) {
      if (out->dtype() == DType::kInt32) {
        out->data<int32_t>()[b] = static_cast<int32_t>(counts[b]);
      } else {
        out->data<int64_t>()[b] = counts[b];
      }
    }
    return absl::OkStatus();
  }
};

}  // namespace

void AddHistogramKernels(KernelRegistry& k) {
  k.Add("Bincount", kCpu, KernelByType<BincountKernel, kTypes.bits()>("T"));
  k.Add("Bucketize", kCpu, KernelByType<BucketizeKernel, kTypes.bits()>("T"));
  k.Add("HistogramFixedWidth", kCpu, KernelByType<HistogramKernel, kTypes.bits()>("T"));
}

}  // namespace sluice
