// An op of one's own: Softshrink, sign(x) max(|x| - limit, 0), with its gradient. custom_op.py compiles and uses it.
#include <cmath>

#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/kernel/op_library.h"
#include "kernels/common/type_dispatch.h"
#include "ops/expr/expr.h"

namespace {

using namespace sluice;

constexpr DTypeSet kFloatOrDouble = {DType::kFloat, DType::kDouble};

class SoftshrinkKernel : public Kernel {
 public:
  // Once for each plan: attributes.
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(limit_, p.Attr<float>("limit"));
    if (!(limit_ >= 0)) return InvalidArgument("limit must not be negative, found ", limit_);
    return absl::OkStatus();
  }

  // Each step, on any thread. The output takes over the input's memory when nobody else reads it.
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(Tensor* const y, c.ForwardOrAllocate(0, 0, x.shape()));
    Dispatch<kFloatOrDouble.bits()>(x.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T limit = static_cast<T>(limit_);
      c.ParallelFor(x.num_elements(), /*cost_ns=*/1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const T v = x.data<T>()[i];
          y->data<T>()[i] = std::abs(v) > limit ? v - std::copysign(limit, v) : std::isnan(v) ? v : T(0);
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  float limit_ = 0;
};

}  // namespace

extern "C" void SluiceRegisterOps(OpRegistry* ops, KernelRegistry* kernels) {
  ops->Define("Softshrink", "sign(x) max(|x| - limit, 0), element by element.")
      .Input("x", "T")
      .Output("y", "T")
      .Type("T", kFloatOrDouble)
      .Attr("limit: float = 0.5")
      .Shape(SameAs("x"))
      .Gradient([](GradientScope& g) {
        Out passed = Op2("NotEqual", g["y"], ZerosLike(g["y"]));
        g.Into("x") = g.dy() * Cast(passed, g["x"].dtype());
      });
  kernels->Add("Softshrink", kCpu, KernelDef().Types("T", kFloatOrDouble).Make<SoftshrinkKernel>());
}
