// Ops that make tensors of given elements.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

absl::Status ShapeIsInput0(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape shape, ShapeFromInput(c, 0));
  c.SetOutput(0, shape);
  return absl::OkStatus();
}

// Repeats one known number over an output of rank 0 or 1.
void SetRepeated(ShapeContext& c, int64_t element) {
  const PartialShape& out = c.output(0);
  const int64_t count = out.num_elements();
  if (count < 0 || out.rank() > 1 || count > kMaxKnownElements) return;
  c.SetOutputValue(0, PartialValue{out.rank() == 0, std::vector<int64_t>(count, element)});
}

ValueRule AllOf(int64_t element) {
  return [element](ShapeContext& c) {
    if (IsIndexType(BaseType(c.input_type(0)))) SetRepeated(c, element);
  };
}

absl::Status OneHotShape(ShapeContext& c) {
  RETURN_IF_ERROR(WantScalar(c, 1, "depth"));
  RETURN_IF_ERROR(WantScalar(c, 2, "on_value"));
  RETURN_IF_ERROR(WantScalar(c, 3, "off_value"));
  ASSIGN_OR_RETURN(const int64_t axis, c.Attr<int64_t>("axis"));
  if (axis < -1) return InvalidArgument("axis must be >= -1, found ", axis);
  const std::optional<int64_t> depth = c.scalar(1);
  if (depth.has_value() && *depth < 0) return InvalidArgument("depth must be non-negative, found ", *depth);
  const PartialShape& in = c.input(0);
  if (!in.known_rank()) {
    c.SetOutput(0, PartialShape());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const int at, ShapeContext::Axis(axis, in.rank() + 1));
  c.SetOutput(0, JoinShapes(JoinShapes(SubShape(in, 0, at), {depth.value_or(kUnknownDim)}), SubShape(in, at)));
  return absl::OkStatus();
}

}  // namespace

void DefineConstantOps(OpRegistry& ops) {
  ops.Define("Fill", "A tensor of the given shape with every element the same.")
      .Input("dims", "index_type")
      .Input("value", "T")
      .Output("output", "T")
      .Type("T")
      .Type("index_type", kIndexTypes, DType::kInt32)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(WantScalar(c, 1, "value"));
        return ShapeIsInput0(c);
      })
      .Value([](ShapeContext& c) {
        const std::optional<PartialValue> value = IndexValue(c, 1);
        if (value.has_value() && value->scalar) SetRepeated(c, value->elements[0]);
      })
      .Gradient([](GradientScope& g) {
        const Out dy = g.dy();
        g.Into("value") = Sum(dy, AllAxes(dy));
      });

  ops.Define("ZerosLike", "Zeros in the shape and type of x.")
      .Input("x", "T")
      .Output("y", "T")
      .Type("T")
      .NotDifferentiable()
      .Shape(SameAs("x"))
      .Value(AllOf(0));

  ops.Define("OnesLike", "Ones in the shape and type of x.")
      .Input("x", "T")
      .Output("y", "T")
      .Type("T", kArithmeticTypes | DTypeSet{DType::kBool})
      .NotDifferentiable()
      .Shape(SameAs("x"))
      .Value(AllOf(1));

  ops.Define("Empty", "A tensor of the given shape whose elements are zero when `init`, else whatever the memory held.")
      .Input("shape", "int32")
      .Output("output", "dtype")
      .Type("dtype")
      .Attr("init: bool = false")
      .Traits(kStateful | kNotDifferentiable)
      .Shape(ShapeIsInput0);

  ops.Define("DeepCopy", "A copy of x with bytes of its own.")
      .Input("x", "T")
      .Output("y", "T")
      .Type("T")
      .Traits(kStateful)
      .Shape(SameAs("x"))
      .Gradient(PassTo("x"));

  ops.Define("OneHot", "Writes on_value at the index in a new dimension of size depth, off_value elsewhere.")
      .Input("indices", "TI")
      .Input("depth", "int32")
      .Input("on_value", "T")
      .Input("off_value", "T")
      .Output("output", "T")
      .Attr("axis: int = -1")
      .Type("T")
      .Type("TI", {DType::kUint8, DType::kInt8, DType::kInt32, DType::kInt64}, DType::kInt64)
      .NotDifferentiable()
      .Shape(OneHotShape);
}

}  // namespace sluice
