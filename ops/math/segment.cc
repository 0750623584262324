// Reductions of rows by segment number: sorted, unsorted, and of rows picked by an index.
#include "core/base/status.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

// The rows of the output are not known before the numbers are, unless `rows` says so.
absl::StatusOr<PartialShape> RowsThen(const PartialShape& data, int skip, int64_t rows) {
  if (!data.known_rank()) return PartialShape();
  PartialShape out = PartialShape({rows});
  for (int i = skip; i < data.rank(); ++i) out.AddDim(data.dim(i));
  return out;
}

absl::Status CheckRows(const ShapeContext& c, int data, int ids) {
  RETURN_IF_ERROR(c.WithRankAtLeast(data, 1).status());
  ASSIGN_OR_RETURN(PartialShape n, c.WithRank(ids, 1));
  if (c.input(data).known_rank() && c.input(data).dim(0) >= 0 && n.dim(0) >= 0 && c.input(data).dim(0) != n.dim(0)) {
    return InvalidArgument("segment_ids has ", n.dim(0), " elements, data has ", c.input(data).dim(0), " rows");
  }
  return absl::OkStatus();
}

absl::Status SortedShape(ShapeContext& c) {
  RETURN_IF_ERROR(CheckRows(c, 0, 1));
  ASSIGN_OR_RETURN(PartialShape out, RowsThen(c.input(0), 1, kUnknownDim));
  c.SetOutput(0, out);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Count(const ShapeContext& c, int i) {
  RETURN_IF_ERROR(c.WithRank(i, 0).status());
  const std::optional<int64_t> n = c.scalar(i);
  if (!n) return kUnknownDim;
  if (*n < 0) return InvalidArgument("the number of segments must not be negative, found ", *n);
  return *n;
}

absl::Status UnsortedShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(int64_t rows, Count(c, 2));
  const PartialShape &data = c.input(0), &ids = c.input(1);
  if (!data.known_rank() || !ids.known_rank()) return absl::OkStatus();
  if (ids.rank() > data.rank()) {
    return InvalidArgument("segment_ids has shape ", ids.ToString(), ", which is no beginning of the shape of data ",
                           data.ToString());
  }
  for (int i = 0; i < ids.rank(); ++i) {
    if (ids.dim(i) >= 0 && data.dim(i) >= 0 && ids.dim(i) != data.dim(i)) {
      return InvalidArgument("segment_ids has shape ", ids.ToString(), ", which is no beginning of the shape of data ",
                             data.ToString());
    }
  }
  ASSIGN_OR_RETURN(PartialShape out, RowsThen(data, ids.rank(), rows));
  c.SetOutput(0, out);
  return absl::OkStatus();
}

Out Rows(Out params, Out ids) { return Gather(params, ids, params.builder()->Int(0)); }

// Values of one for each row, shaped to multiply with `data`.
Out ForRows(GradientScope& g, Out per_row, Out data) {
  if (data.shape().known_rank()) {
    std::vector<int64_t> dims(data.shape().rank(), 1);
    dims[0] = -1;
    return Reshape(per_row, g.Ints(std::move(dims)));
  }
  Out ones = Fill(Reshape(RankOf(data) - g.Int(1), g.Ints({1})), g.Int(1));
  return Reshape(per_row, Concat({g.Ints({-1}), ones}, g.Int(0)));
}

void SortedExtremeGradient(GradientScope& g) {
  Out data = g["data"], ids = g["segment_ids"];
  Out chosen = Equal(data, Rows(g["output"], ids));
  Out ties = Op2("SegmentSum", Cast(chosen, data.dtype()), ids);
  // Segments without rows have no ties and no gradient.
  Out shared = Rows(Op2("DivNoNan", g.dy(), ties), ids);
  g.Into("data") = Select(chosen, shared, ZerosLike(shared));
}

// Condition of the shape of ids, broadcast over the further dimensions of `like`.
Out ForElements(GradientScope& g, Out of_ids, Out ids, Out like) {
  if (ids.shape().known_rank() && like.shape().known_rank()) {
    const int extra = like.shape().rank() - ids.shape().rank();
    if (extra == 0) return of_ids;
    if (ids.shape().IsFullyKnown()) {
      const PartialShape ids_shape = ids.shape();
      std::vector<int64_t> dims(ids_shape.dims().begin(), ids_shape.dims().end());
      dims.resize(like.shape().rank(), 1);
      return Reshape(of_ids, g.Ints(std::move(dims)));
    }
  }
  Out ones = Fill(Reshape(RankOf(like) - RankOf(ids), g.Ints({1})), g.Int(1));
  return Reshape(of_ids, Concat({ShapeOf(ids), ones}, g.Int(0)));
}

