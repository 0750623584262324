// Ops about shapes, and views of the same elements under another shape or type.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

PartialShape ShapeOfShape(const PartialShape& s) { return {s.known_rank() ? s.rank() : kUnknownDim}; }

void SetShapeValue(ShapeContext& c, int input, int output) {
  const PartialShape& s = c.input(input);
  if (!s.known_rank()) return;
  PartialValue value;
  for (int64_t d : s.dims()) value.elements.push_back(d < 0 ? PartialValue::kUnknown : d);
  c.SetOutputValue(output, std::move(value));
}

void SetScalarValue(ShapeContext& c, int64_t v) {
  if (v >= 0) c.SetOutputValue(0, PartialValue{true, {v}});
}

absl::Status ReshapeShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape wanted, ShapeFromInput(c, 1));
  if (std::optional<PartialValue> value = c.value(1)) {
    int inferred = 0;
    for (int64_t v : value->elements) inferred += v == -1;
    if (inferred > 1) return InvalidArgument("only one size may be -1, found shape ", wanted.ToString());
  }
  c.SetOutput(0, wanted);
  const int64_t count = c.input(0).num_elements();
  if (!wanted.known_rank() || count < 0) return absl::OkStatus();
  int unknown = -1, unknowns = 0;
  int64_t known = 1;
  for (int i = 0; i < wanted.rank(); ++i) {
    if (wanted.dim(i) < 0) {
      unknown = i;
      ++unknowns;
    } else {
      ASSIGN_OR_RETURN(known, MultiplySizes(known, wanted.dim(i)));
    }
  }
  if (unknowns == 0 && known != count) {
    return InvalidArgument("cannot reshape ", c.input(0).ToString(), " (", count, " elements) to ", wanted.ToString(),
                           " (", known, " elements)");
  }
  if (unknowns == 0 || known == 0) return absl::OkStatus();
  if (count % known != 0) {
    return InvalidArgument("cannot reshape ", c.input(0).ToString(), " (", count, " elements) to ", wanted.ToString(),
                           ": ", count, " is not a multiple of ", known);
  }
  if (unknowns == 1) wanted.SetDim(unknown, count / known);
  c.SetOutput(0, wanted);
  return absl::OkStatus();
}

absl::Status ExpandDimsShape(ShapeContext& c) {
  const PartialShape& in = c.input(0);
  if (c.input(1).known_rank() && c.input(1).num_elements() >= 0 && c.input(1).num_elements() != 1) {
    return InvalidArgument("dim must have one element, found shape ", c.input(1).ToString());
  }
  c.SetOutput(0, PartialShape());
  if (!in.known_rank()) return absl::OkStatus();
  const std::optional<std::vector<int64_t>> dim = c.ints(1);
  if (!dim.has_value() || dim->size() != 1) {
    c.SetOutput(0, PartialShape::UnknownDims(in.rank() + 1));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis((*dim)[0], in.rank() + 1));
  c.SetOutput(0, JoinShapes(JoinShapes(SubShape(in, 0, axis), {1}), SubShape(in, axis)));
  return absl::OkStatus();
}

absl::Status SqueezeShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> axes, c.Attr<std::vector<int64_t>>("squeeze_dims"));
  const PartialShape& in = c.input(0);
  c.SetOutput(0, PartialShape());
  if (!in.known_rank()) return absl::OkStatus();
  std::vector<bool> drop(in.rank(), false);
  for (int64_t a : axes) {
    ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis(a, in.rank()));
    drop[axis] = true;
  }
  PartialShape out = ScalarShapeValue();
  for (int i = 0; i < in.rank(); ++i) {
    const int64_t size = in.dim(i);
    if (axes.empty()) {
      if (size < 0) return absl::OkStatus();  // the rank depends on it
      if (size != 1) out.AddDim(size);
    } else if (!drop[i]) {
      out.AddDim(size);
    } else if (size >= 0 && size != 1) {
      return InvalidArgument("can not squeeze dim[", i, "], expected a dimension of 1, found shape ", in.ToString());
    }
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

// The elements stay as they are; the output is a scalar or a vector.
void SameElements(ShapeContext& c) {
  std::optional<PartialValue> value = IndexValue(c, 0);
  const PartialShape& out = c.output(0);
  if (!value.has_value() || !out.known_rank() || out.rank() > 1) return;
  value->scalar = out.rank() == 0;
  if (value->scalar && value->elements.size() != 1) return;
  c.SetOutputValue(0, *std::move(value));
}

absl::Status BitcastShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const DType to, c.Attr<DType>("type"));
  const size_t from_size = ElementSize(BaseType(c.input_type(0))), to_size = ElementSize(to);
  PartialShape shape = c.input(0);
  c.SetOutput(0, PartialShape());
  if (from_size == 0 || to_size == 0 || !shape.known_rank()) return absl::OkStatus();
  if (from_size > to_size) {
    shape.AddDim(from_size / to_size);
  } else if (from_size < to_size) {
    const int64_t ratio = to_size / from_size;
    if (shape.rank() == 0)
      return InvalidArgument("cannot bitcast a scalar of ", from_size, " bytes to ", to_size, " bytes");
    const int64_t last = shape.dim(shape.rank() - 1);
    if (last >= 0 && last != ratio) {
      return InvalidArgument("cannot bitcast ", shape.ToString(), " from ", DTypeName(BaseType(c.input_type(0))),
                             " to ", DTypeName(to), ": the last dimension must be ", ratio);
    }
    shape = SubShape(shape, 0, shape.rank() - 1);
  }
  c.SetOutput(0, shape);
  return absl::OkStatus();
}

