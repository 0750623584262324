// Arithmetic of two tensors with NumPy broadcasting, and sums of many.
#include <cmath>

#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

OpBuilder Binary(OpRegistry& ops, absl::string_view name, absl::string_view summary, DTypeSet types,
                 uint32_t traits = kNoTraits) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("x", "T")
      .Input("y", "T")
      .Output("z", "T")
      .Type("T", types)
      .Traits(kElementwise | traits)
      .Shape(BroadcastOf(0, 1));
  return b;
}

// Take gradients of the broadcast shape.
void IntoX(GradientScope& g, Out gradient) { g.Into("x") = SumToShapeOf(gradient, g["x"], g["y"]); }
void IntoY(GradientScope& g, Out gradient) { g.Into("y") = SumToShapeOf(gradient, g["y"], g["x"]); }

std::optional<int64_t> CheckedAdd(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}
std::optional<int64_t> CheckedSub(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_sub_overflow(a, b, &r)) return std::nullopt;
  return r;
}
std::optional<int64_t> CheckedMul(int64_t a, int64_t b) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}
std::optional<int64_t> CheckedFloorDiv(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return b == 0 ? std::nullopt : CheckedSub(0, a);
  return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}
std::optional<int64_t> CheckedTruncateDiv(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return b == 0 ? std::nullopt : CheckedSub(0, a);
  return a / b;
}
std::optional<int64_t> CheckedFloorMod(int64_t a, int64_t b) {
  if (b == 0) return std::nullopt;
  if (b == -1) return 0;
  const int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

void DefineSums(OpRegistry& ops) {
  auto gradient = [](GradientScope& g) {
    IntoX(g, g.dy());
    IntoY(g, g.dy());
  };
  Binary(ops, "Add", "x + y, element by element; strings are joined.", kArithmeticTypes | DTypeSet{DType::kString})
      .Value(BinaryValue(CheckedAdd))
      .Gradient(gradient);
  Binary(ops, "AddV2", "x + y, element by element.", kArithmeticTypes, kCommutative)
      .Value(BinaryValue(CheckedAdd))
      .Gradient(gradient);
  Binary(ops, "Sub", "x - y, element by element.", kArithmeticTypes)
      .Value(BinaryValue(CheckedSub))
      .Gradient([](GradientScope& g) {
        IntoX(g, g.dy());
        IntoY(g, -g.dy());
      });
  Binary(ops, "SquaredDifference", "(x - y) * conj(x - y), element by element.", kArithmeticTypes, kCommutative)
      .Gradient([](GradientScope& g) {
        Out d = g.dy() * 2.0 * (g["x"] - g["y"]);
        IntoX(g, d);
        IntoY(g, -d);
      });
  for (const char* name : {"AddN", "AccumulateNV2"}) {
    OpBuilder b = ops.Define(name, "The sum of all inputs, which have one shape.");
    b.Input("inputs", "N * T").Output("sum", "T").Type("T", kArithmeticTypes | DTypeSet{DType::kVariant});
    b.Traits(kCommutative | kAggregate);
    if (name[1] == 'c') {
      b.Attr("shape: shape", "The shape of the inputs.").Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape s, c.Attr<PartialShape>("shape"));
        for (int i = 0; i < c.num_inputs(); ++i) {
          ASSIGN_OR_RETURN(s, s.MergeWith(c.input(i)));
        }
        c.SetOutput(0, s);
        return absl::OkStatus();
      });
    } else {
      b.Shape(MergeInputs());
    }
    b.Gradient([](GradientScope& g) {
      Out dy = g.dy();
      for (int i = 0; i < g.node()->num_inputs(); ++i) g.Into(i) = dy;
    });
  }
}

void DefineProducts(OpRegistry& ops) {
  Binary(ops, "Mul", "x * y, element by element.", kArithmeticTypes, kCommutative)
      .Value(BinaryValue(CheckedMul))
      .Gradient([](GradientScope& g) {
        IntoX(g, g.dy() * Y(g));
        IntoY(g, g.dy() * X(g));
      });
  Binary(ops, "MulNoNan", "x * y, and 0 where y is 0 even when x is infinite or nan.", kFloatOrComplex)
      .Gradient([](GradientScope& g) {
        IntoX(g, Op2("MulNoNan", g.dy(), Y(g)));
        IntoY(g, Op2("MulNoNan", X(g), g.dy()));
      });
}

void DefineQuotients(OpRegistry& ops) {
  auto gradient = [](GradientScope& g) {
    Out x = X(g), y = Y(g);
    IntoX(g, g.dy() / y);
    IntoY(g, g.dy() * ((-x / y) / y));
  };
  Binary(ops, "RealDiv", "x / y for numbers with fractions, element by element.", kArithmeticTypes).Gradient(gradient);
  Binary(ops, "Div", "x / y, element by element; integers are divided towards zero.", kArithmeticTypes)
      .Value(BinaryValue(CheckedTruncateDiv))
      .Gradient(gradient);
  Binary(ops, "DivNoNan", "x / y, and 0 where y is 0.", kFloatOrComplex).Gradient([](GradientScope& g) {
    auto divide = [](Out a, Out b) { return Op2("DivNoNan", a, b); };
    Out x = X(g), y = Y(g);
    IntoX(g, divide(g.dy(), y));
    IntoY(g, g.dy() * divide(divide(-x, y), y));
  });
  Binary(ops, "FloorDiv", "The greatest integer not above x / y.", kArithmeticTypes, kNotDifferentiable)
      .Value(BinaryValue(CheckedFloorDiv));
  Binary(ops, "TruncateDiv", "x / y without its fraction.", kArithmeticTypes, kNotDifferentiable)
      .Value(BinaryValue(CheckedTruncateDiv));
  constexpr DTypeSet kModTypes = kRealTypes;
  Binary(ops, "FloorMod", "The rest of x / y with the sign of y.", kModTypes)
      .Value(BinaryValue(CheckedFloorMod))
      .Gradient([](GradientScope& g) {
        IntoX(g, g.dy());
        IntoY(g, g.dy() * -FloorDiv(g["x"], g["y"]));
      });
  Binary(ops, "Mod", "The rest of x / y with the sign of x.", kModTypes);
  Binary(ops, "TruncateMod", "The rest of x / y with the sign of x.", kModTypes);
}

