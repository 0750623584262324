// Making, reading and assigning variables.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/state/state_ops.h"

namespace sluice {
namespace {

// The one value behind a resource: its shape as far as known.
PartialShape HandleShape(const ShapeContext& c, int input) {
  const HandleData* h = c.handle(input);
  return h != nullptr && !h->shapes.empty() ? h->shapes[0] : PartialShape();
}

absl::Status CheckHandleType(const ShapeContext& c, int input, DType dtype) {
  const HandleData* h = c.handle(input);
  if (h == nullptr || h->dtypes.empty() || h->dtypes[0] == dtype) return absl::OkStatus();
  return InvalidArgument("the variable behind input ", input, " is ", DTypeName(h->dtypes[0]), ", wanted ",
                         DTypeName(dtype));
}

// dtype agrees and the value fits the declared shape.
absl::Status AssignShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(DType dtype, c.Attr<DType>("dtype"));
  RETURN_IF_ERROR(CheckHandleType(c, 0, dtype));
  PartialShape variable = HandleShape(c, 0);
  if (!variable.IsCompatibleWith(c.input(1))) {
    return InvalidArgument("a value of shape ", c.input(1).ToString(), " cannot be assigned to a variable of shape ",
                           variable.ToString());
  }
  return absl::OkStatus();
}

absl::Status ReadShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(DType dtype, c.Attr<DType>("dtype"));
  RETURN_IF_ERROR(CheckHandleType(c, 0, dtype));
  c.SetOutput(0, HandleShape(c, 0));
  return absl::OkStatus();
}

absl::Status HandleOpShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(DType dtype, c.Attr<DType>("dtype"));
  ASSIGN_OR_RETURN(PartialShape shape, c.Attr<PartialShape>("shape"));
  c.SetOutput(0, Shape());
  c.SetOutputHandle(0, HandleData{{dtype}, {shape}});
  return absl::OkStatus();
}

// ref and value agree; the output is the reference.
absl::Status RefUpdateShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape s, c.input(0).MergeWith(c.input(1)));
  c.SetOutput(0, std::move(s));
  return absl::OkStatus();
}

absl::Status AssignRefShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(bool validate, c.Attr<bool>("validate_shape"));
  if (validate) return RefUpdateShape(c);
  c.SetOutput(0, c.input(1));
  return absl::OkStatus();
}

// TensorFlow writes "[]" for a variable without a known shape: a scalar attribute of the old Variable op means unknown.
absl::Status OldVariableShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape s, c.Attr<PartialShape>("shape"));
  c.SetOutput(0, s.rank() == 0 ? PartialShape() : s);
  return absl::OkStatus();
}

void DefineReferences(OpRegistry& ops) {
  for (const char* name : {"Variable", "VariableV2"}) {
    ops.Define(name, "A tensor that lives across steps, as a reference.")
        .Output("ref", "Ref(dtype)")
        .Attr("shape: shape")
        .Attr("dtype: type")
        .Attr("container: string = ''")
        .Attr("shared_name: string = ''")
        .Traits(kStateful | kCheap)
        .Shape(std::string(name) == "Variable" ? ShapeRule(OldVariableShape) : FromAttr("shape"));
  }
  ops.Define("TemporaryVariable", "A variable that lasts for one step.")
      .Output("ref", "Ref(dtype)")
      .Attr("shape: shape")
      .Attr("dtype: type")
      .Attr("var_name: string = ''")
      .Traits(kStateful | kCheap)
      .Shape(FromAttr("shape"));
  ops.Define("DestroyTemporaryVariable", "The final value of a temporary variable, which ends.")
      .Input("ref", "Ref(T)")
      .Output("value", "T")
      .Type("T")
      .Attr("var_name: string")
      .Traits(kStateful | kWritesState)
      .Shape(SameAs("ref"));
  ops.Define("Assign", "Sets a variable to `value` and yields the reference.")
      .Input("ref", "Ref(T)")
      .Input("value", "T")
      .Output("output_ref", "Ref(T)")
      .Type("T")
      .Attr("validate_shape: bool = true")
      .Attr("use_locking: bool = true")
      .Traits(kStateful | kWritesState | kKeepsInputs | kAllowsUninitialized | kNotDifferentiable)
      .Shape(AssignRefShape);
  for (const char* name : {"AssignAdd", "AssignSub"}) {
    ops.Define(name, "Adds `value` to (or subtracts it from) a variable and yields the reference.")
        .Input("ref", "Ref(T)")
        .Input("value", "T")
        .Output("output_ref", "Ref(T)")
        .Type("T", kNumberTypes)
        .Attr("use_locking: bool = false")
        .Traits(kStateful | kWritesState | kNotDifferentiable)
        .Shape(RefUpdateShape);
  }
  ops.Define("IsVariableInitialized", "Whether a variable was ever assigned.")
      .Input("ref", "Ref(dtype)")
      .Output("is_initialized", "bool")
      .Attr("dtype: type")
      .Traits(kStateful | kReadsState | kAllowsUninitialized | kNotDifferentiable)
      .Shape(ScalarShape());
  ops.Define("CountUpTo",
             "Adds 1 to a scalar variable and yields what it was; OUT_OF_RANGE once it has reached `limit`.")
      .Input("ref", "Ref(T)")
      .Output("output", "T")
      .Attr("limit: int")
      .Type("T", kIndexTypes)
      .Traits(kStateful | kWritesState | kNotDifferentiable)
      .Shape(ScalarShape());
}

