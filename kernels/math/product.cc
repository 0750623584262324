// Products, powers and the greater and lesser of two tensors.
#include <cmath>

#include "core/base/status.h"
#include "kernels/common/element_wise.h"
#include "kernels/common/vector_math.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kFloatOrComplex = kFloatingTypes | kComplexTypes;

struct Times {
  static constexpr DTypeSet kTypes = kArithmeticTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::Mul(x, y);
  }
};
struct TimesNoNan {
  static constexpr DTypeSet kTypes = kFloatOrComplex;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return y == T(0) ? T(0) : scalar::Mul(x, y);
  }
};
struct MaximumFunction {
  static constexpr DTypeSet kTypes = kRealTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return x > y || x != x ? x : y;
  }
};
struct MinimumFunction {
  static constexpr DTypeSet kTypes = kRealTypes;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return x < y || x != x ? x : y;
  }
};
struct PowFunction {
  static constexpr DTypeSet kTypes = kFloatOrComplex;
  static constexpr double kCostNs = 15;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return std::pow(x, y);
  }
};
struct XdivyFunction {
  static constexpr DTypeSet kTypes = kFloatOrComplex;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return x == T(0) ? T(0) : x / y;
  }
};
struct XlogyFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 2;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return x == T(0) ? T(0) : x * vmath::Log(y);
  }
};
struct Xlog1pyFunction {
  static constexpr DTypeSet kTypes = kFloatingTypes;
  static constexpr double kCostNs = 10;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return x == T(0) ? T(0) : x * vmath::Log1p(y);
  }
};
struct ComplexXlogy {
  static constexpr DTypeSet kTypes = kComplexTypes;
  static constexpr double kCostNs = 20;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return x == T(0) ? T(0) : x * std::log(y);
  }
};

// By squaring; wraps as products do.
struct IntegerPow {
  static constexpr DTypeSet kTypes = kIntegerTypes;
  static constexpr double kCostNs = 5;
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    T result = 1;
    for (std::make_unsigned_t<T> n = static_cast<std::make_unsigned_t<T>>(y); n != 0; n >>= 1) {
      if (n & 1) result = scalar::Mul(result, x);
      x = scalar::Mul(x, x);
    }
    return result;
  }
};

// Integers have no negative powers.
class IntegerPowKernel : public Kernel {
 public:
  explicit IntegerPowKernel(const NodeInfo& node) : pow_(BinaryOnCpu<IntegerPow>().factory(node)) {}
  absl::Status Prepare(PrepareContext& p) override {
    is_signed_ = !IsUnsigned(p.input_type(1));
    return pow_->Prepare(p);
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& y = c.input(1);
    for (int64_t i = 0; is_signed_ && i < y.num_elements(); ++i) {
      if (y.IntAt(i) < 0) return InvalidArgument("integers have no negative powers, found exponent ", y.IntAt(i));
    }
    return pow_->Run(c);
  }

 private:
  std::unique_ptr<Kernel> pow_;
  bool is_signed_ = true;
};

class ClipKernel : public Kernel {
 public:
  explicit ClipKernel(const NodeInfo& node) {
    min_ = MinimumLoop(node.input_types[0]);
    max_ = MaximumLoop(node.input_types[0]);
    bytes_ = ElementSize(node.input_types[0]);
  }
  absl::Status Run(KernelContext& c) const override {
    const Shape shape = c.input(0).shape();
    for (int i : {1, 2}) {
      if (c.input(i).shape() != shape && c.input(i).num_elements() != 1) {
        return InvalidArgument("the bounds must be scalars or have the shape of t, ", shape.ToString(), ", found ",
                               c.input(i).shape().ToString());
      }
    }
    const char *low = static_cast<const char*>(c.input(1).raw_data()),
               *high = static_cast<const char*>(c.input(2).raw_data());
    const int64_t n = shape.num_elements();
    const int64_t low_step = c.input(1).num_elements() == 1 ? 0 : 1, high_step = c.input(2).num_elements() == 1 ? 0 : 1;
    const char* x = static_cast<const char*>(c.input(0).raw_data());
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, shape));
    char* z = static_cast<char*>(out->raw_data());
    c.ParallelFor(
        n, 0.5,
        [&](int64_t begin, int64_t end) {
          const MinimumFunction f;
          constexpr int64_t kBlock = 1024;
          for (int64_t k = begin; k < end; k += kBlock) {
            const int64_t count = std::min(kBlock, end - k);
            min_(&f, x + k * bytes_, 1, high + k * high_step * bytes_, high_step, z + k * bytes_, count);
            max_(&f, z + k * bytes_, 1, low + k * low_step * bytes_, low_step, z + k * bytes_, count);
          }
        },
        64);
    return absl::OkStatus();
  }

 private:
  BinaryLoop min_ = nullptr, max_ = nullptr;
  int64_t bytes_ = 0;
};

template <class F>
BinaryLoop LoopOf(DType dtype) {
  BinaryLoop loop = nullptr;
  Dispatch<F::kTypes.bits()>(dtype, [&](auto tag) { loop = internal::PickBinary<F, typename decltype(tag)::type>(); });
  return loop;
}

}  // namespace

BinaryLoop ProductLoop(DType dtype) { return LoopOf<Times>(dtype); }
BinaryLoop MaximumLoop(DType dtype) { return LoopOf<MaximumFunction>(dtype); }
BinaryLoop MinimumLoop(DType dtype) { return LoopOf<MinimumFunction>(dtype); }

void AddProductKernels(KernelRegistry& k) {
  k.Add("Mul", kCpu, BinaryOnCpu<Times>());
  k.Add("MulNoNan", kCpu, BinaryOnCpu<TimesNoNan>());
}

void AddExtremeKernels(KernelRegistry& k) {
  k.Add("Maximum", kCpu, BinaryOnCpu<MaximumFunction>());
  k.Add("Minimum", kCpu, BinaryOnCpu<MinimumFunction>());
  k.Add("ClipByValue", kCpu, KernelDef().Types("T", kRealTypes).Factory([](const NodeInfo& node) {
    return std::make_unique<ClipKernel>(node);
  }));
}

void AddPowerKernels(KernelRegistry& k) {
  k.Add("Pow", kCpu, BinaryOnCpu<PowFunction>());
  k.Add("Pow", kCpu, KernelDef().Types("T", kIntegerTypes).Factory([](const NodeInfo& node) {
    return std::make_unique<IntegerPowKernel>(node);
  }));
  k.Add("Xdivy", kCpu, BinaryOnCpu<XdivyFunction>());
  k.Add("Xlogy", kCpu, BinaryOnCpu<XlogyFunction>());
  k.Add("Xlogy", kCpu, BinaryOnCpu<ComplexXlogy>());
  k.Add("Xlog1py", kCpu, BinaryOnCpu<Xlog1pyFunction>());
}

}  // namespace sluice
