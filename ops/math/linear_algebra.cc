// Factorisations, inverses and linear systems, of the matrices in the last two dimensions.
#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

constexpr DTypeSet kTypes = {DType::kFloat, DType::kDouble, DType::kComplex64, DType::kComplex128};

absl::StatusOr<PartialShape> Square(const ShapeContext& c, int i) {
  ASSIGN_OR_RETURN(PartialShape s, c.WithRankAtLeast(i, 2));
  if (!s.known_rank()) return s;
  const int64_t rows = s.dim(s.rank() - 2), columns = s.dim(s.rank() - 1);
  if (rows >= 0 && columns >= 0 && rows != columns)
    return InvalidArgument("matrices must be square, found shape ", s.ToString());
  if (rows < 0) s.SetDim(s.rank() - 2, columns);
  if (columns < 0) s.SetDim(s.rank() - 1, rows);
  return s;
}

absl::Status SquareShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape s, Square(c, 0));
  c.SetOutput(0, s);
  return absl::OkStatus();
}

absl::Status SolveShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape m, Square(c, 0));
  ASSIGN_OR_RETURN(PartialShape rhs, c.WithRankAtLeast(1, 2));
  if (m.known_rank() && rhs.known_rank()) {
    PartialShape want(m.dims().subspan(0, m.rank() - 1));
    want.AddDim(rhs.dim(rhs.rank() - 1));
    ASSIGN_OR_RETURN(rhs, rhs.MergeWith(want));
  }
  c.SetOutput(0, rhs);
  return absl::OkStatus();
}

Out Solve(absl::string_view op, Out m, Out rhs, AttrMap attrs) { return Op2(op, m, rhs, std::move(attrs)); }

}  // namespace

void DefineLinearAlgebraOps(OpRegistry& ops) {
  ops.Define("Cholesky",
             "The lower triangle L with L * L^H = input, which is positive definite; its upper half is not read.")
      .Input("input", "T")
      .Output("output", "T")
      .Type("T", kTypes)
      .Shape(SquareShape)
      .Gradient([](GradientScope& g) {
        // Murray, "Differentiation of the Cholesky decomposition" (2016), equation 10.
        Out l = g["output"];
        auto triangle = [&](Out x) {
          return g.Op("MatrixBandPart", {x, g.Int(-1, DType::kInt64), g.Int(0, DType::kInt64)});
        };
        Out middle = triangle(BatchMatMul(l, g.dy(), true, false));
        Out halved = Op2("MatrixSetDiag", middle, Op1("MatrixDiagPart", middle) * 0.5);
        auto solve = [&](Out rhs) {
          return Solve("MatrixTriangularSolve", l, rhs, {{"lower", true}, {"adjoint", true}});
        };
        auto adjoint = [&](Out x) {
          Out eye = Op1("MatrixDiag", OnesLike(Op1("MatrixDiagPart", x)));
          return BatchMatMul(x, eye, true, false);
        };
        Out s = solve(adjoint(solve(adjoint(halved))));
        g.Into("input") = (s + adjoint(s)) * 0.5;
      });
  ops.Define("MatrixInverse", "The inverses of matrices, of their adjoints when asked.")
      .Input("input", "T")
      .Output("output", "T")
      .Attr("adjoint: bool = false")
      .Type("T", kTypes)
      .Shape(SquareShape)
      .Gradient([](GradientScope& g) {
        Out y = g["output"];
        const bool adjoint = g.MustAttr<bool>("adjoint");
        Out d = BatchMatMul(y, BatchMatMul(g.dy(), y, false, true), true, false);
        g.Into("input") = adjoint ? -BatchMatMul(BatchMatMul(y, g.dy(), false, true), y) : -d;
      });
  ops.Define("MatrixDeterminant", "The determinants of matrices.")
      .Input("input", "T")
      .Output("output", "T")
      .Type("T", kTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape s, Square(c, 0));
        if (s.known_rank()) c.SetOutput(0, PartialShape(s.dims().subspan(0, s.rank() - 2)));
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        Out inverse = Op1("MatrixInverse", g["input"], {{"adjoint", true}});
        Out scale = g.dy() * Conj(g["output"]);
        Out spread = g.Op("ExpandDims", {g.Op("ExpandDims", {scale, g.Int(-1)}), g.Int(-1)});
        g.Into("input") = spread * inverse;
      });
  ops.Define("MatrixSolve", "The x with matrix * x = rhs, or with the adjoint of the matrix.")
      .Input("matrix", "T")
      .Input("rhs", "T")
      .Output("output", "T")
      .Attr("adjoint: bool = false")
      .Type("T", kTypes)
      .Shape(SolveShape)
      .Gradient([](GradientScope& g) {
        const bool adjoint = g.MustAttr<bool>("adjoint");
        Out rhs = Solve("MatrixSolve", g["matrix"], g.dy(), {{"adjoint", !adjoint}});
        g.Into("matrix") =
            adjoint ? -BatchMatMul(g["output"], rhs, false, true) : -BatchMatMul(rhs, g["output"], false, true);
        g.Into("rhs") = rhs;
      });
  ops.Define("MatrixTriangularSolve", "As MatrixSolve for a triangular matrix; the other triangle is not read.")
      .Input("matrix", "T")
      .Input("rhs", "T")
      .Output("output", "T")
      .Attr("lower: bool = true")
      .Attr("adjoint: bool = false")
      .Type("T", kTypes)
      .Shape(SolveShape)
      .Gradient([](GradientScope& g) {
        const bool adjoint = g.MustAttr<bool>("adjoint"), lower = g.MustAttr<bool>("lower");
        Out rhs = Solve("MatrixTriangularSolve", g["matrix"], g.dy(), {{"lower", lower}, {"adjoint", !adjoint}});
        Out full = adjoint ? -BatchMatMul(g["output"], rhs, false, true) : -BatchMatMul(rhs, g["output"], false, true);
        Out all = g.Int(-1, DType::kInt64), none = g.Int(0, DType::kInt64);
        g.Into("matrix") = g.Op("MatrixBandPart", {full, lower ? all : none, lower ? none : all});
        g.Into("rhs") = rhs;
      });
}

}  // namespace sluice
