// What a shape rule sees of a node, and common rules.
//
//   .Shape([](ShapeContext& c) -> absl::Status {
//     ASSIGN_OR_RETURN(PartialShape a, c.WithRank(0, 2));
//     c.SetOutput(0, {a.dim(0), c.input(1).dim(1)});
//     return absl::OkStatus();
//   })
//
// Errors need not name the node: the graph adds op, node name and the user's line.
#ifndef SLUICE_CORE_OP_SHAPE_CONTEXT_H_
#define SLUICE_CORE_OP_SHAPE_CONTEXT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/op/attr_value.h"
#include "core/op/op_def.h"
#include "core/types/shape.h"
#include "core/types/tensor.h"

namespace sluice {

// An integer tensor of rank 0 or 1 of which some elements may be unknown: the shapes that graphs compute with.
struct PartialValue {
  static constexpr int64_t kUnknown = INT64_MIN;
  bool scalar = false;
  std::vector<int64_t> elements;  // kUnknown where not known; one element when scalar
  bool IsFullyKnown() const;
};

// What is known of a resource's contents (variables): types and shapes behind the handle.
struct HandleData {
  std::vector<DType> dtypes;
  std::vector<PartialShape> shapes;
};

class ShapeContext {
 public:
  struct Input {
    PartialShape shape;
    DType dtype = DType::kInvalid;
    const Tensor* constant = nullptr;     // the value, when the input is a constant
    const PartialValue* value = nullptr;  // or what is known of it
    const HandleData* handle = nullptr;   // for resources
  };
  ShapeContext(const OpDef& op, const AttrMap& attrs, std::vector<Input> inputs, int num_outputs);

  const OpDef& op() const { return *op_; }
  const AttrMap& attrs() const { return *attrs_; }
  template <typename T>
  absl::StatusOr<T> Attr(absl::string_view name) const {
    return GetAttr<T>(*attrs_, name);
  }

  int num_inputs() const { return static_cast<int>(inputs_.size()); }
  int num_outputs() const { return static_cast<int>(outputs_.size()); }
  const PartialShape& input(int i) const { return inputs_[i].shape; }
  DType input_type(int i) const { return inputs_[i].dtype; }
  // Where a (listed) input or output begins and ends among the flat ones. REQUIRES: the op has it.
  ArgRange InputRange(absl::string_view name) const;
  ArgRange OutputRange(absl::string_view name) const;

  const Tensor* constant(int i) const { return inputs_[i].constant; }
  // The elements of a small integer input as far as known; nullopt when nothing is known.
  std::optional<PartialValue> value(int i) const;
  // A fully known integer scalar, else nullopt.
  std::optional<int64_t> scalar(int i) const;
  // All elements of an integer input of rank 0 or 1, when all are known.
  std::optional<std::vector<int64_t>> ints(int i) const;
  // Reads input i as a shape: known elements become sizes, -1 and unknown elements unknown sizes. Of unknown rank when
  // nothing is known of it. Errors on negative sizes below -1.
  absl::StatusOr<PartialShape> InputAsShape(int i) const;
  const HandleData* handle(int i) const { return inputs_[i].handle; }

  // Input i, checked (and refined to unknown sizes) to the rank.
  absl::StatusOr<PartialShape> WithRank(int i, int rank) const;
  absl::StatusOr<PartialShape> WithRankAtLeast(int i, int rank) const;
  // An axis in [-rank, rank) made non-negative; the error says what was found.
  static absl::StatusOr<int> Axis(int64_t axis, int rank);

  void SetOutput(int i, PartialShape shape) { outputs_[i] = std::move(shape); }
  void SetOutputValue(int i, PartialValue value) { output_values_[i] = std::move(value); }
  void SetOutputHandle(int i, HandleData handle) { output_handles_[i] = std::move(handle); }

  // Read by the graph afterwards.
  const PartialShape& output(int i) const { return outputs_[i]; }
  const std::optional<PartialValue>& output_value(int i) const { return output_values_[i]; }
  const std::optional<HandleData>& output_handle(int i) const { return output_handles_[i]; }

 private:
  const OpDef* op_;
  const AttrMap* attrs_;
  std::vector<Input> inputs_;
  std::vector<PartialShape> outputs_;
  std::vector<std::optional<PartialValue>> output_values_;
  std::vector<std::optional<HandleData>> output_handles_;
};

// Rules that many ops share.
ShapeRule SameAs(std::string input);  // every output has the shape of that input
ShapeRule UnknownShape();             // nothing is known
ShapeRule ScalarShape();              // every output is a scalar
ShapeRule BroadcastOf(int a, int b);  // output 0 is the NumPy broadcast of two inputs
ShapeRule NoOutputs();
ShapeRule MergeInputs();               // all inputs must agree; output 0 is their common shape
ShapeRule FromAttr(std::string attr);  // output 0 is the shape attribute

}  // namespace sluice

#endif  // SLUICE_CORE_OP_SHAPE_CONTEXT_H_
