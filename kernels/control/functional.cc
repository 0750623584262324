// Calls of functions, run by the session's FunctionRunner within the caller's step.
//
// A function that may wait makes its caller asynchronous: it runs on a thread for blocking work, so that the wait holds
// up nothing else in the step.
#include "core/base/status.h"
#include "kernels/control/control_kernels.h"

namespace sluice {
namespace {

using Handle = FunctionRunner::Handle;

class FunctionKernel : public Kernel {
 public:
  bool IsAsync() const final { return may_block_; }
  void Start(KernelContext& c, Done done) const final {
    if (!may_block_) return done(Run(c));
    c.step().pool->ScheduleBlocking([this, &c, done = std::move(done)] { done(Run(c)); });
  }

 protected:
  absl::StatusOr<Handle> Instantiate(PrepareContext& p, const FuncRef& function, int results) {
    if (p.functions == nullptr) return Unimplemented("functions cannot be called here");
    ASSIGN_OR_RETURN(Handle h, p.functions->Instantiate(function));
    if (p.functions->num_results(h) != results) {
      return InvalidArgument("function '", function.name, "' has ", p.functions->num_results(h), " results, wanted ",
                             results);
    }
    may_block_ = may_block_ || p.functions->MayBlock(h);
    return h;
  }
  absl::StatusOr<Handle> Instantiate(PrepareContext& p, absl::string_view attr, int results) {
    ASSIGN_OR_RETURN(FuncRef f, p.Attr<FuncRef>(attr));
    return Instantiate(p, f, results);
  }

 private:
  bool may_block_ = false;
};

absl::StatusOr<std::vector<Tensor>> TakeInputs(KernelContext& c, int from) {
  std::vector<Tensor> values;
  for (int i = from; i < c.num_inputs(); ++i) {
    ASSIGN_OR_RETURN(Tensor t, c.TakeInput(i));
    values.push_back(std::move(t));
  }
  return values;
}

absl::Status Call(KernelContext& c, Handle handle, std::vector<Tensor> args) {
  std::vector<Tensor> results;
  RETURN_IF_ERROR(c.functions()->Run(handle, c, std::move(args), &results));
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, std::move(results[i]));
  return absl::OkStatus();
}

// TensorFlow's truth of a tensor: a scalar that is not zero (not empty, for strings); any other tensor that has
// elements.
absl::StatusOr<bool> Truth(const Tensor& t) {
  if (t.rank() != 0) return t.num_elements() > 0;
  switch (t.dtype()) {
    case DType::kBool:
      return t.scalar<bool>();
    case DType::kFloat:
      return t.scalar<float>() != 0;
    case DType::kDouble:
      return t.scalar<double>() != 0;
    case DType::kString:
      return !t.scalar<std::string>().empty();
    default:
      break;
  }
  if (IsInteger(t.dtype())) return t.IntAt(0) != 0;
  return InvalidArgument("a condition cannot be ", DTypeName(t.dtype()));
}

class CallKernel final : public FunctionKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(function_, Instantiate(p, "f", p.num_outputs()));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(std::vector<Tensor> args, TakeInputs(c, 0));
    return Call(c, function_, std::move(args));
  }

 private:
  Handle function_ = 0;
};

class IfKernel final : public FunctionKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(then_, Instantiate(p, "then_branch", p.num_outputs()));
    ASSIGN_OR_RETURN(else_, Instantiate(p, "else_branch", p.num_outputs()));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(bool yes, Truth(c.input(0)));
    ASSIGN_OR_RETURN(std::vector<Tensor> args, TakeInputs(c, 1));
    return Call(c, yes ? then_ : else_, std::move(args));
  }

 private:
  Handle then_ = 0, else_ = 0;
};

class CaseKernel final : public FunctionKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(std::vector<FuncRef> branches, p.Attr<std::vector<FuncRef>>("branches"));
    for (const FuncRef& f : branches) {
      ASSIGN_OR_RETURN(Handle h, Instantiate(p, f, p.num_outputs()));
      branches_.push_back(h);
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    if (c.input(0).rank() != 0)
      return InvalidArgument("branch_index must be a scalar, found ", c.input(0).shape().ToString());
    int32_t i = c.input(0).scalar<int32_t>();
    if (i < 0 || i >= static_cast<int32_t>(branches_.size())) i = static_cast<int32_t>(branches_.size()) - 1;
    ASSIGN_OR_RETURN(std::vector<Tensor> args, TakeInputs(c, 1));
    return Call(c, branches_[i], std::move(args));
  }

 private:
  std::vector<Handle> branches_;
};

class WhileKernel final : public FunctionKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(cond_, Instantiate(p, "cond", 1));
    ASSIGN_OR_RETURN(body_, Instantiate(p, "body", p.num_outputs()));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(std::vector<Tensor> values, TakeInputs(c, 0));
    std::vector<Tensor> results;
    while (true) {
      if (c.cancellation() != nullptr && c.cancellation()->cancelled()) return c.cancellation()->status();
      RETURN_IF_ERROR(c.functions()->Run(cond_, c, values, &results));
      ASSIGN_OR_RETURN(bool more, Truth(results[0]));
      if (!more) break;
      results.clear();
      RETURN_IF_ERROR(c.functions()->Run(body_, c, std::move(values), &results));
      values = std::move(results);
      results.clear();
    }
    for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, std::move(values[i]));
    return absl::OkStatus();
  }

 private:
  Handle cond_ = 0, body_ = 0;
};

}  // namespace

void AddFunctionalKernelsCpu(KernelRegistry& k) {
  for (const char* op : {"PartitionedCall", "StatefulPartitionedCall"}) k.Add(op, kCpu, KernelDef().Make<CallKernel>());
  for (const char* op : {"If", "StatelessIf"}) k.Add(op, kCpu, KernelDef().Make<IfKernel>());
  for (const char* op : {"Case", "StatelessCase"}) k.Add(op, kCpu, KernelDef().Make<CaseKernel>());
  for (const char* op : {"While", "StatelessWhile"}) k.Add(op, kCpu, KernelDef().Make<WhileKernel>());
}

}  // namespace sluice
