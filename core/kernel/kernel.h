// How an op runs on a device. A kernel has two phases:
//
//   class ReluKernel : public Kernel {
//     // Once for each plan: attributes, checks, choices.
//     absl::Status Prepare(PrepareContext& p) override { ... }
//     // Each step: branch-poor, no allocation when shapes are planned.
//     absl::Status Run(KernelContext& c) const override {
//       ASSIGN_OR_RETURN(Tensor* y, c.ForwardOrAllocate(0, 0, c.input(0).shape()));
//       ...
//     }
//   };
//
// A kernel belongs to an immutable plan that concurrent steps share, hence Run is const; what changes from step to step
// lives in resources. Kernels that wait (receive, dequeue) are asynchronous: they override Start instead and call
// `done` once, from any thread; the context stays valid until then.
#ifndef SLUICE_CORE_KERNEL_KERNEL_H_
#define SLUICE_CORE_KERNEL_KERNEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "core/base/cancellation.h"
#include "core/device/device.h"
#include "core/kernel/function_runner.h"
#include "core/kernel/rendezvous.h"
#include "core/kernel/resource_store.h"
#include "core/op/node_info.h"
#include "core/types/tensor.h"

namespace sluice {

// What Prepare knows: the node, its device, and whatever is static.
class PrepareContext {
 public:
  const NodeInfo* info = nullptr;
  Device* device = nullptr;
  ResourceStore* resources = nullptr;      // of the session or container, beyond the plan's life
  FunctionRunner* functions = nullptr;     // null when functions cannot run here
  std::vector<PartialShape> input_shapes;  // as inferred
  std::vector<PartialShape> output_shapes;
  std::vector<const Tensor*> constant_inputs;  // non-null where the input is a constant

  const NodeInfo& node() const { return *info; }
  template <typename T>
  absl::StatusOr<T> Attr(absl::string_view name) const {
    return GetAttr<T>(info->attrs, name);
  }
  DType input_type(int i) const { return BaseType(info->input_types[i]); }
  DType output_type(int i) const { return BaseType(info->output_types[i]); }
  int num_inputs() const { return static_cast<int>(info->input_types.size()); }
  int num_outputs() const { return static_cast<int>(info->output_types.size()); }
  // The flat positions of a (listed) argument.
  absl::StatusOr<ArgRange> InputRange(absl::string_view name) const;
};

// What is the same for all kernels of one step on one device.
struct StepContext {
  int64_t step_id = 0;
  Device* device = nullptr;
  ThreadPool* pool = nullptr;
  ResourceStore* resources = nullptr;
  Rendezvous* rendezvous = nullptr;  // null when the plan has one partition
  CancellationToken* cancellation = nullptr;
  FunctionRunner* functions = nullptr;
  void* runtime = nullptr;  // the executor's own
};

// Where the plan put an output.
struct PlannedOutput {
  Buffer* arena = nullptr;  // a transient buffer of the step's arena, else null
  int64_t bytes = 0;        // its capacity
};

// What Run sees. Filled by the executor; kernels use the methods.
class KernelContext {
 public:
  int num_inputs() const { return num_inputs_; }
  int num_outputs() const { return num_outputs_; }
  const NodeInfo& node() const { return *node_; }

  // A tensor that was never set (an uninitialised reference, a dead value) is not IsValid().
  const Tensor& input(int i) const { return *inputs_[i]; }
  // Input i to keep beyond this node: a copy when its bytes are transient (the step's arena) or not writable (lent by
  // their owner, as a fed array is), else the tensor itself when the step no longer needs it, else shared.
  absl::StatusOr<Tensor> TakeInput(int i);
  // The step reads input i no more after this node and nobody else holds its bytes: it may be overwritten.
  bool InputIsLastUse(int i) const;

  // A buffer for output i, of the node's output type: the planned one when it fits, else from the device's allocator.
  absl::StatusOr<Tensor*> Allocate(int output, const Shape& shape);
  // As Allocate, but takes over the buffer of `input` when it may be overwritten and has the same number of bytes.
  absl::StatusOr<Tensor*> ForwardOrAllocate(int input, int output, const Shape& shape);
  // Output i is `t` (its type must be the node's, its bytes stay valid for the step or longer).
  void SetOutput(int i, Tensor t) { *outputs_[i] = std::move(t); }
  Tensor* output(int i) { return outputs_[i]; }
  // Scratch memory for the time of this call.
  absl::StatusOr<Tensor> AllocateTemp(DType dtype, const Shape& shape);

  Device* device() const { return step_->device; }
  ResourceStore* resources() const { return step_->resources; }
  Rendezvous* rendezvous() const { return step_->rendezvous; }
  CancellationToken* cancellation() const { return step_->cancellation; }
  FunctionRunner* functions() const { return step_->functions; }
  int64_t step_id() const { return step_->step_id; }
  const StepContext& step() const { return *step_; }

  // Splits [0, total) over the pool; see ThreadPool::ParallelFor.
  void ParallelFor(int64_t total, double cost_ns, absl::FunctionRef<void(int64_t, int64_t)> body,
                   int64_t align = 1) const {
    step_->pool->ParallelFor(total, cost_ns, body, align);
  }

  // For the executor (and tests): points the context at a node.
  void Bind(const StepContext* step, const NodeInfo* node, Tensor** inputs, int num_inputs, Tensor** outputs,
            int num_outputs, const PlannedOutput* planned, uint64_t last_use_mask) {
    step_ = step;
    node_ = node;
    inputs_ = inputs;
    outputs_ = outputs;
    num_inputs_ = num_inputs;
    num_outputs_ = num_outputs;
    planned_ = planned;
    last_use_mask_ = last_use_mask;
  }

 private:
  const StepContext* step_ = nullptr;
  const NodeInfo* node_ = nullptr;
  Tensor** inputs_ = nullptr;
  Tensor** outputs_ = nullptr;
  const PlannedOutput* planned_ = nullptr;  // one for each output, or null
  uint64_t last_use_mask_ = 0;              // bit i: input i (i < 64) dies here
  int num_inputs_ = 0;
  int num_outputs_ = 0;
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual absl::Status Prepare(PrepareContext& p) { return absl::OkStatus(); }
  virtual absl::Status Run(KernelContext& c) const = 0;
  virtual bool IsAsync() const { return false; }
  using Done = std::function<void(absl::Status)>;
  virtual void Start(KernelContext& c, Done done) const { done(Run(c)); }
};

class AsyncKernel : public Kernel {
 public:
  bool IsAsync() const final { return true; }
  absl::Status Run(KernelContext& c) const final { return Internal("asynchronous kernel run as a synchronous one"); }
  void Start(KernelContext& c, Done done) const override = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_KERNEL_KERNEL_H_
