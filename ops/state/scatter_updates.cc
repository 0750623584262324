// Gathers from variables, and updates of some of their rows, elements or slices.

#include <algorithm>

#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/expr/expr.h"
#include "ops/state/state_ops.h"

namespace sluice {
namespace {

PartialShape ValueShape(const ShapeContext& c, bool resource) {
  if (!resource) return c.input(0);
  const HandleData* h = c.handle(0);
  return h != nullptr && !h->shapes.empty() ? h->shapes[0] : PartialShape();
}

// a's dimensions from `from` on, behind those of `head`.
PartialShape Join(const PartialShape& head, const PartialShape& a, int from) {
  if (!head.known_rank() || !a.known_rank()) return PartialShape();
  PartialShape s = head;
  for (int i = from; i < a.rank(); ++i) s.AddDim(a.dim(i));
  return s;
}

absl::Status CheckRank(const PartialShape& s, int least) {
  if (s.known_rank() && s.rank() < least) {
    return InvalidArgument("the variable must have rank ", least, " or more, its shape is ", s.ToString());
  }
  return absl::OkStatus();
}

// updates: a scalar, or indices.shape + variable.shape[1:].
ShapeRule ScatterRule(bool resource) {
  return [resource](ShapeContext& c) -> absl::Status {
    PartialShape variable = ValueShape(c, resource);
    RETURN_IF_ERROR(CheckRank(variable, 1));
    if (c.input(2).rank() != 0 && variable.known_rank()) {
      PartialShape wanted = Join(c.input(1), variable, 1);
      if (!wanted.IsCompatibleWith(c.input(2))) {
        return InvalidArgument("updates must have shape ", wanted.ToString(), " (of indices, then of a row), found ",
                               c.input(2).ToString());
      }
    }
    if (!resource) c.SetOutput(0, variable);
    return absl::OkStatus();
  };
}

// updates: indices.shape[:-1] + variable.shape[indices.shape[-1]:].
ShapeRule ScatterNdRule(bool resource) {
  return [resource](ShapeContext& c) -> absl::Status {
    PartialShape variable = ValueShape(c, resource);
    const PartialShape& indices = c.input(1);
    if (indices.known_rank() && indices.rank() > 0 && variable.known_rank()) {
      int64_t depth = indices.dim(indices.rank() - 1);
      if (depth > variable.rank()) {
        return InvalidArgument("indices of ", depth, " parts address a variable of shape ", variable.ToString());
      }
      if (depth >= 0) {
        PartialShape wanted =
            Join(PartialShape(indices.dims().subspan(0, indices.rank() - 1)), variable, static_cast<int>(depth));
        if (!wanted.IsCompatibleWith(c.input(2))) {
          return InvalidArgument("updates must have shape ", wanted.ToString(), ", found ", c.input(2).ToString());
        }
      }
    }
    if (!resource) c.SetOutput(0, variable);
    return absl::OkStatus();
  };
}

// The first row count of the variable, as a vector [n, row...] of the index type.
Out VariableShapeOf(GradientScope& g) {
  return g.Op("VariableShape", {g["resource"]}, {{"out_type", g["indices"].dtype()}});
}

void DefineScatters(OpRegistry& ops) {
  for (const char* kind : {"Update", "Add", "Sub", "Mul", "Div", "Min", "Max"}) {
    bool ordered = std::string(kind) == "Min" || std::string(kind) == "Max";
    DTypeSet types = std::string(kind) == "Update" ? kAllTypes : ordered ? kRealTypes : kNumberTypes;
    bool locking = std::string(kind) == "Update";
    ops.Define(absl::StrCat("Scatter", kind),
               "Changes rows of a variable: the rows that `indices` names, by `updates`.")
        .Input("ref", "Ref(T)")
        .Input("indices", "Tindices")
        .Input("updates", "T")
        .Output("output_ref", "Ref(T)")
        .Type("T", types)
        .Type("Tindices", kIndexTypes)
        .Attr(locking ? "use_locking: bool = true" : "use_locking: bool = false")
        .Traits(kStateful | kWritesState | kNotDifferentiable)
        .Shape(ScatterRule(false));
    ops.Define(absl::StrCat("ResourceScatter", kind),
               "Changes rows of a variable: the rows that `indices` names, by `updates`.")
        .Input("resource", "resource")
        .Input("indices", "Tindices")
        .Input("updates", "dtype")
        .Type("dtype", types)
        .Type("Tindices", kIndexTypes)
        .Traits(kStateful | kWritesState)
        .Shape(ScatterRule(true));
  }
  for (const char* kind : {"Update", "Add", "Sub"}) {
    bool update = std::string(kind) == "Update";
    ops.Define(absl::StrCat("ScatterNd", kind),
               "Changes the elements or slices of a variable that `indices` addresses.")
        .Input("ref", "Ref(T)")
        .Input("indices", "Tindices")
        .Input("updates", "T")
        .Output("output_ref", "Ref(T)")
        .Type("T", update ? kAllTypes : kNumberTypes)
        .Type("Tindices", kIndexTypes)
        .Attr(update ? "use_locking: bool = true" : "use_locking: bool = false")
        .Traits(kStateful | kWritesState | kNotDifferentiable)
        .Shape(ScatterNdRule(false));
    ops.Define(absl::StrCat("ResourceScatterNd", kind),
               "Changes the elements or slices of a variable that `indices` addresses.")
        .Input("ref", "resource")
        .Input("indices", "Tindices")
        .Input("updates", "T")
        .Type("T", update ? kAllTypes : kNumberTypes)
        .Type("Tindices", kIndexTypes)
        .Attr("use_locking: bool = true")
        .Traits(kStateful | kWritesState)
        .Shape(ScatterNdRule(true));
  }
}

void DefineGathers(OpRegistry& ops) {
  ops.Define("ResourceGather", "Rows of a variable, without reading the rest of it.")
      .Input("resource", "resource")
      .Input("indices", "Tindices")
      .Output("output", "dtype")
      .Attr("batch_dims: int = 0")
      .Attr("validate_indices: bool = true")
      .Type("dtype")
      .Type("Tindices", kIndexTypes)
      .Traits(kStateful | kReadsState)
      .Shape([](ShapeContext& c) -> absl::Status {
        PartialShape variable = ValueShape(c, true);
        RETURN_IF_ERROR(CheckRank(variable, 1));
        ASSIGN_OR_RETURN(int64_t batch_dims, c.Attr<int64_t>("batch_dims"));
        if (batch_dims < 0) return InvalidArgument("batch_dims must not be negative, found ", batch_dims);
        RETURN_IF_ERROR(CheckRank(variable, static_cast<int>(std::min<int64_t>(batch_dims, kMaxRank)) + 1));
        c.SetOutput(0, Join(c.input(1), variable, static_cast<int>(batch_dims) + 1));
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) -> absl::Status {
        if (g.MustAttr<int64_t>("batch_dims") != 0)
          return Unimplemented("ResourceGather with batch_dims has no gradient");
        Out shape = VariableShapeOf(g);
        Out indices = g["indices"];
        DType t = indices.dtype();
        Out rows = Reshape(indices, g.Ints({-1}, t));
        Out row_shape = Slice(shape, g.Ints({1}, t), g.Ints({-1}, t));
        Out values = Reshape(g.dy(), Concat({g.Ints({-1}, t), row_shape}, g.Int(0)));
        g.IntoSparse("resource", values, rows, shape);
        return absl::OkStatus();
      });
  ops.Define("ResourceGatherNd", "Elements or slices of a variable, without reading the rest of it.")
      .Input("resource", "resource")
      .Input("indices", "Tindices")
      .Output("output", "dtype")
      .Type("dtype")
      .Type("Tindices", kIndexTypes)
      .Traits(kStateful | kReadsState)
      .Shape([](ShapeContext& c) -> absl::Status {
        PartialShape variable = ValueShape(c, true);
        const PartialShape& indices = c.input(1);
        if (!indices.known_rank() || indices.rank() == 0 || !variable.known_rank()) return absl::OkStatus();
        int64_t depth = indices.dim(indices.rank() - 1);
        if (depth > variable.rank()) {
          return InvalidArgument("indices of ", depth, " parts address a variable of shape ", variable.ToString());
        }
        if (depth >= 0) {
          c.SetOutput(
              0, Join(PartialShape(indices.dims().subspan(0, indices.rank() - 1)), variable, static_cast<int>(depth)));
        }
        return absl::OkStatus();
      })
      .Gradient([](GradientScope& g) {
        g.Into("resource") = g.Op("ScatterNd", {g["indices"], g.dy(), VariableShapeOf(g)});
      });
}

}  // namespace

void DefineScatterUpdates(OpRegistry& ops) {
  DefineScatters(ops);
  DefineGathers(ops);
}

}  // namespace sluice
