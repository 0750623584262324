// Runs one op on the CPU without a session, for the tests of kernels.
//
//   KernelTester t(DefineMathOps, AddMathKernelsCpu);
//   ASSERT_OK_AND_ASSIGN ... t.RunOp("AddV2", {Tensor::Vector<float>({1, 2}), Tensor::Scalar(3.f)})
//
// Types and shapes are inferred by the graph as for a user. An op without state runs twice, once prepared with constant
// inputs and once with nothing known of shapes and values, and the two must agree with each other and with the inferred
// shapes. Resources live as long as the tester.
#ifndef SLUICE_KERNELS_COMMON_KERNEL_TEST_H_
#define SLUICE_KERNELS_COMMON_KERNEL_TEST_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel_registry.h"
#include "core/op/op_registry.h"
#include "core/types/numeric_types.h"

namespace sluice {

class KernelTester {
 public:
  KernelTester(const std::function<void(OpRegistry&)>& define_ops,
               const std::function<void(KernelRegistry&)>& add_kernels, int parallelism = 2);
  ~KernelTester();

  absl::StatusOr<std::vector<Tensor>> RunOp(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs = {});
  // The first output; errors become a failed CHECK with their message.
  Tensor Get(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs = {});
  // "float [2] 1 2" of the first output, or "INVALID_ARGUMENT: message".
  std::string Text(absl::string_view op, std::vector<Tensor> inputs, AttrMap attrs = {});
  // The shapes the rule infers from the texts "[2,?]"; one text with ';' between outputs, or the error.
  std::string Shapes(absl::string_view op, std::vector<std::string> input_shapes, std::vector<DType> input_types,
                     AttrMap attrs = {});

  // The op prepared once, with constant inputs, to run whenever it is called: for benchmarks. The tester must outlive
  // it.
  absl::StatusOr<std::function<absl::Status()>> Prepared(absl::string_view op, std::vector<Tensor> inputs,
                                                         AttrMap attrs = {});

  // Step 1 of the tester's device, for tests of what kernels are made of.
  StepContext Step();

  const OpRegistry& ops() const { return ops_; }
  ResourceStore& resources();

 private:
  struct Impl;
  struct PreparedOp;
  absl::StatusOr<std::unique_ptr<PreparedOp>> Prepare(absl::string_view op, const std::vector<Tensor>& inputs,
                                                      const AttrMap& attrs, bool is_static);
  absl::StatusOr<std::vector<Tensor>> RunPrepared(absl::string_view op, const std::vector<Tensor>& inputs,
                                                  const AttrMap& attrs, bool is_static);
  OpRegistry ops_;
  KernelRegistry kernels_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_KERNEL_TEST_H_
