// Comparisons, logic and bits.
#include <cmath>

#include "core/base/status.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/element_wise.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

struct LessFunction {
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x, T y) const {
    return x < y;
  }
};
struct LessEqualFunction {
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x, T y) const {
    return x <= y;
  }
};
struct GreaterFunction {
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x, T y) const {
    return x > y;
  }
};
struct GreaterEqualFunction {
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x, T y) const {
    return x >= y;
  }
};
struct EqualFunction {
  static constexpr DTypeSet kTypes =
      kArithmeticTypes | DTypeSet{DType::kBool, DType::kQint8, DType::kQuint8, DType::kQint32};
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x, T y) const {
    return x == y;
  }
};
struct NotEqualFunction {
  static constexpr DTypeSet kTypes = EqualFunction::kTypes;
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x, T y) const {
    return !(x == y);
  }
};
struct NearFunction {
  static constexpr DTypeSet kTypes = kArithmeticTypes;
  float tolerance = 0;
  static NearFunction Make(const NodeInfo& node) { return {node.Attr<float>("tolerance").value_or(1e-5f)}; }
  template <class T>
  SLUICE_HOST_DEVICE bool operator()(T x, T y) const {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<double>(x > y ? scalar::Sub(x, y) : scalar::Sub(y, x)) < static_cast<double>(tolerance);
    } else if constexpr (scalar::kIsComplex<T>) {
      return std::abs(x - y) < tolerance;
    } else {
      return std::abs(x - y) < static_cast<T>(tolerance);
    }
  }
};
struct AndFunction {
  static constexpr DTypeSet kTypes = {DType::kBool};
  SLUICE_HOST_DEVICE bool operator()(bool x, bool y) const { return x & y; }
};
struct OrFunction {
  static constexpr DTypeSet kTypes = {DType::kBool};
  SLUICE_HOST_DEVICE bool operator()(bool x, bool y) const { return x | y; }
};
struct OfIntegers {
  static constexpr DTypeSet kTypes = kIntegerTypes;
};
struct BitAnd : OfIntegers {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return static_cast<T>(x & y);
  }
};
struct BitOr : OfIntegers {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return static_cast<T>(x | y);
  }
};
struct BitXor : OfIntegers {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return static_cast<T>(x ^ y);
  }
};
// A count of bits within the width of T.
template <class T>
SLUICE_HOST_DEVICE int ShiftCount(T y) {
  const T most = sizeof(T) * 8 - 1;
  return static_cast<int>(y < T(0) ? T(0) : (y > most ? most : y));
}
struct ShiftLeft : OfIntegers {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return static_cast<T>(static_cast<std::make_unsigned_t<T>>(x) << ShiftCount(y));
  }
};
struct ShiftRight : OfIntegers {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return static_cast<T>(x >> ShiftCount(y));
  }
};

// Equal and NotEqual of strings, and the rule that shapes which do not broadcast compare as different.
class EqualityKernel : public Kernel {
 public:
  EqualityKernel(const NodeInfo& node, bool equal)
      : equal_(equal),
        of_strings_(BaseType(node.input_types[0]) == DType::kString),
        inner_(of_strings_ ? nullptr
                           : (equal ? BinaryOnCpu<EqualFunction>() : BinaryOnCpu<NotEqualFunction>()).factory(node)) {}
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(strict_, p.Attr<bool>("incompatible_shape_error"));
    if (!strict_) {
      // Shapes that do not go together must come to Run.
      p.input_shapes.assign(2, PartialShape());
    }
    return inner_ ? inner_->Prepare(p) : absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    if (!strict_ && !BroadcastShapes(c.input(0).shape(), c.input(1).shape()).ok()) {
      ASSIGN_OR_RETURN(Tensor * z, c.Allocate(0, Shape()));
      *z->data<bool>() = !equal_;
      return absl::OkStatus();
    }
    if (inner_) return inner_->Run(c);
    const Tensor x = c.input(0), y = c.input(1);
    ASSIGN_OR_RETURN(BroadcastPlan plan, BroadcastPlan::Make({&x.shape(), &y.shape()}));
    ASSIGN_OR_RETURN(Tensor * z, c.Allocate(0, plan.output()));
    if (plan.num_elements() == 0) return absl::OkStatus();
    const std::string *a = x.data<std::string>(), *b = y.data<std::string>();
    bool* out = z->data<bool>();
    plan.ForEachRun(0, plan.num_elements(), [&](const int64_t* offset, int64_t at, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        out[at + i] = (a[offset[0] + i * plan.step(0)] == b[offset[1] + i * plan.step(1)]) == equal_;
      }
    });
    return absl::OkStatus();
  }

 private:
  bool equal_, of_strings_;
  bool strict_ = true;
  std::unique_ptr<Kernel> inner_;
};

}  // namespace

void AddOrderKernels(KernelRegistry& k) {
  k.Add("Less", kCpu, BinaryOnCpu<LessFunction>());
  k.Add("LessEqual", kCpu, BinaryOnCpu<LessEqualFunction>());
  k.Add("Greater", kCpu, BinaryOnCpu<GreaterFunction>());
  k.Add("GreaterEqual", kCpu, BinaryOnCpu<GreaterEqualFunction>());
  k.Add("LogicalAnd", kCpu, BinaryOnCpu<AndFunction>(kAllTypes, ""));
  k.Add("LogicalOr", kCpu, BinaryOnCpu<OrFunction>(kAllTypes, ""));
}

void AddEqualityKernels(KernelRegistry& k) {
  constexpr DTypeSet kTypes = EqualFunction::kTypes | DTypeSet{DType::kString};
  for (bool equal : {true, false}) {
    k.Add(equal ? "Equal" : "NotEqual", kCpu, KernelDef().Types("T", kTypes).Factory([equal](const NodeInfo& node) {
      return std::make_unique<EqualityKernel>(node, equal);
    }));
  }
  k.Add("ApproximateEqual", kCpu, BinaryOnCpu<NearFunction>());
}

void AddBitKernels(KernelRegistry& k) {
  k.Add("BitwiseAnd", kCpu, BinaryOnCpu<BitAnd>());
  k.Add("BitwiseOr", kCpu, BinaryOnCpu<BitOr>());
  k.Add("BitwiseXor", kCpu, BinaryOnCpu<BitXor>());
  k.Add("LeftShift", kCpu, BinaryOnCpu<ShiftLeft>());
  k.Add("RightShift", kCpu, BinaryOnCpu<ShiftRight>());
}

}  // namespace sluice
