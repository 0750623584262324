// A variable: a tensor that lives across steps, behind a handle.
//
// Reading shares the bytes with the reader and costs no copy. Whoever changes the value takes the lock and asks for a
// place to write: the variable's own bytes when no reader holds them, else new ones. So a reader keeps the value that
// it read, and no reader sees half of an update. The lock is one word (core/base/use_word.h): reads do not keep each
// other out, and a use that meets no other costs two atomic instructions.
//
//   ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
//   VariableLocks lock({v.get()});
//   ASSIGN_OR_RETURN(Tensor* value, v->MutableValue());      // for a change of some elements
//
//   ASSIGN_OR_RETURN(Tensor next, v->Target());              // for a change of all elements: reads value(), writes
//   next, then
//   ... v->SetValue(std::move(next));                        // the two may be the same bytes
//
// Threads: Read, Assign and the questions from any thread. Methods marked REQUIRES the lock are for holders of
// VariableLocks. Ownership: the value is never transient; Assign takes what KernelContext::TakeInput returned. Errors:
// reading before the first assignment is FAILED_PRECONDITION and names the variable.
#ifndef SLUICE_CORE_KERNEL_VARIABLE_H_
#define SLUICE_CORE_KERNEL_VARIABLE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/use_word.h"
#include "core/kernel/resource_store.h"
#include "core/types/resource_handle.h"
#include "core/types/tensor.h"

namespace sluice {

class Variable final : public Resource {
 public:
  // `shape` is what the graph declares; values need not agree with it when an assignment does not validate shapes.
  Variable(std::string name, DType dtype, PartialShape shape)
      : name_(std::move(name)), dtype_(dtype), shape_(std::move(shape)) {}

  const std::string& name() const { return name_; }
  DType dtype() const { return dtype_; }
  const PartialShape& shape() const { return shape_; }

  bool IsInitialized() const;
  // The value, sharing its bytes.
  absl::StatusOr<Tensor> Read() const;
  // Replaces the value. An error when the type differs.
  absl::Status Assign(Tensor value);
  // Forgets the value: the variable is as before its first assignment.
  void Clear();
  // Grows with every change.
  uint64_t version() const;
  std::string DebugString() const override;

  // REQUIRES the lock, all below.
  absl::Status CheckInitialized() const;
  const Tensor& value() const { return value_; }
  // The value, with bytes that only the variable holds: copies them first when a reader still has them.
  absl::StatusOr<Tensor*> MutableValue(Allocator* allocator = HostAllocator());
  // A tensor of the value's shape to write every element of: the value itself when only the variable holds it, else new
  // bytes without contents.
  absl::StatusOr<Tensor> Target(Allocator* allocator = HostAllocator());
  void SetValue(Tensor value) {
    value_ = std::move(value);
    ++version_;
  }
  // Whether the value's elements may be overwritten where they are: nobody else holds the bytes. Whoever does calls
  // SetChanged.
  bool IsWritable() const { return value_.IsUniqueAndWritable(); }
  void SetChanged() { ++version_; }

 private:
  friend class VariableLocks;
  const std::string name_;
  const DType dtype_;
  const PartialShape shape_;
  mutable UseWord use_;  // of all below
  Tensor value_;         // !IsValid() until the first assignment
  uint64_t version_ = 0;
};

// Holds the locks of several variables (which may repeat) for its lifetime; takes them in one order everywhere, so that
// two updates that share variables do not deadlock.
class VariableLocks {
 public:
  explicit VariableLocks(absl::Span<Variable* const> variables);
  explicit VariableLocks(std::initializer_list<Variable*> variables)
      : VariableLocks(absl::Span<Variable* const>(variables.begin(), variables.size())) {}
  ~VariableLocks();
  VariableLocks(const VariableLocks&) = delete;
  VariableLocks& operator=(const VariableLocks&) = delete;
  // Different ones among those given.
  int num_variables() const { return static_cast<int>(sorted_.size()); }

 private:
  absl::InlinedVector<Variable*, 128> sorted_;
};

// The variable behind a handle (a scalar of type kResource, which reference edges also carry). The error says what the
// handle names instead.
absl::StatusOr<RefPtr<Variable>> FindVariable(const Tensor& handle, const ResourceStore& store);
// The same for as long as the tensor `handle` lives. When that only names the variable, `held` keeps it.
absl::StatusOr<Variable*> BorrowVariable(const Tensor& handle, const ResourceStore& store, RefPtr<Resource>* held);

}  // namespace sluice

#endif  // SLUICE_CORE_KERNEL_VARIABLE_H_
