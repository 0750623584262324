#include "kernels/common/element_wise.h"

#include <algorithm>

#include "core/base/status.h"
#include "kernels/common/broadcast.h"

namespace sluice {
namespace {

// Elements between borders of pieces that threads share: whole cache lines whatever the type.
constexpr int64_t kPieceAlign = 64;

absl::Status CheckTypes(const PrepareContext& p, const ElementWiseFunction& f, bool has_loop) {
  if (has_loop && f.output == p.output_type(0)) return absl::OkStatus();
  if (!has_loop) return Internal("no loop over ", DTypeName(p.input_type(0)));
  return InvalidArgument("the result for ", DTypeName(p.input_type(0)), " is ", DTypeName(f.output),
                         ", the attributes say ", DTypeName(p.output_type(0)));
}

class ElementWiseKernel : public Kernel {
 public:
  explicit ElementWiseKernel(const ElementWiseFunction& f) : f_(f) {}
  const ElementWiseFunction& function() const { return f_; }

 protected:
  ElementWiseFunction f_;
};

class UnaryKernel final : public ElementWiseKernel {
 public:
  using ElementWiseKernel::ElementWiseKernel;
  absl::Status Prepare(PrepareContext& p) override {
    in_bytes_ = ElementSize(p.input_type(0));
    out_bytes_ = ElementSize(p.output_type(0));
    return CheckTypes(p, f_, f_.unary != nullptr);
  }
  absl::Status Run(KernelContext& c) const override {
    const char* x = static_cast<const char*>(c.input(0).raw_data());
    const int64_t n = c.input(0).num_elements();
    Tensor* out;
    if (in_bytes_ == out_bytes_) {
      ASSIGN_OR_RETURN(out, c.ForwardOrAllocate(0, 0, c.input(0).shape()));
    } else {
      ASSIGN_OR_RETURN(out, c.Allocate(0, c.input(0).shape()));
    }
    char* y = static_cast<char*>(out->raw_data());
    c.ParallelFor(
        n, f_.cost_ns,
        [&](int64_t begin, int64_t end) {
          f_.unary(f_.bytes, x + begin * in_bytes_, y + begin * out_bytes_, end - begin);
        },
        kPieceAlign);
    return absl::OkStatus();
  }

 private:
  int64_t in_bytes_ = 0, out_bytes_ = 0;
};

template <typename T>
bool HasZero(const Tensor& t) {
  const T* v = t.data<T>();
  return std::find(v, v + t.num_elements(), T(0)) != v + t.num_elements();
}

class BinaryKernel final : public ElementWiseKernel {
 public:
  using ElementWiseKernel::ElementWiseKernel;
  absl::Status Prepare(PrepareContext& p) override {
    in_bytes_ = ElementSize(p.input_type(0));
    out_bytes_ = ElementSize(p.output_type(0));
    f_.nonzero_divisor &= IsInteger(p.input_type(1));
    RETURN_IF_ERROR(CheckTypes(p, f_, f_.binary != nullptr));
    if (p.input_shapes[0].IsFullyKnown() && p.input_shapes[1].IsFullyKnown()) {
      const Shape x = p.input_shapes[0].ToShape(), y = p.input_shapes[1].ToShape();
      if (x == y) return absl::OkStatus();
      ASSIGN_OR_RETURN(plan_, BroadcastPlan::Make({&x, &y}));
      planned_x_ = x;
      planned_y_ = y;
      planned_ = true;
    }
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor& a = c.input(0);
    const Tensor& b = c.input(1);
    const char* x = static_cast<const char*>(a.raw_data());
    const char* y = static_cast<const char*>(b.raw_data());
    if (f_.nonzero_divisor && a.num_elements() > 0) RETURN_IF_ERROR(CheckDivisor(b));
    if (a.shape() == b.shape()) {
      const int64_t n = a.num_elements();
      ASSIGN_OR_RETURN(Tensor * out, Output(c, a.shape()));
      RunFlat(c, x, 1, y, 1, static_cast<char*>(out->raw_data()), n);
      return absl::OkStatus();
    }
    if (planned_ && a.shape() == planned_x_ && b.shape() == planned_y_) return RunPlan(c, plan_, x, y);
    ASSIGN_OR_RETURN(BroadcastPlan plan, BroadcastPlan::Make({&a.shape(), &b.shape()}));
    return RunPlan(c, plan, x, y);
  }

 private:
  absl::StatusOr<Tensor*> Output(KernelContext& c, const Shape& shape) const {
    if (in_bytes_ == out_bytes_) {
      for (int i : {0, 1}) {
        if (c.InputIsLastUse(i) && c.input(i).num_elements() == shape.num_elements())
          return c.ForwardOrAllocate(i, 0, shape);
      }
    }
    return c.Allocate(0, shape);
  }
  void RunFlat(KernelContext& c, const char* x, int64_t sx, const char* y, int64_t sy, char* z, int64_t n) const {
    c.ParallelFor(
        n, f_.cost_ns,
        [&](int64_t begin, int64_t end) {
          f_.binary(f_.bytes, x + begin * sx * in_bytes_, sx, y + begin * sy * in_bytes_, sy, z + begin * out_bytes_,
                    end - begin);
        },
        kPieceAlign);
  }
  absl::Status RunPlan(KernelContext& c, const BroadcastPlan& plan, const char* x, const char* y) const {
    ASSIGN_OR_RETURN(Tensor * out, Output(c, plan.output()));
    char* z = static_cast<char*>(out->raw_data());
    const int64_t n = plan.num_elements();
    if (n == 0) return absl::OkStatus();
    const int64_t sx = plan.step(0), sy = plan.step(1);
    if (plan.IsOneRun()) {
      RunFlat(c, x, sx, y, sy, z, n);
      return absl::OkStatus();
    }
    const double per_run = 5.0 / static_cast<double>(plan.run());
    c.ParallelFor(
        n, f_.cost_ns + per_run,
        [&](int64_t begin, int64_t end) {
          plan.ForEachRun(begin, end, [&](const int64_t* offset, int64_t at, int64_t count) {
            f_.binary(f_.bytes, x + offset[0] * in_bytes_, sx, y + offset[1] * in_bytes_, sy, z + at * out_bytes_,
                      count);
          });
        },
        kPieceAlign);
    return absl::OkStatus();
  }
  static absl::Status CheckDivisor(const Tensor& b) {
    bool zero = false;
    Dispatch<kIntegerTypes.bits()>(b.dtype(), [&](auto tag) { zero = HasZero<typename decltype(tag)::type>(b); });
    return zero ? InvalidArgument("integer division by zero") : absl::OkStatus();
  }

  int64_t in_bytes_ = 0, out_bytes_ = 0;
  bool planned_ = false;
  Shape planned_x_, planned_y_;
  BroadcastPlan plan_;
};

}  // namespace

std::unique_ptr<Kernel> MakeUnaryKernel(const ElementWiseFunction& f) { return std::make_unique<UnaryKernel>(f); }
std::unique_ptr<Kernel> MakeBinaryKernel(const ElementWiseFunction& f) { return std::make_unique<BinaryKernel>(f); }

const ElementWiseFunction* FunctionOf(const Kernel& kernel) {
  const auto* k = dynamic_cast<const ElementWiseKernel*>(&kernel);
  return k == nullptr ? nullptr : &k->function();
}

}  // namespace sluice
