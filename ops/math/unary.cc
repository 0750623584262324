// Functions of one tensor, element by element, and the ops that their gradients use.
#include <cmath>

#include "ops/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kSignedOrComplex = kFloatOrComplex | kSignedTypes;

OpBuilder Unary(OpRegistry& ops, absl::string_view name, absl::string_view summary, DTypeSet types,
                uint32_t traits = kNoTraits) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("x", "T").Output("y", "T").Type("T", types).Traits(kElementwise | traits).Shape(SameAs("x"));
  return b;
}

// d(output) as a function of the output y and its gradient dy.
OpBuilder UnaryGrad(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("y", "T")
      .Input("dy", "T")
      .Output("z", "T")
      .Type("T", kFloatOrComplex)
      .Traits(kElementwise)
      .Shape(MergeInputs());
  return b;
}

void DefineRoots(OpRegistry& ops) {
  Unary(ops, "Square", "x * x, element by element.", kSignedOrComplex | kUnsignedTypes).Gradient([](GradientScope& g) {
    g.Into("x") = g.dy() * (X(g) * 2.0);
  });
  Unary(ops, "Sqrt", "The square root of x, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = Op2("SqrtGrad", g["y"], g.dy()); });
  Unary(ops, "Rsqrt", "1 / sqrt(x), element by element.", kFloatOrComplex).Gradient([](GradientScope& g) {
    g.Into("x") = Op2("RsqrtGrad", g["y"], g.dy());
  });
  for (const char* name : {"Reciprocal", "Inv"}) {
    Unary(ops, name, "1 / x, element by element.", kSignedOrComplex).Gradient([](GradientScope& g) {
      g.Into("x") = Op2("ReciprocalGrad", g["y"], g.dy());
    });
  }
  UnaryGrad(ops, "SqrtGrad", "The gradient of Sqrt: dy / (2 * conj(y)), where y = sqrt(x).")
      .Gradient([](GradientScope& g) {
        Out ga = g.dy() / g["y"];
        g.Into("y") = -Conj(ga) * g["z"];
        g.Into("dy") = ga * 0.5;
      });
  UnaryGrad(ops, "RsqrtGrad", "The gradient of Rsqrt: dy * -0.5 * conj(y)^3, where y = rsqrt(x).")
      .Gradient([](GradientScope& g) {
        Out a = Conj(g["y"]);
        g.Into("y") = (Conj(g.dy()) * -1.5) * g["dy"] * Square(a);
        g.Into("dy") = Op2("RsqrtGrad", a, g.dy());
      });
  for (const char* name : {"ReciprocalGrad", "InvGrad"}) {
    UnaryGrad(ops, name, "The gradient of Reciprocal: -dy * conj(y)^2, where y = 1 / x.")
        .Gradient([](GradientScope& g) {
          Out a = Conj(g["y"]);
          g.Into("y") = Conj(g.dy()) * -2.0 * g["dy"] * a;
          g.Into("dy") = Op2("ReciprocalGrad", a, g.dy());
        });
  }
}

void DefineExponentials(OpRegistry& ops) {
  Unary(ops, "Exp", "e^x, element by element.", kFloatOrComplex, kMonotone).Gradient([](GradientScope& g) {
    g.Into("x") = g.dy() * Y(g);
  });
  Unary(ops, "Expm1", "e^x - 1, exact for small x too.", kFloatOrComplex, kMonotone).Gradient([](GradientScope& g) {
    g.Into("x") = g.dy() * Exp(X(g));
  });
  Unary(ops, "Log", "The natural logarithm, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() * Reciprocal(X(g)); });
  Unary(ops, "Log1p", "log(1 + x), exact for small x too.", kFloatOrComplex, kMonotone).Gradient([](GradientScope& g) {
    g.Into("x") = g.dy() * Reciprocal(X(g) + 1.0);
  });
  Unary(ops, "Sigmoid", "1 / (1 + exp(-x)), element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = Op2("SigmoidGrad", Y(g), g.dy()); });
  Unary(ops, "Tanh", "The hyperbolic tangent, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = Op2("TanhGrad", Y(g), g.dy()); });
  UnaryGrad(ops, "SigmoidGrad", "The gradient of Sigmoid: dy * y * (1 - y), where y = sigmoid(x).")
      .Gradient([](GradientScope& g) {
        Out a = Conj(g["y"]), gb = g.dy() * Conj(g["dy"]);
        g.Into("y") = gb - gb * 2.0 * a;
        g.Into("dy") = Op2("SigmoidGrad", a, g.dy());
      });
  UnaryGrad(ops, "TanhGrad", "The gradient of Tanh: dy * (1 - y * y), where y = tanh(x).")
      .Gradient([](GradientScope& g) {
        Out a = Conj(g["y"]);
        g.Into("y") = g.dy() * -2.0 * Conj(g["dy"]) * a;
        g.Into("dy") = Op2("TanhGrad", a, g.dy());
      });
}

void DefineTrigonometry(OpRegistry& ops) {
  Unary(ops, "Sin", "The sine of radians, element by element.", kFloatOrComplex).Gradient([](GradientScope& g) {
    g.Into("x") = g.dy() * Cos(X(g));
  });
  Unary(ops, "Cos", "The cosine of radians, element by element.", kFloatOrComplex).Gradient([](GradientScope& g) {
    g.Into("x") = -g.dy() * Sin(X(g));
  });
  Unary(ops, "Tan", "The tangent of radians, element by element.", kFloatOrComplex).Gradient([](GradientScope& g) {
    g.Into("x") = g.dy() * Square(Reciprocal(Cos(X(g))));
  });
  Unary(ops, "Asin", "The angle in radians of a sine, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() * Rsqrt(1.0 - Square(X(g))); });
  Unary(ops, "Acos", "The angle in radians of a cosine, element by element.", kFloatOrComplex)
      .Gradient([](GradientScope& g) { g.Into("x") = -g.dy() * Rsqrt(1.0 - Square(X(g))); });
  Unary(ops, "Atan", "The angle in radians of a tangent, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() * Reciprocal(Square(X(g)) + 1.0); });
  Unary(ops, "Sinh", "The hyperbolic sine, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() * Op1("Cosh", X(g)); });
  Unary(ops, "Cosh", "The hyperbolic cosine, element by element.", kFloatOrComplex).Gradient([](GradientScope& g) {
    g.Into("x") = g.dy() * Op1("Sinh", X(g));
  });
  Unary(ops, "Asinh", "The inverse hyperbolic sine, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() / Op1("Cosh", Y(g)); });
  Unary(ops, "Acosh", "The inverse hyperbolic cosine, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() / Op1("Sinh", Y(g)); });
  Unary(ops, "Atanh", "The inverse hyperbolic tangent, element by element.", kFloatOrComplex, kMonotone)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() * Reciprocal(1.0 - Square(X(g))); });
}

void DefineSignsAndRounding(OpRegistry& ops) {
  Unary(ops, "Abs", "The absolute value, element by element.", kFloatingTypes | kSignedTypes)
      .Gradient([](GradientScope& g) { g.Into("x") = g.dy() * Sign(g["x"]); });
  Unary(ops, "Neg", "-x, element by element.", kSignedOrComplex).Gradient([](GradientScope& g) {
    g.Into("x") = -g.dy();
  });
  Unary(ops, "Sign", "-1, 0 or 1 as x is negative, zero or positive; x / |x| for complex numbers; nan for nan.",
        kSignedOrComplex)
      .Gradient([](GradientScope& g) { g.Into("x") = ZerosLike(g["x"]); });
  Unary(ops, "Floor", "The greatest integer not above x.", kFloatingTypes, kMonotone | kNotDifferentiable);
  Unary(ops, "Ceil", "The least integer not below x.", kFloatingTypes, kMonotone | kNotDifferentiable);
  Unary(ops, "Round", "The nearest integer; halves go to the even one.", kSignedOrComplex,
        kMonotone | kNotDifferentiable);
  Unary(ops, "Rint", "The nearest integer; halves go to the even one.", kFloatingTypes, kMonotone | kNotDifferentiable);
  for (auto [name, summary] :
       {std::pair{"IsNan", "Which elements are nan."}, std::pair{"IsInf", "Which elements are infinite."},
        std::pair{"IsFinite", "Which elements are neither infinite nor nan."}}) {
    ops.Define(name, summary)
        .Input("x", "T")
        .Output("y", "bool")
        .Type("T", kFloatingTypes)
        .Traits(kElementwise | kNotDifferentiable)
        .Shape(SameAs("x"));
  }
  Unary(ops, "Invert", "Every bit flipped.", kIntegerTypes, kNotDifferentiable);
  ops.Define("PopulationCount", "The number of bits that are set.")
      .Input("x", "T")
      .Output("y", "uint8")
      .Type("T", kIntegerTypes)
      .Traits(kElementwise | kNotDifferentiable)
      .Shape(SameAs("x"));
  ops.Define("LogicalNot", "not x, element by element.")
      .Input("x", "bool")
      .Output("y", "bool")
      .Traits(kElementwise | kNotDifferentiable)
      .Shape(SameAs("x"));
}

void DefineCast(OpRegistry& ops) {
  ops.Define("Cast",
             "The elements as another type: towards zero from a fraction to an integer, nonzero to true, the real part "
             "of a complex number.")
      .Input("x", "SrcT")
      .Output("y", "DstT")
      .Type("SrcT")
      .Type("DstT")
      .Attr("Truncate: bool = false",
            "Cut the low bits when a float becomes a narrower one, instead of rounding to the nearest.")
      .Traits(kElementwise)
      .Shape(SameAs("x"))
      .Value([](ShapeContext& c) {
        absl::StatusOr<DType> to = c.Attr<DType>("DstT");
        if (!to.ok() || (*to != DType::kInt32 && *to != DType::kInt64)) return;
        UnaryValue([narrow = *to == DType::kInt32](int64_t v) -> std::optional<int64_t> {
          if (narrow && v != static_cast<int32_t>(v)) return std::nullopt;
          return v;
        })(c);
      })
      .Gradient([](GradientScope& g) {
        const DType from = g["x"].dtype(), to = g["y"].dtype();
        if (kFloatOrComplex.Has(from) && kFloatOrComplex.Has(to)) g.Into("x") = Cast(g.dy(), from);
      });
}

}  // namespace

void DefineUnaryOps(OpRegistry& ops) {
  DefineRoots(ops);
  DefineExponentials(ops);
  DefineTrigonometry(ops);
  DefineSignsAndRounding(ops);
  DefineCast(ops);
}

void DefineComplexOps(OpRegistry& ops) {
  auto part = [&](const char* name, const char* summary, const char* x, const char* y) {
    OpBuilder b = ops.Define(name, summary);
    b.Input(x, "T")
        .Output(y, "Tout")
        .Type("T", kComplexTypes, DType::kComplex64)
        .Type("Tout", {DType::kFloat, DType::kDouble}, DType::kFloat);
    b.Traits(kElementwise).Shape(SameAs(x));
    return b;
  };
  auto complex = [](Out re, Out im) {
    return Op2("Complex", re, im, {{"Tout", re.dtype() == DType::kDouble ? DType::kComplex128 : DType::kComplex64}});
  };
  part("ComplexAbs", "The length of a complex number.", "x", "y").Gradient([complex](GradientScope& g) {
    g.Into("x") = complex(g.dy(), ZerosLike(g.dy())) * Sign(g["x"]);
  });
  part("Real", "The real part.", "input", "output").Gradient([complex](GradientScope& g) {
    g.Into("input") = complex(g.dy(), ZerosLike(g.dy()));
  });
  part("Imag", "The imaginary part.", "input", "output").Gradient([complex](GradientScope& g) {
    g.Into("input") = complex(ZerosLike(g.dy()), g.dy());
  });
  part("Angle", "The argument in radians, in (-pi, pi].", "input", "output").Gradient([complex](GradientScope& g) {
    auto attrs = [&] { return AttrMap{{"Tout", g.dy().dtype()}}; };
    Out re = Op1("Real", g["input"], attrs()), im = Op1("Imag", g["input"], attrs());
    Out z = Reciprocal(complex(im, re));
    g.Into("input") = complex(g.dy(), ZerosLike(g.dy())) * -z;
  });
  ops.Define("Conj", "The complex conjugate.")
      .Input("input", "T")
      .Output("output", "T")
      .Type("T", kComplexTypes | DTypeSet{DType::kVariant}, DType::kComplex64)
      .Traits(kElementwise)
      .Shape(SameAs("input"))
      .Gradient([](GradientScope& g) { g.Into("input") = Conj(g.dy()); });
  ops.Define("Complex", "real + i * imag, with broadcasting.")
      .Input("real", "T")
      .Input("imag", "T")
      .Output("out", "Tout")
      .Type("T", {DType::kFloat, DType::kDouble}, DType::kFloat)
      .Type("Tout", kComplexTypes, DType::kComplex64)
      .Traits(kElementwise)
      .Shape(BroadcastOf(0, 1))
      .Gradient([](GradientScope& g) {
        const DType t = g["real"].dtype();
        g.Into("real") = SumToShapeOf(Op1("Real", g.dy(), {{"Tout", t}}), g["real"], g["imag"]);
        g.Into("imag") = SumToShapeOf(Op1("Imag", g.dy(), {{"Tout", t}}), g["imag"], g["real"]);
      });
}

}  // namespace sluice
