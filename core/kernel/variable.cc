#include "core/kernel/variable.h"

#include <algorithm>
#include <functional>
#include <typeinfo>

#include "core/base/status.h"

namespace sluice {
namespace {

class Reading {
 public:
  explicit Reading(UseWord* use) : use_(*use) { use_.BeginRead(); }
  ~Reading() { use_.EndRead(); }

 private:
  UseWord& use_;
};

}  // namespace

bool Variable::IsInitialized() const {
  const Reading reading(&use_);
  return value_.IsValid();
}

absl::StatusOr<Tensor> Variable::Read() const {
  const Reading reading(&use_);
  RETURN_IF_ERROR(CheckInitialized());
  return value_;
}

absl::Status Variable::Assign(Tensor value) {
  if (value.dtype() != dtype_) {
    return InvalidArgument("variable '", name_, "' holds ", DTypeName(dtype_), ", the value is ",
                           DTypeName(value.dtype()));
  }
  VariableLocks lock({this});
  std::swap(value_, value);
  ++version_;
  return absl::OkStatus();
}

void Variable::Clear() {
  Tensor old;  // goes after the lock
  VariableLocks lock({this});
  std::swap(value_, old);
  ++version_;
}

uint64_t Variable::version() const {
  const Reading reading(&use_);
  return version_;
}

std::string Variable::DebugString() const {
  const Reading reading(&use_);
  return absl::StrCat("Variable '", name_, "' ", DTypeName(dtype_), " ",
                      value_.IsValid() ? value_.shape().ToString() : shape_.ToString() + " (uninitialized)");
}

absl::Status Variable::CheckInitialized() const {
  if (value_.IsValid()) return absl::OkStatus();
  return FailedPrecondition("Attempting to use uninitialized value ", name_,
                            ": run its initializer (global_variables_initializer) or restore it first");
}

absl::StatusOr<Tensor*> Variable::MutableValue(Allocator* allocator) {
  RETURN_IF_ERROR(CheckInitialized());
  if (!value_.IsUniqueAndWritable()) {
    ASSIGN_OR_RETURN(value_, value_.Clone(allocator));
  }
  ++version_;
  return &value_;
}

absl::StatusOr<Tensor> Variable::Target(Allocator* allocator) {
  RETURN_IF_ERROR(CheckInitialized());
  if (value_.IsUniqueAndWritable()) return value_;
  return Tensor::Make(dtype_, value_.shape(), allocator);
}

VariableLocks::VariableLocks(absl::Span<Variable* const> variables) : sorted_(variables.begin(), variables.end()) {
  if (!std::is_sorted(sorted_.begin(), sorted_.end(), std::less<Variable*>())) {
    std::sort(sorted_.begin(), sorted_.end(), std::less<Variable*>());
  }
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end()), sorted_.end());
  for (Variable* v : sorted_) v->use_.BeginWrite();
}

VariableLocks::~VariableLocks() {
  for (auto v = sorted_.rbegin(); v != sorted_.rend(); ++v) (*v)->use_.EndWrite();
}

absl::StatusOr<Variable*> BorrowVariable(const Tensor& handle, const ResourceStore& store, RefPtr<Resource>* held) {
  if (!handle.IsValid() || BaseType(handle.dtype()) != DType::kResource || handle.num_elements() != 1) {
    return InvalidArgument("wanted the handle of a variable, found ",
                           handle.IsValid() ? absl::StrCat(DTypeName(handle.dtype()), " ", handle.shape().ToString())
                                            : std::string("no value"));
  }
  const ResourceHandle& h = handle.scalar<ResourceHandle>();
  Resource* resource = h.resource.get();
  if (resource == nullptr) {
    ASSIGN_OR_RETURN(*held, ResolveHandle(h, store));
    resource = held->get();
  }
  // Quicker than a dynamic_cast, which looks through base classes.
  const Resource& found = *resource;
  if (typeid(found) != typeid(Variable)) {
    return InvalidArgument("'", h.name, "' is a ", resource->DebugString(), ", wanted a variable");
  }
  return static_cast<Variable*>(resource);
}

absl::StatusOr<RefPtr<Variable>> FindVariable(const Tensor& handle, const ResourceStore& store) {
  RefPtr<Resource> held;
  ASSIGN_OR_RETURN(Variable* const variable, BorrowVariable(handle, store, &held));
  return RefPtr<Variable>::Share(variable);
}

}  // namespace sluice
