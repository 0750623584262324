// Tensors of given elements.
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

class FillKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const IntList sizes, ReadIntVector(c.input(0), "dims"));
    const Tensor& value = c.input(1);
    if (value.rank() != 0) return InvalidArgument("value must be a scalar, found shape ", value.shape().ToString());
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    FillTensor(c, out, value.raw_data());
    return absl::OkStatus();
  }
};

class ZerosLikeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    if (in.dtype() == DType::kVariant || in.dtype() == DType::kResource) {
      return Unimplemented("zeros of type ", DTypeName(in.dtype()));
    }
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, in.shape()));
    ZeroTensor(c, out);
    return absl::OkStatus();
  }
};

class OnesLikeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, c.input(0).shape()));
    Dispatch<(kArithmeticTypes | DTypeSet{DType::kBool}).bits()>(out->dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T one = static_cast<T>(1);
      FillTensor(c, out, &one);
    });
    return absl::OkStatus();
  }
};

class EmptyKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(init_, p.Attr<bool>("init"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const IntList sizes, ReadIntVector(c.input(0), "shape"));
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (init_) ZeroTensor(c, out);
    return absl::OkStatus();
  }

 private:
  bool init_ = false;
};

class DeepCopyKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, in.shape()));
    CopyElements(in.dtype(), out->raw_data(), in.raw_data(), in.num_elements());
    return absl::OkStatus();
  }
};

class OneHotKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(axis_, p.Attr<int64_t>("axis"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& indices = c.input(0);
    ASSIGN_OR_RETURN(const int64_t depth, ReadIntScalar(c.input(1), "depth"));
    if (depth < 0) return InvalidArgument("depth must be non-negative, found ", depth);
    const Tensor& on = c.input(2);
    const Tensor& off = c.input(3);
    if (on.rank() != 0 || off.rank() != 0) return InvalidArgument("on_value and off_value must be scalars");
    if (axis_ < -1 || axis_ > indices.rank())
      return InvalidArgument("axis ", axis_, " is not in [-1, ", indices.rank(), "]");
    const int axis = axis_ < 0 ? indices.rank() : static_cast<int>(axis_);
    IntList sizes(indices.shape().dims().begin(), indices.shape().dims().end());
    sizes.insert(sizes.begin() + axis, depth);
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    FillTensor(c, out, off.raw_data());
    if (out->num_elements() == 0) return absl::OkStatus();
    const int64_t inner = SizeOfDims(indices.shape(), axis, indices.rank());
    DispatchUnit(out->dtype(), [&](auto tag) {
      using U = typename decltype(tag)::type;
      const U& value = *on.data<U>();
      U* to = out->data<U>();
      for (int64_t i = 0; i < indices.num_elements(); ++i) {
        const int64_t at = indices.IntAt(i);
        if (at >= 0 && at < depth) to[(i / inner * depth + at) * inner + i % inner] = value;
      }
    });
    return absl::OkStatus();
  }

 private:
  int64_t axis_ = -1;
};

}  // namespace

void AddConstantKernels(KernelRegistry& k) {
  k.Add("Fill", kCpu, KernelDef().Make<FillKernel>());
  k.Add("ZerosLike", kCpu, KernelDef().Make<ZerosLikeKernel>());
  k.Add("OnesLike", kCpu, KernelDef().Make<OnesLikeKernel>());
  k.Add("Empty", kCpu, KernelDef().Make<EmptyKernel>());
  k.Add("DeepCopy", kCpu, KernelDef().Make<DeepCopyKernel>());
  k.Add("OneHot", kCpu, KernelDef().Make<OneHotKernel>());
}

}  // namespace sluice