void DefineResources(OpRegistry& ops) {
  ops.Define("VarHandleOp", "The handle of a variable.")
      .Output("resource", "resource")
      .Attr("container: string = ''")
      .Attr("shared_name: string = ''")
      .Attr("debug_name: string = ''")
      .Attr("dtype: type")
      .Attr("shape: shape")
      .Attr("allowed_devices: list(string) = []")
      .Traits(kStateful | kCheap)
      .Shape(HandleOpShape);
  ops.Define("ReadVariableOp", "The value of a variable. Errors when it was never assigned.")
      .Input("resource", "resource")
      .Output("value", "dtype")
      .Attr("dtype: type")
      .Traits(kStateful | kReadsState | kCheap)
      .Shape(ReadShape)
      .Gradient([](GradientScope& g) { g.Into("resource") = g.dy(); });
  ops.Define("AssignVariableOp", "Sets a variable to `value`.")
      .Input("resource", "resource")
      .Input("value", "dtype")
      .Attr("dtype: type")
      .Attr("validate_shape: bool = false")
      .Traits(kStateful | kWritesState | kKeepsInputs)
      .Shape(AssignShape);
  for (const char* name : {"AssignAddVariableOp", "AssignSubVariableOp"}) {
    ops.Define(name, "Adds `value` to (or subtracts it from) a variable.")
        .Input("resource", "resource")
        .Input("value", "dtype")
        .Attr("dtype: type")
        .Traits(kStateful | kWritesState)
        .Shape(AssignShape);
  }
  ops.Define("VarIsInitializedOp", "Whether a variable was ever assigned.")
      .Input("resource", "resource")
      .Output("is_initialized", "bool")
      .Traits(kStateful | kReadsState | kNotDifferentiable)
      .Shape(ScalarShape());
  ops.Define("VariableShape", "The shape of a variable's value.")
      .Input("input", "resource")
      .Output("output", "out_type")
      .Type("out_type", kIndexTypes, DType::kInt32)
      .Traits(kStateful | kReadsState | kCheap | kNotDifferentiable)
      .Shape([](ShapeContext& c) -> absl::Status {
        PartialShape s = HandleShape(c, 0);
        if (!s.known_rank()) {
          c.SetOutput(0, PartialShape::UnknownDims(1));
          return absl::OkStatus();
        }
        c.SetOutput(0, Shape({s.rank()}));
        PartialValue v;
        for (int64_t d : s.dims()) v.elements.push_back(d < 0 ? PartialValue::kUnknown : d);
        c.SetOutputValue(0, std::move(v));
        return absl::OkStatus();
      });
  ops.Define("DestroyResourceOp", "Forgets what a handle names.")
      .Input("resource", "resource")
      .Attr("ignore_lookup_error: bool = true")
      .Traits(kStateful | kWritesState)
      .Shape(NoOutputs());
  ops.Define("ResourceCountUpTo",
             "Adds 1 to a scalar variable and yields what it was; OUT_OF_RANGE once it has reached `limit`.")
      .Input("resource", "resource")
      .Output("output", "T")
      .Attr("limit: int")
      .Type("T", kIndexTypes)
      .Traits(kStateful | kWritesState | kNotDifferentiable)
      .Shape(ScalarShape());
}

}  // namespace

void DefineVariableOps(OpRegistry& ops) {
  DefineReferences(ops);
  DefineResources(ops);
}

}  // namespace sluice
