// Ops that put the same elements in another order.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

constexpr DTypeSet kReversible = kArithmeticTypes | DTypeSet{DType::kBool, DType::kString};

absl::Status TransposeShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape perm_shape, c.WithRank(1, 1));
  const PartialShape& in = c.input(0);
  int64_t rank = perm_shape.dim(0);
  if (in.known_rank()) {
    ASSIGN_OR_RETURN(rank, MergeSizes(in.rank(), rank, "the rank of x and the length of perm"));
  }
  c.SetOutput(0, PartialShape());
  if (rank < 0) return absl::OkStatus();
  if (rank > kMaxRank) return InvalidArgument("perm has ", rank, " entries");
  PartialShape out = PartialShape::UnknownDims(static_cast<int>(rank));
  if (const std::optional<std::vector<int64_t>> perm = c.ints(1)) {
    std::vector<bool> seen(rank, false);
    for (int i = 0; i < rank; ++i) {
      const int64_t from = (*perm)[i] < 0 ? (*perm)[i] + rank : (*perm)[i];
      if (from < 0 || from >= rank || seen[from]) {
        return InvalidArgument("perm[", i, "] = ", (*perm)[i], ": perm must hold each of [0, ", rank, ") once");
      }
      seen[from] = true;
      if (in.known_rank()) out.SetDim(i, in.dim(static_cast<int>(from)));
    }
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

std::function<void(GradientScope&)> TransposeBack(const char* op) {
  return [op](GradientScope& g) {
    const Out perm = g["perm"];
    Out inverse;
    if (const std::optional<std::vector<int64_t>> known = KnownInts(perm)) {
      std::vector<int64_t> back(known->size());
      const int64_t rank = known->size();
      for (int64_t i = 0; i < rank; ++i) back[(*known)[i] < 0 ? (*known)[i] + rank : (*known)[i]] = i;
      inverse = g.Ints(std::move(back), perm.dtype());
    } else {
      inverse = Op1("InvertPermutation", FloorMod(perm, SizeOf(perm, perm.dtype())));
    }
    g.Into("x") = g.Op(op, {g.dy(), inverse});
  };
}

void InvertPermutationValue(ShapeContext& c) {
  const std::optional<std::vector<int64_t>> perm = c.ints(0);
  if (!perm.has_value() || perm->size() > kMaxKnownElements) return;
  PartialValue inverse;
  inverse.elements.assign(perm->size(), PartialValue::kUnknown);
  for (size_t i = 0; i < perm->size(); ++i) {
    if ((*perm)[i] < 0 || (*perm)[i] >= static_cast<int64_t>(perm->size())) return;
    inverse.elements[(*perm)[i]] = i;
  }
  c.SetOutputValue(0, std::move(inverse));
}

absl::Status ReverseV2Shape(ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(1, 1).status());
  c.SetOutput(0, c.input(0));
  const std::optional<std::vector<int64_t>> axes = c.ints(1);
  if (!axes.has_value() || !c.input(0).known_rank()) return absl::OkStatus();
  std::vector<bool> seen(c.input(0).rank(), false);
  for (int64_t a : *axes) {
    ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis(a, c.input(0).rank()));
    if (seen[axis]) return InvalidArgument("axis ", axis, " is given twice");
    seen[axis] = true;
  }
  return absl::OkStatus();
}

absl::Status ReverseSequenceShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const int64_t seq_dim, c.Attr<int64_t>("seq_dim"));
  ASSIGN_OR_RETURN(const int64_t batch_dim, c.Attr<int64_t>("batch_dim"));
  ASSIGN_OR_RETURN(const PartialShape lengths, c.WithRank(1, 1));
  PartialShape out = c.input(0);
  if (out.known_rank()) {
    if (seq_dim < 0 || seq_dim >= out.rank() || batch_dim < 0 || batch_dim >= out.rank() || seq_dim == batch_dim) {
      return InvalidArgument("seq_dim ", seq_dim, " and batch_dim ", batch_dim, " must be two dimensions of the input ",
                             out.ToString());
    }
    ASSIGN_OR_RETURN(const int64_t batch, MergeSizes(out.dim(static_cast<int>(batch_dim)), lengths.dim(0),
                                                     "the batch dimension and seq_lengths"));
    out.SetDim(static_cast<int>(batch_dim), batch);
  }
  c.SetOutput(0, out);
  return absl::OkStatus();
}

}  // namespace