// The rows of `params` that ids name, and `missing` where an id is negative (such rows were dropped).
Out RowsOrZero(GradientScope& g, Out params, Out ids) {
  Out rows = Rows(params, Maximum(ids, ZerosLike(ids)));
  Out valid = ForElements(g, GreaterEqual(ids, ZerosLike(ids)), ids, rows);
  return SelectV2(valid, rows, ZerosLike(rows));
}

void UnsortedExtremeGradient(GradientScope& g) {
  Out data = g["data"], ids = g["segment_ids"];
  Out valid = ForElements(g, GreaterEqual(ids, ZerosLike(ids)), ids, data);
  Out chosen = Op2("LogicalAnd", Equal(data, RowsOrZero(g, g["output"], ids)), valid);
  Out ties = g.Op("UnsortedSegmentSum", {Cast(chosen, data.dtype()), ids, g["num_segments"]});
  Out shared = RowsOrZero(g, Op2("DivNoNan", g.dy(), ties), ids);
  g.Into("data") = Select(chosen, shared, ZerosLike(shared));
}

// The product of the others: output / x where no factor is zero; where x alone is zero, the product without it; else 0.
void UnsortedProdGradient(GradientScope& g) {
  Out data = g["data"], ids = g["segment_ids"], n = g["num_segments"];
  Out is_zero = Equal(data, ZerosLike(data));
  Out zeros = g.Op("UnsortedSegmentSum", {Cast(is_zero, DType::kInt32), ids, n});
  Out dy = Select(Greater(zeros, OnesLike(zeros)), ZerosLike(g.dy()), g.dy());
  Out without_zeros = g.Op("UnsortedSegmentProd", {Select(is_zero, OnesLike(data), data), ids, n});
  Out rows = RowsOrZero(g, without_zeros, ids), all = RowsOrZero(g, g["output"], ids);
  Out others = Select(is_zero, rows, Op2("DivNoNan", all, data));
  g.Into("data") = RowsOrZero(g, dy, ids) * others;
}

OpBuilder Unsorted(OpRegistry& ops, absl::string_view name, absl::string_view summary, DTypeSet types) {
  OpBuilder b = ops.Define(name, summary);
  b.Input("data", "T")
      .Input("segment_ids", "Tindices", "Any shape that begins the shape of data; negative ones are dropped.");
  b.Input("num_segments", "Tnumsegments").Output("output", "T");
  b.Type("T", types)
      .Type("Tindices", kIndexTypes)
      .Type("Tnumsegments", kIndexTypes, DType::kInt32)
      .Shape(UnsortedShape);
  return b;
}

}  // namespace

void DefineSegmentOps(OpRegistry& ops) {
  auto sorted = [&](const char* name, const char* summary, DTypeSet types) {
    OpBuilder b = ops.Define(name, summary);
    b.Input("data", "T").Input("segment_ids", "Tindices", "One for each row, not decreasing.").Output("output", "T");
    b.Type("T", types).Type("Tindices", kIndexTypes).Shape(SortedShape);
    return b;
  };
  sorted("SegmentSum", "The sums of the rows of each segment.", kArithmeticTypes).Gradient([](GradientScope& g) {
    g.Into("data") = Rows(g.dy(), g["segment_ids"]);
  });
  sorted("SegmentMean", "The means of the rows of each segment; 0 for one without rows.", kArithmeticTypes)
      .Gradient([](GradientScope& g) {
        Out ids = g["segment_ids"], data = g["data"];
        Out counts = Op2("SegmentSum", Fill(ShapeOf(ids), g.Scalar(data.dtype(), 1)), ids);
        g.Into("data") = Rows(g.dy(), ids) / ForRows(g, Rows(counts, ids), data);
      });
  sorted("SegmentMax", "The greatest elements of the rows of each segment; 0 for one without rows.", kRealTypes)
      .Gradient([](GradientScope& g) { SortedExtremeGradient(g); });
  sorted("SegmentMin", "The least elements of the rows of each segment; 0 for one without rows.", kRealTypes)
      .Gradient([](GradientScope& g) { SortedExtremeGradient(g); });
  sorted("SegmentProd", "The products of the rows of each segment; 1 for one without rows.", kArithmeticTypes);
  Unsorted(ops, "UnsortedSegmentSum", "The sums of the elements of each segment; 0 for one without elements.",
           kArithmeticTypes)
      .Gradient([](GradientScope& g) { g.Into("data") = RowsOrZero(g, g.dy(), g["segment_ids"]); });
  Unsorted(ops, "UnsortedSegmentMax",
           "The greatest elements of each segment; the least number of the type for one without elements.", kRealTypes)
      .Gradient([](GradientScope& g) { UnsortedExtremeGradient(g); });
  Unsorted(ops, "UnsortedSegmentMin",
           "The least elements of each segment; the greatest number of the type for one without elements.", kRealTypes)
      .Gradient([](GradientScope& g) { UnsortedExtremeGradient(g); });
  Unsorted(ops, "UnsortedSegmentProd", "The products of the elements of each segment; 1 for one without elements.",
           kArithmeticTypes)
      .Gradient([](GradientScope& g) { UnsortedProdGradient(g); });
}

