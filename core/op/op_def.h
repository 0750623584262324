// What an op means: inputs, outputs, attributes, traits, rules. One OpDef is one block in ops/.
#ifndef SLUICE_CORE_OP_OP_DEF_H_
#define SLUICE_CORE_OP_OP_DEF_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/op/attr_value.h"
#include "core/types/dtype.h"

namespace sluice {

class ShapeContext;
class GradientScope;

// Facts that the placer, the passes and the planner ask for instead of lists of op names.
enum OpTraits : uint32_t {
  kNoTraits = 0,
  kStateful = 1u << 0,             // running twice differs from running once: never folded, merged or duplicated
  kCommutative = 1u << 1,          // f(x, y) == f(y, x)
  kAggregate = 1u << 2,            // sums any number of inputs of one type
  kElementwise = 1u << 3,          // output element i depends on input elements i only (after broadcasting)
  kMonotone = 1u << 4,             // element-wise and non-decreasing
  kAllowsUninitialized = 1u << 5,  // may read a reference that was never assigned
  kMayAlias = 1u << 6,             // an output may be the buffer of an input (Identity, Reshape ...)
  kKeepsInputs = 1u << 7,          // keeps an input beyond the step or the node (Assign, Send, enqueue)
  kSideEffect = 1u << 8,           // must run when asked for although nobody reads it (Print, Assert, writes)
  kIdentity = 1u << 9,             // output 0 equals input 0
  kBlocking = 1u << 10,            // may wait for something outside the step (Recv, dequeue)
  kSource = 1u << 11,              // takes no data and yields what is given at run time (Placeholder)
  kCheap = 1u << 12,               // costs well under a microsecond whatever the size (shape arithmetic, views)
  kRandom = 1u << 13,              // draws from the random state (also kStateful)
  kConstant = 1u << 14,            // Const
  kHostOnly = 1u << 15,            // runs on a CPU whatever device is asked for (strings, files, Python)
  kNotDifferentiable = 1u << 16,   // gradients stop here without an error
  kReadsState = 1u << 17,          // reads a resource: may be moved but not across writes
  kWritesState = 1u << 18,         // changes a resource
  kBackEdge = 1u << 19,            // its output closes a loop (NextIteration)
};

struct AttrDef {
  std::string name;
  std::string type;         // "type", "int", "list(int)", "func" ...
  AttrValue default_value;  // !has_value() when there is none
  bool has_minimum = false;
  int64_t minimum = 0;     // of an int, or the least length of a list
  DTypeSet allowed_types;  // of "type" and "list(type)"; empty allows all
  std::vector<std::string> allowed_strings;
  std::string doc;
};

struct ArgDef {
  std::string name;
  // Exactly one of: a fixed type; the name of a "type" attribute; the name of a "list(type)" attribute.
  DType type = DType::kInvalid;
  std::string type_attr;
  std::string type_list_attr;
  std::string number_attr;  // N * T: as many tensors as this int attribute says
  bool is_ref = false;
  std::string doc;
  bool is_list() const { return !number_attr.empty() || !type_list_attr.empty(); }
};

using ShapeRule = std::function<absl::Status(ShapeContext&)>;
// Computes the elements of small integer outputs as far as they are known while a graph is built.
using ValueRule = std::function<void(ShapeContext&)>;
using GradientRule = std::function<absl::Status(GradientScope&)>;

struct OpDef {
  std::string name;
  std::string summary;
  std::string description;
  std::vector<ArgDef> inputs;
  std::vector<ArgDef> outputs;
  std::vector<AttrDef> attrs;
  uint32_t traits = kNoTraits;
  ShapeRule shape;        // always there for ops of the registry
  ValueRule value;        // may be empty
  GradientRule gradient;  // empty: not differentiable, an error when gradients reach it unless kNotDifferentiable
  int deprecated_since = 0;
  std::string deprecation;

  bool Is(uint32_t traits_asked) const { return (traits & traits_asked) == traits_asked; }
  const AttrDef* FindAttr(absl::string_view attr_name) const;
  // The index in inputs/outputs, or -1.
  int FindInput(absl::string_view arg_name) const;
  int FindOutput(absl::string_view arg_name) const;
};

// The range of flat positions that one (possibly listed) argument takes in a node.
struct ArgRange {
  int begin = 0;
  int end = 0;
};
// How many tensors `arg` stands for, given the node's attributes; an error names the missing or wrong attribute.
absl::StatusOr<int> ArgLength(const ArgDef& arg, const AttrMap& attrs);
// The flat types of all inputs or outputs (reference types for is_ref arguments).
absl::StatusOr<std::vector<DType>> ArgTypes(const std::vector<ArgDef>& args, const AttrMap& attrs);
absl::StatusOr<ArgRange> FindArgRange(const std::vector<ArgDef>& args, const AttrMap& attrs, absl::string_view name);

// Checks every attribute against `op` (unknown names that begin with '_' pass), and fills the defaults.
absl::Status CheckAttrs(const OpDef& op, AttrMap* attrs);

}  // namespace sluice

#endif  // SLUICE_CORE_OP_OP_DEF_H_
