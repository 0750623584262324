#include "kernels/nn/training_kernel.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {
namespace {

constexpr char kTogether[] = "_FusedUpdates";

// Stands for the kernel of a rule that there is not.
class NoRule final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const std::string op, p.Attr<std::string>("op"));
    return InvalidArgument("'", op, "' is no update of variables by a rule");
  }
  absl::Status Run(KernelContext&) const override { return Internal("an update without a rule"); }
};

bool IsDenseUpdate(const KernelRegistry& kernels, const NodeInfo& node) {
  const KernelDef* def = kernels.Find(node, kCpu);
  if (def == nullptr || node.op->name == kTogether) return false;
  const std::unique_ptr<Kernel> kernel = def->factory(node);
  return dynamic_cast<const UpdateKernelBase*>(kernel.get()) != nullptr;
}

}  // namespace

absl::Status UpdateKernelBase::Prepare(PrepareContext& p) {
  const OpDef& op = *p.node().op;
  ASSIGN_OR_RETURN(type_, p.Attr<DType>("T"));
  if (p.node().attrs.Find("use_nesterov") != nullptr) {
    ASSIGN_OR_RETURN(flags_.use_nesterov, p.Attr<bool>("use_nesterov"));
  }
  if (p.node().attrs.Find("update_slots") != nullptr) {
    ASSIGN_OR_RETURN(flags_.update_slots, p.Attr<bool>("update_slots"));
  }
  if (op.name == kTogether) return PrepareTogether(p);
  for (int i = 0; i < num_hyper_; ++i) {
    hyper_[i] = op.FindInput(hyper_names_[i]);
    if (hyper_[i] < 0) return Internal(op.name, " has no input ", hyper_names_[i]);
  }
  gradient_ = op.FindInput("grad");
  if (gradient_ < 0) gradient_ = op.FindInput("delta");
  indices_ = op.FindInput("indices");
  for (int i = 0; i < states_; ++i) state_names_.push_back(op.inputs[i].name);
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::PrepareTogether(PrepareContext& p) {
  const auto& types = p.node().input_types;
  ASSIGN_OR_RETURN(const int64_t count, p.Attr<int64_t>("count"));
  ASSIGN_OR_RETURN(state_names_, p.Attr<std::vector<std::string>>("states"));
  ASSIGN_OR_RETURN(sources_, p.Attr<std::vector<std::string>>("sources"));
  if (count < 1 || count > kMaxUpdatesTogether || static_cast<int64_t>(sources_.size()) != count) {
    return InvalidArgument("count is ", count, " with ", sources_.size(), " sources, wanted as many, 1 to ",
                           kMaxUpdatesTogether);
  }
  count_ = static_cast<int>(count);
  gradient_ = states_;
  const int hyper = count_ * (states_ + 1);
  if (static_cast<int>(state_names_.size()) != states_ || static_cast<int>(types.size()) != hyper + num_hyper_) {
    return InvalidArgument("found ", types.size(), " inputs and ", state_names_.size(), " states, wanted ",
                           hyper + num_hyper_, " and ", states_);
  }
  for (int i = 0; i < num_hyper_; ++i) hyper_[i] = hyper + i;
  for (int i = 0; i < static_cast<int>(types.size()); ++i) {
    const bool is_state = i < hyper && i % (states_ + 1) < states_;
    const bool fits = is_state ? types[i] == DType::kResource || types[i] == RefType(type_)
                               : types[i] == type_ || (i >= hyper && types[i] == DType::kInt64);
    if (!fits) {
      return InvalidArgument("input ", i, " is ", DTypeName(types[i]), ", wanted ", is_state ? "a variable of " : "",
                             DTypeName(type_));
    }
  }
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::CheckHyper(KernelContext& c, const Tensor** hyper) const {
  for (int i = 0; i < num_hyper_; ++i) {
    hyper[i] = &c.input(hyper_[i]);
    if (hyper[i]->num_elements() != 1) {
      return InvalidArgument(hyper_names_[i], " is ", hyper[i]->shape().ToString(), ", wanted a scalar");
    }
  }
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::CheckShapes(KernelContext& c, Variable* const* variables, int u) const {
  for (int i = 0; i < states_; ++i) {
    RETURN_IF_ERROR(variables[i]->CheckInitialized());
    const Tensor& value = variables[i]->value();
    if (value.dtype() != type_ || value.shape() != variables[0]->value().shape()) {
      return InvalidArgument(state_names_[i], " is ", DTypeName(value.dtype()), " ", value.shape().ToString(),
                             ", wanted ", DTypeName(type_), " ", variables[0]->value().shape().ToString(), " as var");
    }
  }
  const Shape& var = variables[0]->value().shape();
  const Shape& gradient = c.input(InputOf(u, states_)).shape();
  if (indices_ < 0) {
    if (gradient == var) return absl::OkStatus();
    return InvalidArgument("the gradient is ", gradient.ToString(), ", wanted the shape of var, ", var.ToString());
  }
  const Tensor& indices = c.input(indices_);
  if (indices.rank() != 1) return InvalidArgument("indices is ", indices.shape().ToString(), ", wanted a vector");
  if (var.rank() < 1) return InvalidArgument("var is a scalar, wanted rows to update");
  Shape wanted = var;
  wanted.SetDim(0, indices.dim(0));
  if (gradient != wanted) {
    return InvalidArgument("the gradient is ", gradient.ToString(), ", wanted ", wanted.ToString(),
                           ", a row for each index");
  }
  for (int64_t i = 0; i < indices.num_elements(); ++i) {
    const int64_t row = indices.IntAt(i);
    if (row < 0 || row >= var.dim(0)) {
      return InvalidArgument("indices[", i, "] is ", row, ", wanted a row of var in [0, ", var.dim(0), ")");
    }
  }
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::Run(KernelContext& c) const {
  absl::InlinedVector<RefPtr<Resource>, 4> held;
  absl::InlinedVector<Variable*, kMaxUpdatesTogether * kMaxStates> variables;
  for (int u = 0; u < count_; ++u) {
    for (int i = 0; i < states_; ++i) {
      RefPtr<Resource> keep;
      absl::StatusOr<Variable*> v = BorrowVariable(c.input(InputOf(u, i)), *c.resources(), &keep);
      if (!v.ok()) return Annotate(v.status(), Source(u));
      if (keep) held.push_back(std::move(keep));
      variables.push_back(*v);
    }
  }
  RETURN_IF_ERROR(Locked(c, variables.data(), 0, count_));
  if (c.num_outputs() > 0) c.SetOutput(0, c.input(0));
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::Locked(KernelContext& c, Variable* const* variables, int first, int count) const {
  {
    const VariableLocks lock(absl::MakeConstSpan(variables, count * states_));
    if (lock.num_variables() == count * states_) return Apply(c, variables, first, count);
  }
  // Two names of one variable: updates follow each other.
  for (int u = 0; count > 1 && u < count; ++u) {
    RETURN_IF_ERROR(Locked(c, variables + u * states_, first + u, 1));
  }
  for (int i = 0; count == 1 && i < states_; ++i) {
    for (int j = 0; j < i; ++j) {
      if (variables[j] != variables[i]) continue;
      return InvalidArgument(Source(first), state_names_[i], " and ", state_names_[j], " are the same variable, '",
                             variables[i]->name(), "'");
    }
  }
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::Apply(KernelContext& c, Variable* const* variables, int first, int count) const {
  const Tensor* hyper[kMaxHyper];
  for (int u = 0; u < count; ++u) {
    absl::Status checked = variables[u * states_]->CheckInitialized();
    if (checked.ok() && u == 0) checked = CheckHyper(c, hyper);
    if (checked.ok()) checked = CheckShapes(c, variables + u * states_, first + u);
    if (!checked.ok()) return Annotate(checked, Source(first + u));
  }
  if (indices_ >= 0) return ApplyToRows(c, variables, hyper);
  absl::InlinedVector<std::pair<int, Tensor>, kMaxUpdatesTogether * kMaxStates> fresh;  // what readers do not hold
  absl::InlinedVector<Step, kMaxUpdatesTogether> steps(count);
  for (int u = 0; u < count; ++u) {
    Step& step = steps[u];
    step.gradient = c.input(InputOf(first + u, states_)).raw_data();
    step.elements = variables[u * states_]->value().num_elements();
    for (int i = 0; i < states_; ++i) {
      Variable& v = *variables[u * states_ + i];
      step.from[i] = step.to[i] = const_cast<void*>(v.value().raw_data());
      if (v.IsWritable()) continue;
      ASSIGN_OR_RETURN(Tensor to, v.Target());
      step.to[i] = to.raw_data();
      fresh.emplace_back(u * states_ + i, std::move(to));
    }
  }
  Update(c, hyper, steps);
  for (auto& [i, value] : fresh) variables[i]->SetValue(std::move(value));
  for (int i = 0; i < count * states_; ++i) variables[i]->SetChanged();
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::ApplyToRows(KernelContext& c, Variable* const* variables,
                                           const Tensor* const* hyper) const {
  const Tensor& indices = c.input(indices_);
  std::vector<int64_t> rows(indices.num_elements());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = indices.IntAt(i);
  Step step;
  step.gradient = c.input(gradient_).raw_data();
  step.rows = rows.data();
  step.num_rows = static_cast<int64_t>(rows.size());
  step.row_size = step.num_rows == 0 ? 0 : c.input(gradient_).num_elements() / step.num_rows;
  for (int i = 0; i < states_; ++i) {
    ASSIGN_OR_RETURN(Tensor * value, variables[i]->MutableValue());
    step.to[i] = value->raw_data();
    step.from[i] = step.to[i];
  }
  if (step.num_rows > 0) Update(c, hyper, absl::MakeConstSpan(&step, 1));
  return absl::OkStatus();
}

bool CanUpdateTogether(const KernelRegistry& kernels, const NodeInfo& node) {
  return node.attrs.Find("_kernel") == nullptr && node.op->FindInput("indices") < 0 && IsDenseUpdate(kernels, node);
}

void AddTogetherTrainingCpu(KernelRegistry& k) {
  k.Add(kTogether, kCpu, KernelDef().Types("T", kFloatingTypes).Factory([&k](const NodeInfo& node) {
    OpDef op;
    op.name = node.Attr<std::string>("op").value_or("");
    NodeInfo update;
    update.op = &op;
    update.attrs = node.attrs;
    std::unique_ptr<Kernel> kernel;
    if (IsDenseUpdate(k, update)) return k.Find(update, kCpu)->factory(update);
    kernel = std::make_unique<NoRule>();
    return kernel;
  }));
}

}  // namespace sluice
