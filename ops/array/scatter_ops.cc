// Ops that write, or add, slices by index into a new tensor.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

Out GatherNd(Out params, Out indices) { return params.builder()->Op("GatherNd", {params, indices}); }

// Updates must be indices.shape[:-1] + target.shape[depth:].
absl::Status CheckUpdates(const PartialShape& target, const PartialShape& indices, const PartialShape& updates) {
  if (!indices.known_rank()) return absl::OkStatus();
  if (indices.rank() == 0) return InvalidArgument("indices must have a dimension, found a scalar");
  if (!target.known_rank()) return absl::OkStatus();
  const int64_t depth = indices.dim(indices.rank() - 1);
  if (depth < 0) return absl::OkStatus();
  if (depth > target.rank()) {
    return InvalidArgument("indices ", indices.ToString(), " have ", depth, " coordinates, the tensor ",
                           target.ToString(), " has ", target.rank(), " dimensions");
  }
  const PartialShape wanted =
      JoinShapes(SubShape(indices, 0, indices.rank() - 1), SubShape(target, static_cast<int>(depth)));
  if (!updates.IsCompatibleWith(wanted)) {
    return InvalidArgument("updates have shape ", updates.ToString(), ", wanted ", wanted.ToString(), " for indices ",
                           indices.ToString(), " into ", target.ToString());
  }
  return absl::OkStatus();
}

absl::Status IntoTensorShape(ShapeContext& c) {
  RETURN_IF_ERROR(CheckUpdates(c.input(0), c.input(1), c.input(2)));
  c.SetOutput(0, c.input(0));
  return absl::OkStatus();
}

OpBuilder DefineTensorScatter(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  return ops.Define(name, summary)
      .Input("tensor", "T")
      .Input("indices", "Tindices")
      .Input("updates", "T")
      .Output("output", "T")
      .Type("T")
      .Type("Tindices", kIndexTypes)
      .Shape(IntoTensorShape);
}

}  // namespace

void DefineScatterOps(OpRegistry& ops) {
  ops.Define("ScatterNd", "Zeros of the given shape with updates added at the coordinates that indices name.")
      .Input("indices", "Tindices")
      .Input("updates", "T")
      .Input("shape", "Tindices")
      .Output("output", "T")
      .Type("T")
      .Type("Tindices", kIndexTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape shape, ShapeFromInput(c, 2));
        RETURN_IF_ERROR(CheckUpdates(shape, c.input(0), c.input(1)));
        c.SetOutput(0, shape);
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) { g.Into("updates") = GatherNd(g.dy(), g["indices"]); });

  ops.Define("ScatterNdNonAliasingAdd", "The input with updates added at the coordinates that indices name.")
      .Input("input", "T")
      .Input("indices", "Tindices")
      .Input("updates", "T")
      .Output("output", "T")
      .Type("T", kPlainTypes)
      .Type("Tindices", kIndexTypes)
      .Shape(IntoTensorShape)
      .Gradient([](GradientScope& g) {
        g.Into("input") = g.dy();
        g.Into("updates") = GatherNd(g.dy(), g["indices"]);
      });

  DefineTensorScatter(ops, "TensorScatterUpdate",
                      "A copy of the tensor with updates written at indices; the last one wins.")
      .Gradient([](GradientScope& g) {
        const Out dy = g.dy();
        g.Into("tensor") = g.Op("TensorScatterUpdate", {dy, g["indices"], ZerosLike(g["updates"])});
        g.Into("updates") = GatherNd(dy, g["indices"]);
      });
  DefineTensorScatter(ops, "TensorScatterAdd", "A copy of the tensor with updates added at indices.")
      .Gradient([](GradientScope& g) {
        g.Into("tensor") = g.dy();
        g.Into("updates") = GatherNd(g.dy(), g["indices"]);
      });
  DefineTensorScatter(ops, "TensorScatterSub", "A copy of the tensor with updates subtracted at indices.")
      .Gradient([](GradientScope& g) {
        g.Into("tensor") = g.dy();
        g.Into("updates") = -GatherNd(g.dy(), g["indices"]);
      });
}

}  // namespace sluice
