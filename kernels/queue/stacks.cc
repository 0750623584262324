// Kernels of stacks: made anew in each step, known to nobody but those who get the handle.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"
#include "kernels/queue/handle.h"
#include "kernels/queue/queue_kernels.h"

namespace sluice {
namespace {

class Stack : public Resource {
 public:
  Stack(std::string name, DType dtype, int64_t max_size) : name_(std::move(name)), dtype_(dtype), max_size_(max_size) {}
  DType dtype() const { return dtype_; }

  absl::Status Push(Tensor t) {
    absl::MutexLock lock(&mu_);
    if (closed_) return InvalidArgument("stack '", name_, "' was closed");
    if (t.dtype() != dtype_) {
      return InvalidArgument("stack '", name_, "' holds ", DTypeName(dtype_), ", found ", DTypeName(t.dtype()));
    }
    if (max_size_ >= 0 && static_cast<int64_t>(elements_.size()) >= max_size_) {
      return InvalidArgument("stack '", name_, "' is full: its max_size is ", max_size_);
    }
    elements_.push_back(std::move(t));
    return absl::OkStatus();
  }
  absl::StatusOr<Tensor> Pop() {
    absl::MutexLock lock(&mu_);
    if (closed_) return InvalidArgument("stack '", name_, "' was closed");
    if (elements_.empty()) return InvalidArgument("stack '", name_, "' is empty");
    Tensor t = std::move(elements_.back());
    elements_.pop_back();
    return t;
  }
  void Close() {
    absl::MutexLock lock(&mu_);
    elements_.clear();
    closed_ = true;
  }
  std::string DebugString() const override { return absl::StrCat("Stack of ", DTypeName(dtype_)); }

 private:
  const std::string name_;
  const DType dtype_;
  const int64_t max_size_;
  absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Tensor> elements_ ABSL_GUARDED_BY(mu_);
};

absl::StatusOr<RefPtr<Stack>> FindStack(const KernelContext& c) {
  return FindByHandle<Stack>(c.input(0), *c.resources(), "a stack");
}

class StackKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(dtype_, p.Attr<DType>("elem_type"));
    ASSIGN_OR_RETURN(name_, p.Attr<std::string>("stack_name"));
    if (name_.empty()) name_ = p.node().name;
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    int64_t max_size = -1;
    if (c.num_inputs() > 0) {
      if (!c.input(0).shape().IsScalar()) {
        return InvalidArgument("max_size must be a scalar, found shape ", c.input(0).shape().ToString());
      }
      max_size = c.input(0).IntAt(0);
    }
    ResourceHandle handle;
    handle.name = name_;
    handle.type_name = "Stack";
    handle.dtypes = {dtype_};
    handle.shapes.resize(1);
    handle.resource = MakeRef<Stack>(name_, dtype_, max_size);
    c.SetOutput(0, Tensor::Scalar(std::move(handle)));
    return absl::OkStatus();
  }

 private:
  DType dtype_ = DType::kInvalid;
  std::string name_;
};

class PushKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Stack> stack, FindStack(c));
    ASSIGN_OR_RETURN(Tensor value, c.TakeInput(1));
    RETURN_IF_ERROR(stack->Push(value));
    c.SetOutput(0, std::move(value));
    return absl::OkStatus();
  }
};

class PopKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Stack> stack, FindStack(c));
    if (stack->dtype() != c.node().output_types[0]) {
      return InvalidArgument(stack->DebugString(), ", wanted ", DTypeName(c.node().output_types[0]));
    }
    ASSIGN_OR_RETURN(Tensor value, stack->Pop());
    c.SetOutput(0, std::move(value));
    return absl::OkStatus();
  }
};

class CloseKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Stack> stack, FindStack(c));
    stack->Close();
    return absl::OkStatus();
  }
};

}  // namespace

void AddStackKernelsCpu(KernelRegistry& k) {
  for (const char* v : {"", "V2"}) {
    k.Add(absl::StrCat("Stack", v), kCpu, KernelDef().Make<StackKernel>());
    k.Add(absl::StrCat("StackPush", v), kCpu, KernelDef().Make<PushKernel>());
    k.Add(absl::StrCat("StackPop", v), kCpu, KernelDef().Make<PopKernel>());
    k.Add(absl::StrCat("StackClose", v), kCpu, KernelDef().Make<CloseKernel>());
  }
}

}  // namespace sluice