absl::Status BroadcastToShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape wanted, ShapeFromInput(c, 1));
  const PartialShape& in = c.input(0);
  c.SetOutput(0, wanted);
  if (!wanted.known_rank() || !in.known_rank()) return absl::OkStatus();
  if (in.rank() > wanted.rank()) {
    return InvalidArgument("cannot broadcast ", in.ToString(), " to ", wanted.ToString(), ": the rank is lower");
  }
  const int shift = wanted.rank() - in.rank();
  for (int i = 0; i < in.rank(); ++i) {
    const int64_t from = in.dim(i), to = wanted.dim(i + shift);
    if (from >= 0 && to >= 0 && from != 1 && from != to) {
      return InvalidArgument("cannot broadcast ", in.ToString(), " to ", wanted.ToString());
    }
  }
  return absl::OkStatus();
}

}  // namespace

void DefineShapeOps(OpRegistry& ops) {
  ops.Define("Shape", "The shape of a tensor, as a vector.")
      .Input("input", "T")
      .Output("output", "out_type")
      .Type("T")
      .Type("out_type", kIndexTypes, DType::kInt32)
      .Traits(kCheap | kNotDifferentiable)
      .Shape([](ShapeContext& c) {
        c.SetOutput(0, ShapeOfShape(c.input(0)));
        return absl::OkStatus();
      })
      .Value([](ShapeContext& c) { SetShapeValue(c, 0, 0); });

  ops.Define("ShapeN", "The shapes of several tensors, as vectors.")
      .Input("input", "N * T")
      .Output("output", "N * out_type")
      .Attr("N: int >= 1")
      .Type("T")
      .Type("out_type", kIndexTypes, DType::kInt32)
      .Traits(kCheap | kNotDifferentiable)
      .Shape([](ShapeContext& c) {
        for (int i = 0; i < c.num_inputs(); ++i) c.SetOutput(i, ShapeOfShape(c.input(i)));
        return absl::OkStatus();
      })
      .Value([](ShapeContext& c) {
        for (int i = 0; i < c.num_inputs(); ++i) SetShapeValue(c, i, i);
      });

  ops.Define("Size", "The number of elements of a tensor.")
      .Input("input", "T")
      .Output("output", "out_type")
      .Type("T")
      .Type("out_type", kIndexTypes, DType::kInt32)
      .Traits(kCheap | kNotDifferentiable)
      .Shape(ScalarShape())
      .Value([](ShapeContext& c) { SetScalarValue(c, c.input(0).num_elements()); });

  ops.Define("Rank", "The number of dimensions of a tensor.")
      .Input("input", "T")
      .Output("output", "int32")
      .Type("T")
      .Traits(kCheap | kNotDifferentiable)
      .Shape(ScalarShape())
      .Value([](ShapeContext& c) { SetScalarValue(c, c.input(0).rank()); });

  ops.Define("Reshape", "The same elements under another shape; one size may be -1 and is worked out.")
      .Input("tensor", "T")
      .Input("shape", "Tshape")
      .Output("output", "T")
      .Type("T")
      .Type("Tshape", kIndexTypes, DType::kInt32)
      .Traits(kCheap | kMayAlias)
      .Shape(ReshapeShape)
      .Value(SameElements)
      .Gradient(ReshapeTo("tensor"));

  ops.Define("EnsureShape", "The tensor itself; an error when its shape does not fit the attribute.")
      .Input("input", "T")
      .Output("output", "T")
      .Attr("shape: shape")
      .Type("T")
      .Traits(kCheap | kMayAlias)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(const PartialShape wanted, c.Attr<PartialShape>("shape"));
        ASSIGN_OR_RETURN(PartialShape merged, c.input(0).MergeWith(wanted));
        c.SetOutput(0, merged);
        return absl::OkStatus();
      })
      .Value(SameElements)
      .Gradient(PassTo("input"));

  ops.Define("ExpandDims", "Inserts a dimension of size 1 at an index in [-rank-1, rank].")
      .Input("input", "T")
      .Input("dim", "Tdim")
      .Output("output", "T")
      .Type("T")
      .Type("Tdim", kIndexTypes, DType::kInt32)
      .Traits(kCheap | kMayAlias)
      .Shape(ExpandDimsShape)
      .Value(SameElements)
      .Gradient(ReshapeTo("input"));

  ops.Define("Squeeze", "Removes dimensions of size 1: all of them, or the listed ones.")
      .Input("input", "T")
      .Output("output", "T")
      .Type("T")
      .Attr("squeeze_dims: list(int) >= 0 = []")
      .Traits(kCheap | kMayAlias)
      .Shape(SqueezeShape)
      .Value(SameElements)
      .Gradient(ReshapeTo("input"));

  ops.Define("Bitcast", "The same bytes read as another type; a last dimension takes up a ratio of element sizes.")
      .Input("input", "T")
      .Output("output", "type")
      .Type("T", kNumberTypes)
      .Type("type", kNumberTypes)
      .Traits(kCheap | kMayAlias)
      .Shape(BitcastShape);

  ops.Define("BroadcastTo", "Repeats the tensor along dimensions of size 1 up to the given shape.")
      .Input("input", "T")
      .Input("shape", "Tidx")
      .Output("output", "T")
      .Type("T")
      .Type("Tidx", kIndexTypes, DType::kInt32)
      .Shape(BroadcastToShape)
      .Gradient([](GradientScope& g) { g.Into("input") = SumToShapeOf(g.dy(), g["input"], g.output(0)); });
}

}  // namespace sluice
