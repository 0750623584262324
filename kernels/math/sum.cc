// Sums, differences and products of two tensors, and sums of many.
#include <algorithm>

#include "core/base/status.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/element_wise.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

struct Arithmetic {
  static constexpr DTypeSet kTypes = kArithmeticTypes;
};
struct Plus : Arithmetic {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::Add(x, y);
  }
};
struct Minus : Arithmetic {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    return scalar::Sub(x, y);
  }
};
struct SquaredDifferenceFunction : Arithmetic {
  template <class T>
  SLUICE_HOST_DEVICE T operator()(T x, T y) const {
    const T d = scalar::Sub(x, y);
    return scalar::Mul(d, scalar::Conj(d));
  }
};

// Strings are joined.
class JoinStrings : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0), y = c.input(1);
    ASSIGN_OR_RETURN(BroadcastPlan plan, BroadcastPlan::Make({&x.shape(), &y.shape()}));
    ASSIGN_OR_RETURN(Tensor * z, c.Allocate(0, plan.output()));
    if (plan.num_elements() == 0) return absl::OkStatus();
    const std::string *a = x.data<std::string>(), *b = y.data<std::string>();
    std::string* out = z->data<std::string>();
    plan.ForEachRun(0, plan.num_elements(), [&](const int64_t* offset, int64_t at, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        out[at + i] = absl::StrCat(a[offset[0] + i * plan.step(0)], b[offset[1] + i * plan.step(1)]);
      }
    });
    return absl::OkStatus();
  }
};

class AddNKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    bytes_ = ElementSize(p.input_type(0));
    plus_ = SumLoop(p.input_type(0));
    return plus_ == nullptr ? Unimplemented("no sum of ", DTypeName(p.input_type(0))) : absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Shape shape = c.input(0).shape();
    for (int i = 1; i < c.num_inputs(); ++i) {
      if (c.input(i).shape() != shape) {
        return InvalidArgument("the inputs must have one shape, found ", shape.ToString(), " (input 0) and ",
                               c.input(i).shape().ToString(), " (input ", i, ")");
      }
    }
    // The sum may take the place of any input that dies here; it is written block by block after all are read.
    int target = 0;
    for (int i = 0; i < c.num_inputs(); ++i) {
      if (c.InputIsLastUse(i)) {
        target = i;
        break;
      }
    }
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(target, 0, shape));
    char* z = static_cast<char*>(out->raw_data());
    auto at = [&](int i, int64_t k) { return static_cast<const char*>(c.input(i).raw_data()) + k * bytes_; };
    c.ParallelFor(
        shape.num_elements(), 0.2 * c.num_inputs(),
        [&](int64_t begin, int64_t end) {
          constexpr int64_t kBlock = 1024;
          alignas(64) char sum[kBlock * 16];
          const unsigned char f[kMaxFunctionBytes] = {};
          for (int64_t k = begin; k < end; k += kBlock) {
            const int64_t n = std::min(kBlock, end - k);
            if (c.num_inputs() == 1) {
              std::memmove(z + k * bytes_, at(0, k), n * bytes_);
              continue;
            }
            if (c.num_inputs() == 2) {
              plus_(&f, at(0, k), 1, at(1, k), 1, z + k * bytes_, n);
              continue;
            }
            plus_(&f, at(0, k), 1, at(1, k), 1, sum, n);
            for (int i = 2; i + 1 < c.num_inputs(); ++i) plus_(&f, sum, 1, at(i, k), 1, sum, n);
            plus_(&f, sum, 1, at(c.num_inputs() - 1, k), 1, z + k * bytes_, n);
          }
        },
        64);
    return absl::OkStatus();
  }

 private:
  BinaryLoop plus_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace

BinaryLoop SumLoop(DType dtype) {
  BinaryLoop loop = nullptr;
  Dispatch<kArithmeticTypes.bits()>(
      dtype, [&](auto tag) { loop = internal::PickBinary<Plus, typename decltype(tag)::type>(); });
  return loop;
}

void AddSumKernels(KernelRegistry& k) {
  k.Add("Add", kCpu, BinaryOnCpu<Plus>());
  k.Add("Add", kCpu, KernelDef().Types("T", {DType::kString}).Make<JoinStrings>());
  k.Add("AddV2", kCpu, BinaryOnCpu<Plus>());
  k.Add("Sub", kCpu, BinaryOnCpu<Minus>());
  k.Add("SquaredDifference", kCpu, BinaryOnCpu<SquaredDifferenceFunction>());
  for (const char* op : {"AddN", "AccumulateNV2"})
    k.Add(op, kCpu, KernelDef().Types("T", kArithmeticTypes).Make<AddNKernel>());
}

}  // namespace sluice
