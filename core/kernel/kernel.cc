#include "core/kernel/kernel.h"

#include "core/base/status.h"

namespace sluice {
namespace {

bool MayForward(const Tensor& from, DType dtype, const Shape& shape) {
  return IsPlain(dtype) && IsPlain(from.dtype()) &&
         from.num_bytes() == static_cast<size_t>(shape.num_elements()) * ElementSize(dtype);
}

// What an output holds: a reference is the handle of its variable.
DType OutputType(const NodeInfo& node, int output) {
  DType t = node.output_types[output];
  return IsRefType(t) ? DType::kResource : t;
}

}  // namespace

absl::StatusOr<ArgRange> PrepareContext::InputRange(absl::string_view name) const {
  return FindArgRange(info->op->inputs, info->attrs, name);
}

absl::StatusOr<Tensor> KernelContext::TakeInput(int i) {
  Tensor& t = *inputs_[i];
  // Bytes of the step's arena, and those that are only lent to it: a fed array, which its owner may change after the
  // step.
  if (t.IsTransient() || (t.buffer() != nullptr && !t.buffer()->writable())) return t.Clone(device()->allocator());
  if (i < 64 && ((last_use_mask_ >> i) & 1) != 0) return std::move(t);
  return t;
}

bool KernelContext::InputIsLastUse(int i) const {
  if (i >= 64 || ((last_use_mask_ >> i) & 1) == 0) return false;
  // Inside the arena the plan knows of every alias; elsewhere the reference count does.
  return inputs_[i]->IsTransient() || inputs_[i]->IsUniqueAndWritable();
}

absl::StatusOr<Tensor*> KernelContext::Allocate(int output, const Shape& shape) {
  const DType dtype = OutputType(*node_, output);
  Tensor* t = outputs_[output];
  if (planned_ != nullptr && planned_[output].arena != nullptr) {
    Buffer* arena = planned_[output].arena;
    // The frame keeps the tensor from step to step, so usually nothing changes.
    if (t->buffer() == arena && t->dtype() == dtype && t->shape() == shape) return t;
    int64_t bytes = MultiplyWithoutOverflow(shape.num_elements(), static_cast<int64_t>(ElementSize(dtype)));
    if (bytes >= 0 && bytes <= planned_[output].bytes) {
      *t = Tensor(dtype, shape, RefPtr<Buffer>::Share(arena));
      return t;
    }
  }
  absl::StatusOr<Tensor> made = Tensor::Make(dtype, shape, device()->allocator());
  if (!made.ok()) return made.status();
  *t = std::move(*made);
  return t;
}

absl::StatusOr<Tensor*> KernelContext::ForwardOrAllocate(int input, int output, const Shape& shape) {
  if (planned_ == nullptr || planned_[output].arena == nullptr) {
    Tensor& from = *inputs_[input];
    const DType dtype = OutputType(*node_, output);
    if (MayForward(from, dtype, shape) && !from.IsTransient() && InputIsLastUse(input)) {
      Tensor* t = outputs_[output];
      // The input keeps its reference until the executor releases it, since the kernel still reads it.
      *t = from.dtype() == dtype ? from.WithShape(shape) : from.Bitcast(dtype, shape);
      return t;
    }
  }
  return Allocate(output, shape);
}

absl::StatusOr<Tensor> KernelContext::AllocateTemp(DType dtype, const Shape& shape) {
  return Tensor::Make(dtype, shape, device()->allocator());
}

}  // namespace sluice