void DefinePermuteOps(OpRegistry& ops) {
  ops.Define("Transpose", "Dimension i of the output is dimension perm[i] of x.")
      .Input("x", "T")
      .Input("perm", "Tperm")
      .Output("y", "T")
      .Type("T")
      .Type("Tperm", kIndexTypes, DType::kInt32)
      .Shape(TransposeShape)
      .Gradient(TransposeBack("Transpose"));

  ops.Define("ConjugateTranspose", "The complex conjugate of the transpose.")
      .Input("x", "T")
      .Input("perm", "Tperm")
      .Output("y", "T")
      .Type("T")
      .Type("Tperm", kIndexTypes, DType::kInt32)
      .Shape(TransposeShape)
      .Gradient(TransposeBack("ConjugateTranspose"));

  ops.Define("InvertPermutation", "y[x[i]] = i.")
      .Input("x", "T")
      .Output("y", "T")
      .Type("T", kIndexTypes, DType::kInt32)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape x, c.WithRank(0, 1));
        c.SetOutput(0, x);
        return absl::OkStatus();
      })
      .Value(InvertPermutationValue);

  ops.Define("Reverse", "Reverses the dimensions whose entry in dims is true.")
      .Input("tensor", "T")
      .Input("dims", "bool")
      .Output("output", "T")
      .Type("T", kReversible)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(const PartialShape dims, c.WithRank(1, 1));
        if (c.input(0).known_rank()) {
          RETURN_IF_ERROR(MergeSizes(c.input(0).rank(), dims.dim(0), "the rank and the length of dims").status());
        }
        c.SetOutput(0, c.input(0));
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into("tensor") = g.Op("Reverse", {g.dy(), g["dims"]});
      });

  ops.Define("ReverseV2", "Reverses the listed dimensions.")
      .Input("tensor", "T")
      .Input("axis", "Tidx")
      .Output("output", "T")
      .Type("Tidx", kIndexTypes, DType::kInt32)
      .Type("T", kReversible)
      .Shape(ReverseV2Shape)
      .Gradient([](GradientScope& g) {
        g.Into("tensor") = g.Op("ReverseV2", {g.dy(), g["axis"]});
      });

  ops.Define("ReverseSequence", "Reverses the first seq_lengths[i] places of slice i of the batch.")
      .Input("input", "T")
      .Input("seq_lengths", "Tlen")
      .Output("output", "T")
      .Attr("seq_dim: int")
      .Attr("batch_dim: int = 0")
      .Type("T")
      .Type("Tlen", kIndexTypes, DType::kInt64)
      .Shape(ReverseSequenceShape)
      .Gradient([](GradientScope& g) {
        g.Into("input") =
            g.Op("ReverseSequence", {g.dy(), g["seq_lengths"]},
                 {{"seq_dim", g.MustAttr<int64_t>("seq_dim")}, {"batch_dim", g.MustAttr<int64_t>("batch_dim")}});
      });

  ops.Define("Roll", "Shifts the elements along axes; what leaves at one end comes in at the other.")
      .Input("input", "T")
      .Input("shift", "Tshift")
      .Input("axis", "Taxis")
      .Output("output", "T")
      .Type("T")
      .Type("Tshift", kIndexTypes)
      .Type("Taxis", kIndexTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRankAtLeast(0, 1).status());
        for (int i = 1; i < 3; ++i) {
          if (c.input(i).known_rank() && c.input(i).rank() > 1) {
            return InvalidArgument("shift and axis must be scalars or vectors, found shape ", c.input(i).ToString());
          }
        }
        c.SetOutput(0, c.input(0));
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into("input") = g.Op("Roll", {g.dy(), -g["shift"], g["axis"]});
      });
}

}  // namespace sluice
