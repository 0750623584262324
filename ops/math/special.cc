// Special functions: error function, gamma and its relatives.
#include <cmath>

#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kFloatOrDouble = {DType::kFloat, DType::kDouble};

OpBuilder Binary(OpRegistry& ops, absl::string_view name, absl::string_view summary, const char* x, const char* y,
                 DTypeSet types) {
  OpBuilder b = ops.Define(name, summary);
  b.Input(x, "T").Input(y, "T").Output("z", "T").Type("T", types).Traits(kElementwise).Shape(BroadcastOf(0, 1));
  return b;
}

// d P(a, x) / dx = x^(a-1) e^-x / gamma(a).
Out IgammaSlope(GradientScope& g) {
  Out a = g["a"], x = g["x"];
  return Exp(Op2("Xlogy", a - 1.0, x) - x - Op1("Lgamma", a));
}

}  // namespace

void DefineSpecialFunctionOps(OpRegistry& ops) {
  auto unary = [&](const char* name, const char* summary) {
    OpBuilder b = ops.Define(name, summary);
    b.Input("x", "T").Output("y", "T").Type("T", kFloatingTypes).Traits(kElementwise).Shape(SameAs("x"));
    return b;
  };
  const double two_over_root_pi = 2 / std::sqrt(M_PI);
  unary("Erf", "The error function.").Traits(kMonotone).Gradient([=](GradientScope& g) {
    g.Into("x") = g.dy() * (Exp(-Square(g["x"])) * two_over_root_pi);
  });
  unary("Erfc", "1 - erf(x), exact for large x too.").Gradient([=](GradientScope& g) {
    g.Into("x") = g.dy() * (Exp(-Square(g["x"])) * -two_over_root_pi);
  });
  unary("Lgamma", "log |gamma(x)|.").Gradient([](GradientScope& g) { g.Into("x") = g.dy() * Op1("Digamma", g["x"]); });
  unary("Digamma", "The derivative of log gamma(x).").Gradient([](GradientScope& g) {
    Out one = g.Scalar(g["x"].dtype(), 1);
    g.Into("x") = g.dy() * Op2("Polygamma", one, g["x"]);
  });
  unary("BesselI0e", "exp(-|x|) times the modified Bessel function of order 0.").Gradient([](GradientScope& g) {
    Out x = g["x"];
    g.Into("x") = g.dy() * (Op1("BesselI1e", x) - Sign(x) * g["y"]);
  });
  unary("BesselI1e", "exp(-|x|) times the modified Bessel function of order 1.").Gradient([](GradientScope& g) {
    // I1'(x) = I0(x) - I1(x) / x, which is 1/2 at 0.
    Out x = g["x"], y = g["y"];
    Out is_zero = Equal(x, ZerosLike(x));
    Out safe = Select(is_zero, OnesLike(x), x);
    Out slope = Op1("BesselI0e", safe) - y * (Sign(safe) + Reciprocal(safe));
    g.Into("x") = g.dy() * Select(is_zero, OnesLike(x) * 0.5, slope);
  });
  ops.Define("NextAfter", "The next number of the type after x1 in the direction of x2.")
      .Input("x1", "T")
      .Input("x2", "T")
      .Output("output", "T")
      .Type("T", kFloatOrDouble, DType::kFloat)
      .Traits(kElementwise)
      .Shape(BroadcastOf(0, 1))
      .Gradient([](GradientScope& g) { g.Into("x1") = SumToShapeOf(g.dy(), g["x1"], g["x2"]); });
  ops.Define("RandomGammaGrad", "The derivative of a sample of RandomGamma by alpha.")
      .Input("alpha", "T")
      .Input("sample", "T")
      .Output("output", "T")
      .Type("T", kFloatOrDouble)
      .Traits(kElementwise)
      .Shape(BroadcastOf(0, 1));
  Binary(ops, "Igamma", "The regularised lower incomplete gamma function P(a, x).", "a", "x", kFloatOrDouble)
      .Gradient([](GradientScope& g) {
        g.Into("a") = SumToShapeOf(g.dy() * Op2("IgammaGradA", g["a"], g["x"]), g["a"], g["x"]);
        g.Into("x") = SumToShapeOf(g.dy() * IgammaSlope(g), g["x"], g["a"]);
      });
  Binary(ops, "Igammac", "The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x).", "a", "x",
         kFloatOrDouble)
      .Gradient([](GradientScope& g) {
        g.Into("a") = SumToShapeOf(-g.dy() * Op2("IgammaGradA", g["a"], g["x"]), g["a"], g["x"]);
        g.Into("x") = SumToShapeOf(-g.dy() * IgammaSlope(g), g["x"], g["a"]);
      });
  Binary(ops, "IgammaGradA", "The derivative of Igamma by a.", "a", "x", kFloatOrDouble);
  Binary(ops, "Zeta", "The Hurwitz zeta function, the sum of (q + n)^-x over n >= 0.", "x", "q", kFloatOrDouble)
      .Gradient([](GradientScope& g) {
        Out x = g["x"], q = g["q"];
        g.Into("q") = SumToShapeOf(g.dy() * -x * Op2("Zeta", x + 1.0, q), q, x);
      });
  Binary(ops, "Polygamma", "The derivative of order a of the digamma function.", "a", "x", kFloatOrDouble)
      .Gradient([](GradientScope& g) {
        Out a = g["a"], x = g["x"];
        g.Into("x") = SumToShapeOf(g.dy() * Op2("Polygamma", a + 1.0, x), x, a);
      });
  ops.Define("Atan2", "The angle in radians of the point (x, y), in [-pi, pi].")
      .Input("y", "T")
      .Input("x", "T")
      .Output("z", "T")
      .Type("T", kFloatingTypes)
      .Traits(kElementwise)
      .Shape(BroadcastOf(0, 1))
      .Gradient([](GradientScope& g) {
        Out y = g["y"], x = g["x"];
        Out scaled = g.dy() / (Square(x) + Square(y));
        g.Into("y") = SumToShapeOf(x * scaled, y, x);
        g.Into("x") = SumToShapeOf(-y * scaled, x, y);
      });
}

}  // namespace sluice
