// Ops that cut a tensor into pieces along an axis.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

std::vector<Out> Dys(GradientScope& g) {
  std::vector<Out> dys;
  for (int i = 0; i < g.node()->num_outputs(); ++i) dys.push_back(g.dy(i));
  return dys;
}

Out JoinDys(GradientScope& g, Out axis) {
  const std::vector<Out> dys = Dys(g);
  return dys.size() == 1 ? dys[0] : Concat(dys, axis);
}

void SetAllOutputs(ShapeContext& c, const PartialShape& shape) {
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, shape);
}

absl::Status UnpackShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const int64_t axis_attr, c.Attr<int64_t>("axis"));
  const PartialShape& in = c.input(0);
  SetAllOutputs(c, PartialShape());
  if (!in.known_rank()) return absl::OkStatus();
  if (in.rank() == 0) return InvalidArgument("cannot unpack a scalar");
  ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis(axis_attr, in.rank()));
  if (in.dim(axis) >= 0 && in.dim(axis) != c.num_outputs()) {
    return InvalidArgument("cannot unpack ", in.ToString(), " along dimension ", axis, " into ", c.num_outputs(),
                           " tensors");
  }
  SetAllOutputs(c, JoinShapes(SubShape(in, 0, axis), SubShape(in, axis + 1)));
  return absl::OkStatus();
}

absl::Status SplitShape(ShapeContext& c) {
  RETURN_IF_ERROR(WantScalar(c, 0, "split_dim"));
  const PartialShape& in = c.input(1);
  SetAllOutputs(c, PartialShape());
  if (!in.known_rank()) return absl::OkStatus();
  if (in.rank() == 0) return InvalidArgument("cannot split a scalar");
  const std::optional<int64_t> dim = c.scalar(0);
  SetAllOutputs(c, PartialShape::UnknownDims(in.rank()));
  if (!dim.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis(*dim, in.rank()));
  PartialShape out = in;
  if (in.dim(axis) >= 0) {
    if (in.dim(axis) % c.num_outputs() != 0) {
      return InvalidArgument("cannot split ", in.ToString(), " along dimension ", axis, " into ", c.num_outputs(),
                             " equal parts");
    }
    out.SetDim(axis, in.dim(axis) / c.num_outputs());
  }
  SetAllOutputs(c, out);
  return absl::OkStatus();
}

absl::Status SplitVShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape splits, c.WithRank(1, 1));
  RETURN_IF_ERROR(WantScalar(c, 2, "split_dim", true));
  if (splits.dim(0) >= 0 && splits.dim(0) != c.num_outputs()) {
    return InvalidArgument("size_splits has ", splits.dim(0), " sizes for ", c.num_outputs(), " outputs");
  }
  const PartialShape& in = c.input(0);
  SetAllOutputs(c, PartialShape());
  if (!in.known_rank()) return absl::OkStatus();
  if (in.rank() == 0) return InvalidArgument("cannot split a scalar");
  SetAllOutputs(c, PartialShape::UnknownDims(in.rank()));
  const std::optional<std::vector<int64_t>> dim = c.ints(2);
  if (!dim.has_value() || dim->size() != 1) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis((*dim)[0], in.rank()));
  PartialShape out = in;
  out.SetDim(axis, kUnknownDim);
  SetAllOutputs(c, out);
  std::optional<std::vector<int64_t>> sizes = c.ints(1);
  if (!sizes.has_value()) return absl::OkStatus();
  int64_t sum = 0;
  int inferred = -1;
  for (size_t i = 0; i < sizes->size(); ++i) {
    const int64_t size = (*sizes)[i];
    if (size == -1) {
      if (inferred >= 0) return InvalidArgument("only one of size_splits may be -1");
      inferred = i;
    } else if (size < 0) {
      return InvalidArgument("size_splits[", i, "] = ", size, " is negative");
    } else {
      ASSIGN_OR_RETURN(sum, AddSizes(sum, size));
    }
  }
  const int64_t total = in.dim(axis);
  if (total >= 0 && (inferred < 0 ? sum != total : sum > total)) {
    return InvalidArgument("size_splits add up to ", sum, ", dimension ", axis, " of ", in.ToString(), " has ", total);
  }
  for (int i = 0; i < c.num_outputs(); ++i) {
    out.SetDim(axis, i != inferred ? (*sizes)[i] : total < 0 ? kUnknownDim : total - sum);
    c.SetOutput(i, out);
  }
  return absl::OkStatus();
}

// Deals the known elements of a vector out to outputs, as many to each as its shape says.
void DealOut(ShapeContext& c, int value_input) {
  const std::optional<PartialValue> value = IndexValue(c, value_input);
  if (!value.has_value() || value->scalar) return;
  size_t at = 0;
  for (int i = 0; i < c.num_outputs(); ++i) {
    const int64_t count = c.output(i).num_elements();
    if (count < 0 || at + count > value->elements.size()) return;
    PartialValue part;
    part.scalar = c.output(i).rank() == 0;
    part.elements.assign(value->elements.begin() + at, value->elements.begin() + at + count);
    c.SetOutputValue(i, std::move(part));
    at += count;
  }
}

}  // namespace

void DefineSplitOps(OpRegistry& ops) {
  ops.Define("Unpack", "The slices of a tensor along one dimension, which they lose.")
      .Input("value", "T")
      .Output("output", "num * T")
      .Attr("num: int >= 0")
      .Type("T")
      .Attr("axis: int = 0")
      .Traits(kMayAlias)
      .Shape(UnpackShape)
      .Value([](ShapeContext& c) { DealOut(c, 0); })
      .Gradient([](GradientScope& g) {
        g.Into("value") = g.Op("Pack", Dys(g), {{"axis", g.MustAttr<int64_t>("axis")}});
      });

  ops.Define("Split", "Cuts a tensor into equal parts along one dimension.")
      .Input("split_dim", "int32")
      .Input("value", "T")
      .Output("output", "num_split * T")
      .Attr("num_split: int >= 1")
      .Type("T")
      .Traits(kMayAlias)
      .Shape(SplitShape)
      .Value([](ShapeContext& c) { DealOut(c, 1); })
      .Gradient([](GradientScope& g) { g.Into("value") = JoinDys(g, g["split_dim"]); });

  ops.Define("SplitV", "Cuts a tensor into parts of the given sizes along one dimension; one size may be -1.")
      .Input("value", "T")
      .Input("size_splits", "Tlen")
      .Input("split_dim", "int32")
      .Output("output", "num_split * T")
      .Attr("num_split: int >= 1")
      .Type("T")
      .Type("Tlen", kIndexTypes, DType::kInt64)
      .Traits(kMayAlias)
      .Shape(SplitVShape)
      .Value([](ShapeContext& c) { DealOut(c, 0); })
      .Gradient([](GradientScope& g) { g.Into("value") = JoinDys(g, g["split_dim"]); });
}

}  // namespace sluice
