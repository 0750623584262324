// Constants, identities and reads of references.
#include "core/base/status.h"
#include "core/kernel/variable.h"
#include "kernels/control/control_kernels.h"

namespace sluice {
namespace {

class NothingKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return absl::OkStatus(); }
};

class ConstKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(value_, p.Attr<Tensor>("value"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    c.SetOutput(0, value_);
    return absl::OkStatus();
  }

 private:
  Tensor value_;
};

// A Placeholder that runs was not fed.
class PlaceholderKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    absl::StatusOr<PartialShape> shape = p.Attr<PartialShape>("shape");
    message_ = absl::StrCat("You must feed a value for placeholder tensor '", p.node().name, "' with dtype ",
                            DTypeName(p.output_type(0)), " and shape ", shape.ok() ? shape->ToString() : "?");
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override { return absl::InvalidArgumentError(message_); }

 private:
  std::string message_;
};

// An argument or feed that runs was not given: the session hands feeds over before the first node.
class ArgKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    if (c.output(0)->IsValid()) return absl::OkStatus();
    return Internal("argument has no value");
  }
};

class PassKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, c.input(i));
    return absl::OkStatus();
  }
};

class ReadRefKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    ASSIGN_OR_RETURN(Tensor value, v->Read());
    c.SetOutput(0, std::move(value));
    return absl::OkStatus();
  }
};

}  // namespace

void AddPassKernelsCpu(KernelRegistry& k) {
  for (const char* op : {"NoOp", "ControlTrigger"}) k.Add(op, kCpu, KernelDef().Make<NothingKernel>());
  k.Add("Const", kCpu, KernelDef().Make<ConstKernel>());
  for (const char* op : {"Placeholder", "PlaceholderV2"}) k.Add(op, kCpu, KernelDef().Make<PlaceholderKernel>());
  k.Add("_Arg", kCpu, KernelDef().Make<ArgKernel>());
  k.Add("_Retval", kCpu, KernelDef().Make<NothingKernel>());
  for (const char* op : {"Identity", "IdentityN", "Snapshot", "StopGradient", "GuaranteeConst", "PreventGradient",
                         "RefIdentity", "PlaceholderWithDefault"}) {
    k.Add(op, kCpu, KernelDef().Make<PassKernel>());
  }
  k.Add("_ReadRef", kCpu, KernelDef().Make<ReadRefKernel>());
}

}  // namespace sluice
