// Comparisons, logic, and choosing between tensors.
#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kComparable =
    kArithmeticTypes | DTypeSet{DType::kBool,   DType::kString,  DType::kQint8, DType::kQuint8,
                                DType::kQint16, DType::kQuint16, DType::kQint32};

OpBuilder Comparison(OpRegistry& ops, absl::string_view name, absl::string_view summary, DTypeSet types,
                     uint32_t traits = kNoTraits) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("x", "T").Input("y", "T").Output("z", "bool").Type("T", types);
  b.Traits(kElementwise | kNotDifferentiable | traits).Shape(BroadcastOf(0, 1));
  return b;
}

// With incompatible_shape_error = false shapes that do not broadcast make a scalar.
absl::Status EqualityShape(ShapeContext& c) {
  absl::StatusOr<PartialShape> s = BroadcastShapes(c.input(0), c.input(1));
  ASSIGN_OR_RETURN(bool strict, c.Attr<bool>("incompatible_shape_error"));
  if (!s.ok() && strict) return s.status();
  // What is unknown now may turn out not to broadcast.
  if (s.ok() && (strict || (c.input(0).IsFullyKnown() && c.input(1).IsFullyKnown()))) {
    c.SetOutput(0, *std::move(s));
  } else if (!s.ok()) {
    c.SetOutput(0, Shape());
  }
  return absl::OkStatus();
}

absl::Status SelectShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape out, c.input(1).MergeWith(c.input(2)));
  const PartialShape& condition = c.input(0);
  if (condition.known_rank() && out.known_rank() && condition.rank() != 0) {
    if (condition.rank() == out.rank()) {
      ASSIGN_OR_RETURN(out, out.MergeWith(condition));
    } else if (condition.rank() == 1) {
      if (out.rank() == 0)
        return InvalidArgument("a condition of shape ", condition.ToString(), " cannot choose between scalars");
      if (condition.dim(0) >= 0 && out.dim(0) >= 0 && condition.dim(0) != out.dim(0)) {
        return InvalidArgument("the condition has ", condition.dim(0), " elements, the tensors have ", out.dim(0),
                               " rows");
      }
    } else {
      return InvalidArgument("the condition must be a scalar, a vector, or have the shape of the tensors ",
                             out.ToString(), ", found ", condition.ToString());
    }
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

void DefineSelects(OpRegistry& ops) {
  auto define = [&](const char* name, const char* summary) {
    OpBuilder b = ops.Define(name, summary);
    b.Input("condition", "bool").Input("t", "T").Input("e", "T").Output("output", "T").Type("T");
    return b;
  };
  define("Select",
         "t where the condition holds, else e. A vector condition chooses rows, a scalar one the whole tensor.")
      .Shape(SelectShape)
      .Gradient([](GradientScope& g) {
        Out condition = g["condition"], zero = ZerosLike(g["t"]);
        g.Into("t") = Select(condition, g.dy(), zero);
        g.Into("e") = Select(condition, zero, g.dy());
      });
  define("SelectV2", "t where the condition holds, else e; all three are broadcast.")
      .Traits(kElementwise)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape s, BroadcastShapes(c.input(1), c.input(2)));
        ASSIGN_OR_RETURN(s, BroadcastShapes(s, c.input(0)));
        c.SetOutput(0, std::move(s));
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        Out condition = g["condition"], zero = ZerosLike(g.dy());
        g.Into("t") = SumToShapeOf(SelectV2(condition, g.dy(), zero), g["t"], g["output"]);
        g.Into("e") = SumToShapeOf(SelectV2(condition, zero, g.dy()), g["e"], g["output"]);
      });
}

}  // namespace

void DefineComparisonOps(OpRegistry& ops) {
  Comparison(ops, "Less", "x < y, element by element.", kRealTypes);
  Comparison(ops, "LessEqual", "x <= y, element by element.", kRealTypes);
  Comparison(ops, "Greater", "x > y, element by element.", kRealTypes);
  Comparison(ops, "GreaterEqual", "x >= y, element by element.", kRealTypes);
  for (auto [name, summary] :
       {std::pair{"Equal", "x == y, element by element."}, std::pair{"NotEqual", "x != y, element by element."}}) {
    Comparison(ops, name, summary, kComparable, kCommutative)
        .Attr("incompatible_shape_error: bool = true", "False: shapes that do not broadcast compare as different.")
        .Shape(EqualityShape);
  }
  Comparison(ops, "ApproximateEqual", "|x - y| < tolerance, element by element.", kArithmeticTypes, kCommutative)
      .Attr("tolerance: float = 1e-05")
      .Shape(MergeInputs());
  for (auto [name, summary] : {std::pair{"LogicalAnd", "x and y, element by element."},
                               std::pair{"LogicalOr", "x or y, element by element."}}) {
    ops.Define(name, summary)
        .Input("x", "bool")
        .Input("y", "bool")
        .Output("z", "bool")
        .Traits(kElementwise | kCommutative | kNotDifferentiable)
        .Shape(BroadcastOf(0, 1));
  }
  DefineSelects(ops);
}

}  // namespace sluice
