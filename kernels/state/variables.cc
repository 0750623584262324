// Making, reading and assigning variables.
#include "core/base/status.h"
#include "core/kernel/variable.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/state/state_kernels.h"

namespace sluice {
namespace {

// VarHandleOp, VariableV2 and Variable: the handle of a variable that the resource store keeps by container and name.
class VariableKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(DType dtype, p.Attr<DType>("dtype"));
    ASSIGN_OR_RETURN(PartialShape shape, p.Attr<PartialShape>("shape"));
    ASSIGN_OR_RETURN(std::string container, p.Attr<std::string>("container"));
    ASSIGN_OR_RETURN(std::string name, p.Attr<std::string>("shared_name"));
    if (container.empty()) container = ResourceStore::kDefaultContainer;
    if (name.empty()) name = p.node().name;
    ASSIGN_OR_RETURN(RefPtr<Variable> variable,
                     p.resources->FindOrMake<Variable>(container, name, [&]() -> absl::StatusOr<RefPtr<Variable>> {
                       return MakeRef<Variable>(name, dtype, shape);
                     }));
    if (variable->dtype() != dtype) {
      return InvalidArgument("variable ", container, "/", name, " exists with type ", DTypeName(variable->dtype()),
                             ", wanted ", DTypeName(dtype));
    }
    ResourceHandle handle;
    handle.device = p.device->name();
    handle.container = std::move(container);
    handle.name = std::move(name);
    handle.type_name = "Variable";
    handle.dtypes = {dtype};
    handle.shapes = {std::move(shape)};
    handle.resource = std::move(variable);
    handle_ = Tensor::Scalar(std::move(handle));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    c.SetOutput(0, handle_);
    return absl::OkStatus();
  }

 private:
  Tensor handle_;
};

class ReadKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(dtype_, p.Attr<DType>("dtype"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    if (v->dtype() != dtype_) {
      return InvalidArgument("variable ", v->name(), " is ", DTypeName(v->dtype()), ", wanted ", DTypeName(dtype_));
    }
    ASSIGN_OR_RETURN(Tensor value, v->Read());
    c.SetOutput(0, std::move(value));
    return absl::OkStatus();
  }

 private:
  DType dtype_ = DType::kInvalid;
};

// Assign and AssignVariableOp. A reference goes on as output 0.
class AssignKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(validate_, p.Attr<bool>("validate_shape"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    const Shape& shape = c.input(1).shape();
    if (validate_ && !v->shape().IsCompatibleWith(shape)) {
      return InvalidArgument("a value of shape ", shape.ToString(), " cannot be assigned to variable ", v->name(),
                             " of shape ", v->shape().ToString());
    }
    ASSIGN_OR_RETURN(Tensor value, c.TakeInput(1));
    RETURN_IF_ERROR(v->Assign(std::move(value)));
    if (c.num_outputs() > 0) c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  }

 private:
  bool validate_ = false;
};

// AssignAdd, AssignSub and their resource forms.
template <int kSign>
class AssignChangeKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    const Tensor& delta = c.input(1);
    VariableLocks lock({v.get()});
    RETURN_IF_ERROR(v->CheckInitialized());
    if (v->value().shape() != delta.shape() || v->dtype() != delta.dtype()) {
      return InvalidArgument("variable ", v->name(), " is ", DTypeName(v->dtype()), " ", v->value().shape().ToString(),
                             ", the value is ", DTypeName(delta.dtype()), " ", delta.shape().ToString());
    }
    ASSIGN_OR_RETURN(Tensor next, v->Target(c.device()->allocator()));
    const Tensor& now = v->value();
    bool known = Dispatch<kArithmeticTypes.bits()>(delta.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* x = now.data<T>();
      const T* d = delta.data<T>();
      T* y = next.data<T>();
      c.ParallelFor(delta.num_elements(), 0.3, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = static_cast<T>(kSign > 0 ? x[i] + d[i] : x[i] - d[i]);
      });
    });
    if (!known) return Unimplemented("there is no sum of ", DTypeName(delta.dtype()), " values");
    v->SetValue(std::move(next));
    if (c.num_outputs() > 0) c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  }
};

class IsInitializedKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    out->scalar<bool>() = v->IsInitialized();
    return absl::OkStatus();
  }
};

class VariableShapeKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    ASSIGN_OR_RETURN(Tensor value, v->Read());
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({value.rank()})));
    for (int i = 0; i < value.rank(); ++i) {
      if (out->dtype() == DType::kInt64) {
        out->data<int64_t>()[i] = value.dim(i);
      } else if (value.dim(i) > INT32_MAX) {
        return InvalidArgument("size ", value.dim(i), " of variable ", v->name(),
                               " does not fit int32; use out_type=int64");
      } else {
        out->data<int32_t>()[i] = static_cast<int32_t>(value.dim(i));
      }
    }
    return absl::OkStatus();
  }
};

class DestroyKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(ignore_, p.Attr<bool>("ignore_lookup_error"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const ResourceHandle& handle = c.input(0).scalar<ResourceHandle>();
    // Handles of plans that were made before stay valid: they see a variable that was never assigned.
    absl::StatusOr<RefPtr<Variable>> v = FindVariable(c.input(0), *c.resources());
    bool known = v.ok() && (*v)->IsInitialized();
    if (v.ok()) (*v)->Clear();
    if (!v.ok()) known = c.resources()->Erase(handle.container, handle.name);
    if (!known && !ignore_) return NotFound("resource ", handle.container, "/", handle.name, " does not exist");
    return absl::OkStatus();
  }

 private:
  bool ignore_ = true;
};

constexpr char kTemporary[] = "TemporaryVariable";  // the type in its handle

// A variable of this step: made anew each time, known to nobody but its readers.
class TemporaryVariableKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(dtype_, p.Attr<DType>("dtype"));
    ASSIGN_OR_RETURN(PartialShape shape, p.Attr<PartialShape>("shape"));
    if (!shape.IsFullyKnown()) {
      return InvalidArgument("a temporary variable needs a full shape, found ", shape.ToString());
    }
    shape_ = shape.ToShape();
    ASSIGN_OR_RETURN(name_, p.Attr<std::string>("var_name"));
    if (name_.empty()) name_ = p.node().name;
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    auto variable = MakeRef<Variable>(name_, dtype_, shape_);
    ASSIGN_OR_RETURN(Tensor value, Tensor::Make(dtype_, shape_, c.device()->allocator()));
    RETURN_IF_ERROR(variable->Assign(std::move(value)));
    ResourceHandle handle;
    handle.name = name_;
    handle.type_name = kTemporary;
    handle.resource = std::move(variable);
    c.SetOutput(0, Tensor::Scalar(std::move(handle)));
    return absl::OkStatus();
  }

 private:
  DType dtype_ = DType::kInvalid;
  Shape shape_;
  std::string name_;
};

class DestroyTemporaryVariableKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(name_, p.Attr<std::string>("var_name"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    if (c.input(0).scalar<ResourceHandle>().type_name != kTemporary || v->name() != name_) {
      return NotFound("the input is variable ", v->name(), ", wanted temporary variable ", name_);
    }
    ASSIGN_OR_RETURN(Tensor value, v->Read());
    v->Clear();
    c.SetOutput(0, std::move(value));
    return absl::OkStatus();
  }

 private:
  std::string name_;
};

class CountUpToKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(limit_, p.Attr<int64_t>("limit"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    VariableLocks lock({v.get()});
    RETURN_IF_ERROR(v->CheckInitialized());
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    if (!v->value().shape().IsScalar() || v->dtype() != out->dtype()) {
      return InvalidArgument("variable ", v->name(), " must be a scalar of type ", DTypeName(out->dtype()), ", found ",
                             DTypeName(v->dtype()), " ", v->value().shape().ToString());
    }
    int64_t count = v->value().IntAt(0);
    if (count >= limit_) return OutOfRange("variable ", v->name(), " has reached its limit of ", limit_);
    ASSIGN_OR_RETURN(Tensor * value, v->MutableValue());
    if (out->dtype() == DType::kInt64) {
      out->scalar<int64_t>() = count;
      value->scalar<int64_t>() = count + 1;
    } else {
      out->scalar<int32_t>() = static_cast<int32_t>(count);
      value->scalar<int32_t>() = static_cast<int32_t>(count + 1);
    }
    return absl::OkStatus();
  }

 private:
  int64_t limit_ = 0;
};

}  // namespace

void AddVariableKernelsCpu(KernelRegistry& k) {
  for (const char* op : {"VarHandleOp", "VariableV2", "Variable"}) k.Add(op, kCpu, KernelDef().Make<VariableKernel>());
  k.Add("ReadVariableOp", kCpu, KernelDef().Make<ReadKernel>());
  k.Add("Assign", kCpu, KernelDef().Make<AssignKernel>());
  k.Add("AssignVariableOp", kCpu, KernelDef().Make<AssignKernel>());
  for (const char* op : {"AssignAdd", "AssignAddVariableOp"})
    k.Add(op, kCpu, KernelDef().Make<AssignChangeKernel<1>>());
  for (const char* op : {"AssignSub", "AssignSubVariableOp"})
    k.Add(op, kCpu, KernelDef().Make<AssignChangeKernel<-1>>());
  k.Add("IsVariableInitialized", kCpu, KernelDef().Make<IsInitializedKernel>());
  k.Add("VarIsInitializedOp", kCpu, KernelDef().Make<IsInitializedKernel>());
  k.Add("VariableShape", kCpu, KernelDef().Make<VariableShapeKernel>());
  k.Add("DestroyResourceOp", kCpu, KernelDef().Make<DestroyKernel>());
  k.Add("TemporaryVariable", kCpu, KernelDef().Make<TemporaryVariableKernel>());
  k.Add("DestroyTemporaryVariable", kCpu, KernelDef().Make<DestroyTemporaryVariableKernel>());
  k.Add("CountUpTo", kCpu, KernelDef().Make<CountUpToKernel>());
  k.Add("ResourceCountUpTo", kCpu, KernelDef().Make<CountUpToKernel>());
}

}  // namespace sluice
