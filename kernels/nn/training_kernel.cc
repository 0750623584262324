#include "kernels/nn/training_kernel.h"

#include <vector>

namespace sluice {

absl::Status UpdateKernelBase::Prepare(PrepareContext& p) {
  const OpDef& op = *p.node().op;
  ASSIGN_OR_RETURN(type_, p.Attr<DType>("T"));
  for (int i = 0; i < num_hyper_; ++i) {
    hyper_[i] = op.FindInput(hyper_names_[i]);
    if (hyper_[i] < 0) return Internal(op.name, " has no input ", hyper_names_[i]);
  }
  gradient_ = op.FindInput("grad");
  if (gradient_ < 0) gradient_ = op.FindInput("delta");
  indices_ = op.FindInput("indices");
  if (p.node().attrs.Find("use_nesterov") != nullptr) {
    ASSIGN_OR_RETURN(flags_.use_nesterov, p.Attr<bool>("use_nesterov"));
  }
  if (p.node().attrs.Find("update_slots") != nullptr) {
    ASSIGN_OR_RETURN(flags_.update_slots, p.Attr<bool>("update_slots"));
  }
  return absl::OkStatus();
}

absl::Status UpdateKernelBase::CheckShapes(KernelContext& c, const Variable* const* variables) const {
  const Shape& var = variables[0]->value().shape();
  const OpDef& op = *c.node().op;
  for (int i = 0; i < states_; ++i) {
    RETURN_IF_ERROR(variables[i]->CheckInitialized());
    const Tensor& value = variables[i]->value();
    if (value.dtype() != type_ || value.shape() != variables[0]->value().shape()) {
      return InvalidArgument(op.inputs[i].name, " is ", DTypeName(value.dtype()), " ", value.shape().ToString(),
                             ", wanted ", DTypeName(type_), " ", variables[0]->value().shape().ToString(), " as var");
    }
  }
  for (int i = 0; i < num_hyper_; ++i) {
    const Tensor& t = c.input(hyper_[i]);
    if (t.num_elements() != 1) {
      return InvalidArgument(hyper_names_[i], " is ", t.shape().ToString(), ", wanted a scalar");
    }
  }
  const Shape& gradient = c.input(gradient_).shape();
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
  std::array<RefPtr<Variable>, kMaxStates> held;
  Variable* variables[kMaxStates];
  for (int i = 0; i < states_; ++i) {
    ASSIGN_OR_RETURN(held[i], FindVariable(c.input(i), *c.resources()));
    variables[i] = held[i].get();
    for (int j = 0; j < i; ++j) {
      if (variables[j] == variables[i]) {
        return InvalidArgument(c.node().op->inputs[i].name, " and ", c.node().op->inputs[j].name,
                               " are the same variable, '", variables[i]->name(), "'");
      }
    }
  }
  {
    VariableLocks lock(absl::MakeConstSpan(variables, states_));
    RETURN_IF_ERROR(variables[0]->CheckInitialized());
    RETURN_IF_ERROR(CheckShapes(c, variables));
    Step step;
    step.flags = flags_;
    step.gradient = c.input(gradient_).raw_data();
    step.elements = variables[0]->value().num_elements();
    for (int i = 0; i < num_hyper_; ++i) step.hyper[i] = &c.input(hyper_[i]);
    if (indices_ < 0) {
      std::array<Tensor, kMaxStates> next;
      for (int i = 0; i < states_; ++i) {
        step.from[i] = variables[i]->value().raw_data();
        ASSIGN_OR_RETURN(next[i], variables[i]->Target());
        step.to[i] = next[i].raw_data();
      }
      Update(c, step);
      for (int i = 0; i < states_; ++i) variables[i]->SetValue(std::move(next[i]));
    } else {
      const Tensor& indices = c.input(indices_);
      std::vector<int64_t> rows(indices.num_elements());
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = indices.IntAt(i);
      step.rows = rows.data();
      step.num_rows = static_cast<int64_t>(rows.size());
      step.row_size = step.num_rows == 0 ? 0 : c.input(gradient_).num_elements() / step.num_rows;
      for (int i = 0; i < states_; ++i) {
        ASSIGN_OR_RETURN(Tensor * value, variables[i]->MutableValue());
        step.to[i] = value->raw_data();
        step.from[i] = step.to[i];
      }
      if (step.num_rows > 0) Update(c, step);
    }
  }
  if (c.num_outputs() > 0) c.SetOutput(0, c.input(0));
  return absl::OkStatus();
}

}  // namespace sluice