void DefineSparseSegmentOps(OpRegistry& ops) {
  constexpr DTypeSet kFloats = kFloatingTypes;
  struct Kind {
    const char* name;
    const char* summary;
    DTypeSet types;
    const char* gradient;  // null: the sum, whose gradient is a sum
  };
  const Kind kinds[] = {
      {"SparseSegmentSum", "The sums of the rows data[indices] of each segment", kRealTypes, nullptr},
      {"SparseSegmentMean", "The means of the rows data[indices] of each segment", kFloats, "SparseSegmentMeanGrad"},
      {"SparseSegmentSqrtN", "The sums of the rows data[indices] of each segment over the square root of their number",
       kFloats, "SparseSegmentSqrtNGrad"}};
  for (const Kind& kind : kinds) {
    for (bool with_count : {false, true}) {
      OpBuilder b = ops.Define(absl::StrCat(kind.name, with_count ? "WithNumSegments" : ""),
                               absl::StrCat(kind.summary, with_count ? "; segments without rows are 0." : "."));
      b.Input("data", "T")
          .Input("indices", "Tidx")
          .Input("segment_ids", "int32", "One for each index, not decreasing.");
      if (with_count) b.Input("num_segments", "Tnumsegments");
      b.Output("output", "T").Type("T", kind.types).Type("Tidx", kIndexTypes, DType::kInt32);
      if (with_count) b.Type("Tnumsegments", kIndexTypes, DType::kInt32);
      b.Shape([with_count](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRankAtLeast(0, 1).status());
        ASSIGN_OR_RETURN(PartialShape indices, c.WithRank(1, 1));
        RETURN_IF_ERROR(indices.MergeWith(c.input(2)).status());
        int64_t rows = kUnknownDim;
        if (with_count) {
          ASSIGN_OR_RETURN(rows, Count(c, 3));
        }
        ASSIGN_OR_RETURN(PartialShape out, RowsThen(c.input(0), 1, rows));
        c.SetOutput(0, out);
        return absl::OkStatus();
      });
      b.Gradient([op = kind.gradient](GradientScope& g) {
        Out rows = Reshape(Gather(ShapeOf(g["data"]), g.Int(0), g.Int(0)), g.Ints({}));
        if (op != nullptr) {
          g.Into("data") = g.Op(op, {g.dy(), g["indices"], g["segment_ids"], rows});
        } else {
          g.Into("data") = g.Op("UnsortedSegmentSum", {Rows(g.dy(), g["segment_ids"]), g["indices"], rows});
        }
      });
    }
  }
  for (auto [name, summary] : {std::pair{"SparseSegmentMeanGrad", "The gradient of SparseSegmentMean."},
                               std::pair{"SparseSegmentSqrtNGrad", "The gradient of SparseSegmentSqrtN."}}) {
    ops.Define(name, summary)
        .Input("grad", "T")
        .Input("indices", "Tidx")
        .Input("segment_ids", "int32")
        .Input("output_dim0", "int32")
        .Output("output", "T")
        .Type("T", kFloats)
        .Type("Tidx", kIndexTypes, DType::kInt32)
        .Shape([](ShapeContext& c) -> absl::Status {
          RETURN_IF_ERROR(c.WithRankAtLeast(0, 1).status());
          ASSIGN_OR_RETURN(int64_t rows, Count(c, 3));
          ASSIGN_OR_RETURN(PartialShape out, RowsThen(c.input(0), 1, rows));
          c.SetOutput(0, out);
          return absl::OkStatus();
        });
  }
}

}  // namespace sluice
