// Diagonals and bands of matrices, and the cross product.
#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

PartialShape Empty() { return PartialShape(absl::Span<const int64_t>()); }

absl::StatusOr<int64_t> MinDim(int64_t a, int64_t b) { return a < 0 || b < 0 ? kUnknownDim : std::min(a, b); }

absl::Status DiagShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape d, c.WithRankAtLeast(0, 1));
  if (!d.known_rank()) return absl::OkStatus();
  PartialShape out = Empty();
  for (int turn = 0; turn < 2; ++turn) {
    for (int64_t n : d.dims()) out.AddDim(n);
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

absl::Status DiagPartShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape in, c.WithRankAtLeast(0, 2));
  if (!in.known_rank()) return absl::OkStatus();
  if (in.rank() % 2 != 0) return InvalidArgument("the rank must be even, found shape ", in.ToString());
  const int half = in.rank() / 2;
  ASSIGN_OR_RETURN(PartialShape out,
                   PartialShape(in.dims().subspan(0, half)).MergeWith(PartialShape(in.dims().subspan(half))));
  c.SetOutput(0, out);
  return absl::OkStatus();
}

absl::Status MatrixDiagShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape d, c.WithRankAtLeast(0, 1));
  if (d.known_rank()) d.AddDim(d.dim(d.rank() - 1));
  c.SetOutput(0, d);
  return absl::OkStatus();
}

absl::StatusOr<PartialShape> DiagonalOf(const PartialShape& matrix) {
  if (!matrix.known_rank()) return PartialShape();
  PartialShape out(matrix.dims().subspan(0, matrix.rank() - 2));
  ASSIGN_OR_RETURN(int64_t n, MinDim(matrix.dim(matrix.rank() - 2), matrix.dim(matrix.rank() - 1)));
  out.AddDim(n);
  return out;
}

void DefineMatrixDiagonals(OpRegistry& ops) {
  ops.Define("MatrixDiag", "Matrices with these diagonals and zeros elsewhere.")
      .Input("diagonal", "T")
      .Output("output", "T")
      .Type("T", kPlainTypes)
      .Shape(MatrixDiagShape)
      .Gradient([](GradientScope& g) { g.Into("diagonal") = Op1("MatrixDiagPart", g.dy()); });
  ops.Define("MatrixDiagPart", "The diagonals of matrices.")
      .Input("input", "T")
      .Output("diagonal", "T")
      .Type("T", kPlainTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape in, c.WithRankAtLeast(0, 2));
        ASSIGN_OR_RETURN(PartialShape out, DiagonalOf(in));
        c.SetOutput(0, out);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        const PartialShape in = g["input"].shape();
        const int r = in.rank();
        if (in.known_rank() && in.dim(r - 1) >= 0 && in.dim(r - 1) == in.dim(r - 2)) {
          g.Into("input") = Op1("MatrixDiag", g.dy());
        } else {
          g.Into("input") = Op2("MatrixSetDiag", ZerosLike(g["input"]), g.dy());
        }
      });
  ops.Define("MatrixSetDiag", "The matrices with other diagonals.")
      .Input("input", "T")
      .Input("diagonal", "T")
      .Output("output", "T")
      .Type("T", kPlainTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape in, c.WithRankAtLeast(0, 2));
        RETURN_IF_ERROR(c.WithRankAtLeast(1, 1).status());
        ASSIGN_OR_RETURN(PartialShape diagonal, DiagonalOf(in));
        RETURN_IF_ERROR(diagonal.MergeWith(c.input(1)).status());
        c.SetOutput(0, in);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into("input") = Op2("MatrixSetDiag", g.dy(), ZerosLike(g["diagonal"]));
        g.Into("diagonal") = Op1("MatrixDiagPart", g.dy());
      });
  ops.Define("MatrixBandPart",
             "The matrices with zeros outside num_lower diagonals below and num_upper above the main one; negative "
             "keeps all.")
      .Input("input", "T")
      .Input("num_lower", "Tindex")
      .Input("num_upper", "Tindex")
      .Output("band", "T")
      .Type("T", kPlainTypes)
      .Type("Tindex", kIndexTypes, DType::kInt64)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape in, c.WithRankAtLeast(0, 2));
        RETURN_IF_ERROR(c.WithRank(1, 0).status());
        RETURN_IF_ERROR(c.WithRank(2, 0).status());
        c.SetOutput(0, in);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into("input") = g.Op("MatrixBandPart", {g.dy(), g["num_lower"], g["num_upper"]});
      });
}

}  // namespace

void DefineMatrixOps(OpRegistry& ops) {
  ops.Define("Diag", "A tensor of twice the rank with these values where both halves of the index agree.")
      .Input("diagonal", "T")
      .Output("output", "T")
      .Type("T", kArithmeticTypes | DTypeSet{DType::kBool})
      .Shape(DiagShape)
      .Gradient([](GradientScope& g) { g.Into("diagonal") = Op1("DiagPart", g.dy()); });
  ops.Define("DiagPart", "The elements where both halves of the index agree.")
      .Input("input", "T")
      .Output("diagonal", "T")
      .Type("T", kArithmeticTypes | DTypeSet{DType::kBool})
      .Shape(DiagPartShape)
      .Gradient([](GradientScope& g) { g.Into("input") = Op1("Diag", g.dy()); });
  DefineMatrixDiagonals(ops);
  ops.Define("Cross", "The cross products of the vectors of three in the last dimension.")
      .Input("a", "T")
      .Input("b", "T")
      .Output("product", "T")
      .Type("T", kRealTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        for (int i : {0, 1}) RETURN_IF_ERROR(c.WithRankAtLeast(i, 1).status());
        ASSIGN_OR_RETURN(PartialShape s, c.input(0).MergeWith(c.input(1)));
        if (s.known_rank() && s.dim(s.rank() - 1) >= 0 && s.dim(s.rank() - 1) != 3) {
          return InvalidArgument("the last dimension must have size 3, found shape ", s.ToString());
        }
        c.SetOutput(0, s);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into("a") = Op2("Cross", g["b"], g.dy());
        g.Into("b") = Op2("Cross", g.dy(), g["a"]);
      });
}

}  // namespace sluice