void DefinePowers(OpRegistry& ops) {
  Binary(ops, "Pow", "x to the power y, element by element.", kArithmeticTypes).Gradient([](GradientScope& g) {
    Out x = X(g), y = Y(g), z = Conj(g["z"]);
    IntoX(g, g.dy() * y * Pow(x, y - 1.0));
    // log(x) where it exists; elsewhere the power does not depend on y in a differentiable way.
    Out zero = ZerosLike(x);
    Out defined = IsComplex(x.dtype()) ? Op2("NotEqual", x, zero) : Greater(x, zero);
    Out safe = Select(defined, x, OnesLike(x));
    IntoY(g, g.dy() * z * Select(defined, Log(safe), zero));
  });
  Binary(ops, "Xdivy", "x / y, and 0 where x is 0.", kFloatOrComplex).Gradient([](GradientScope& g) {
    Out x = X(g), y = Y(g);
    Out nonzero = Cast(Op2("NotEqual", x, ZerosLike(x)), x.dtype());
    IntoX(g, Op2("Xdivy", nonzero, y) * g.dy());
    IntoY(g, Op2("Xdivy", -x, Square(y)) * g.dy());
  });
  Binary(ops, "Xlogy", "x * log(y), and 0 where x is 0.", kFloatOrComplex).Gradient([](GradientScope& g) {
    Out x = X(g), y = Y(g);
    Out nonzero = Cast(Op2("NotEqual", x, ZerosLike(x)), x.dtype());
    IntoX(g, Op2("Xlogy", nonzero, y) * g.dy());
    IntoY(g, Op2("Xdivy", x, y) * g.dy());
  });
  Binary(ops, "Xlog1py", "x * log1p(y), and 0 where x is 0.", kFloatingTypes).Gradient([](GradientScope& g) {
    Out x = X(g), y = Y(g);
    IntoX(g, Op2("Xlog1py", Cast(Op2("NotEqual", x, ZerosLike(x)), x.dtype()), y) * g.dy());
    IntoY(g, Op2("Xdivy", x, y + 1.0) * g.dy());
  });
}

void DefineExtremes(OpRegistry& ops) {
  // Where both are equal the gradient goes to x.
  auto gradient = [](const char* x_wins) {
    return [x_wins](GradientScope& g) {
      Out dy = g.dy();
      Out mask = Op2(x_wins, g["x"], g["y"]), zero = ZerosLike(dy);
      IntoX(g, Select(mask, dy, zero));
      IntoY(g, Select(mask, zero, dy));
    };
  };
  Binary(ops, "Maximum", "The greater of x and y; nan when one is nan.", kRealTypes, kCommutative)
      .Value(BinaryValue([](int64_t a, int64_t b) -> std::optional<int64_t> { return std::max(a, b); }))
      .Gradient(gradient("GreaterEqual"));
  Binary(ops, "Minimum", "The lesser of x and y; nan when one is nan.", kRealTypes, kCommutative)
      .Value(BinaryValue([](int64_t a, int64_t b) -> std::optional<int64_t> { return std::min(a, b); }))
      .Gradient(gradient("LessEqual"));
  ops.Define("ClipByValue",
             "t, but not below clip_value_min and not above clip_value_max, which have its shape or are scalars.")
      .Input("t", "T")
      .Input("clip_value_min", "T")
      .Input("clip_value_max", "T")
      .Output("output", "T")
      .Type("T", kRealTypes)
      .Traits(kElementwise)
      .Shape(SameAs("t"))
      .Gradient([](GradientScope& g) {
        Out x = g["t"], low = g["clip_value_min"], high = g["clip_value_max"], dy = g.dy(), zero = ZerosLike(dy);
        Out below = Less(x, low), above = Greater(x, high);
        Out inside = Op1("LogicalNot", Op2("LogicalOr", below, above));
        g.Into("t") = Select(inside, dy, zero);
        g.Into("clip_value_min") = SumToShapeOf(Select(below, dy, zero), low, x);
        g.Into("clip_value_max") = SumToShapeOf(Select(above, dy, zero), high, x);
      });
}

void DefineBits(OpRegistry& ops) {
  for (auto [name, summary] :
       {std::pair{"BitwiseAnd", "The bits set in both."}, std::pair{"BitwiseOr", "The bits set in either."},
        std::pair{"BitwiseXor", "The bits set in one alone."}}) {
    Binary(ops, name, summary, kIntegerTypes, kCommutative | kNotDifferentiable);
  }
  Binary(ops, "LeftShift", "x * 2^y by bits; a count beyond the width is cut to width - 1.", kIntegerTypes,
         kNotDifferentiable);
  Binary(ops, "RightShift", "x / 2^y by bits, keeping the sign; a count beyond the width is cut to width - 1.",
         kIntegerTypes, kNotDifferentiable);
}

}  // namespace

void DefineArithmeticOps(OpRegistry& ops) {
  DefineSums(ops);
  DefineProducts(ops);
  DefineQuotients(ops);
  DefinePowers(ops);
  DefineExtremes(ops);
  DefineBits(ops);
}

}  // namespace sluice
