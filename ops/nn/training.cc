// The update steps of optimisers. Each has up to four forms: on reference variables or on resources, with a dense
// gradient or with one for some rows. A row of the table below defines all forms it names.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

enum Forms {
  kRef = 1,
  kResource = 2,
  kSparseRef = 4,
  kSparseResource = 8,
  kDense = kRef | kResource,
  kSparse = kSparseRef | kSparseResource
};

struct Update {
  const char* name;  // after Apply
  int forms;
  const char* state;   // the variable and its slots
  const char* values;  // the rest in order; gradients are "grad" and "delta", "step" is the integer global_step
  const char* attr;    // "" for none beyond use_locking
  const char* summary;
};

constexpr Update kUpdates[] = {
    {"GradientDescent", kDense, "var", "alpha delta", "", "var -= alpha * delta."},
    {"ProximalGradientDescent", kDense, "var", "alpha l1 l2 delta", "",
     "Gradient descent, then shrinkage by l1 and l2; Duchi & Singer 2009 (FOBOS)."},
    {"ProximalGradientDescent", kSparse, "var", "alpha l1 l2 grad", "",
     "Gradient descent, then shrinkage by l1 and l2; Duchi & Singer 2009 (FOBOS)."},
    {"Momentum", kDense | kSparse, "var accum", "lr grad momentum", "use_nesterov: bool = false",
     "accum = momentum * accum + grad; var -= lr * accum, or lr * (grad + momentum * accum) for Nesterov's form."},
    {"KerasMomentum", kResource | kSparseResource, "var accum", "lr grad momentum", "use_nesterov: bool = false",
     "accum = momentum * accum - lr * grad; var += accum, or momentum * accum - lr * grad for Nesterov's form."},
    {"Adagrad", kDense | kSparse, "var accum", "lr grad", "update_slots: bool = true",
     "accum += grad^2; var -= lr * grad / sqrt(accum); Duchi et al. 2011."},
    {"AdagradV2", kDense | kSparse, "var accum", "lr epsilon grad", "update_slots: bool = true",
     "accum += grad^2; var -= lr * grad / (sqrt(accum) + epsilon)."},
    {"AdagradDA", kDense | kSparse, "var gradient_accumulator gradient_squared_accumulator", "grad lr l1 l2 step", "",
     "Adagrad with dual averaging: var from the sums of gradients and their squares; Duchi et al. 2011."},
    {"ProximalAdagrad", kDense | kSparse, "var accum", "lr l1 l2 grad", "", "Adagrad, then shrinkage by l1 and l2."},
    {"Adadelta", kDense | kSparse, "var accum accum_update", "lr rho epsilon grad", "",
     "Steps scaled by the ratio of the decayed squares of updates and gradients; Zeiler 2012."},
    {"RMSProp", kDense | kSparse, "var ms mom", "lr rho momentum epsilon grad", "",
     "ms = rho * ms + (1 - rho) * grad^2; mom = momentum * mom + lr * grad / sqrt(ms + epsilon); var -= mom."},
    {"CenteredRMSProp", kDense | kSparse, "var mg ms mom", "lr rho momentum epsilon grad", "",
     "RMSProp with ms less the square of the mean gradient mg."},
    {"Adam", kDense, "var m v", "beta1_power beta2_power lr beta1 beta2 epsilon grad", "use_nesterov: bool = false",
     "Steps by bias-corrected moments m and v of the gradient; Kingma & Ba 2015."},
    {"AdamWithAmsgrad", kResource, "var m v vhat", "beta1_power beta2_power lr beta1 beta2 epsilon grad", "",
     "Adam whose second moment never falls; Reddi et al. 2018."},
    {"AdaMax", kDense, "var m v", "beta1_power lr beta1 beta2 epsilon grad", "",
     "Adam with the infinity norm in place of the second moment; Kingma & Ba 2015."},
    {"Ftrl", kDense | kSparse, "var accum linear", "grad lr l1 l2 lr_power", "",
     "Follow the regularized leader, proximal form; McMahan et al. 2013."},
    {"FtrlV2", kDense | kSparse, "var accum linear", "grad lr l1 l2 l2_shrinkage lr_power", "",
     "Ftrl with l2_shrinkage of the weights added to the gradient."},
    {"AddSign", kDense, "var m", "lr alpha sign_decay beta grad", "",
     "var -= lr * (alpha + sign_decay * sign(grad) * sign(m)) * grad; Bello et al. 2017."},
    {"PowerSign", kDense, "var m", "lr logbase sign_decay beta grad", "",
     "var -= lr * exp(logbase * sign_decay * sign(grad) * sign(m)) * grad; Bello et al. 2017."},
};

// The shape behind state input i: that of the reference, or what is known of the resource.
PartialShape StateShape(const ShapeContext& c, int i, bool resource) {
  if (!resource) return c.input(i);
  const HandleData* handle = c.handle(i);
  return handle == nullptr || handle->shapes.empty() ? PartialShape() : handle->shapes[0];
}

absl::Status UpdateShape(ShapeContext& c, int num_state, bool resource, bool sparse) {
  PartialShape var = StateShape(c, 0, resource);
  for (int i = 1; i < num_state; ++i) {
    auto merged = var.MergeWith(StateShape(c, i, resource));
    if (!merged.ok()) {
      return InvalidArgument(c.op().inputs[i].name, " is ", StateShape(c, i, resource).ToString(), ", but var is ",
                             var.ToString());
    }
    var = *std::move(merged);
  }
  for (int i = num_state; i < c.num_inputs(); ++i) {
    const std::string& name = c.op().inputs[i].name;
    if (name == "indices") continue;
    if (name != "grad" && name != "delta") {
      RETURN_IF_ERROR(Annotate(c.WithRank(i, 0).status(), name));
      continue;
    }
    PartialShape wanted = var;
    if (sparse) {
      ASSIGN_OR_RETURN(PartialShape indices, c.WithRank(i + 1, 1));
      if (wanted.known_rank() && wanted.rank() == 0) return InvalidArgument("var is a scalar, wanted rows to update");
      if (wanted.known_rank()) wanted.SetDim(0, indices.dim(0));
    }
    auto merged = wanted.MergeWith(c.input(i));
    if (!merged.ok()) {
      return InvalidArgument(name, " is ", c.input(i).ToString(), ", wanted ", wanted.ToString(),
                             sparse ? " (a row for each index, as var has them)" : " (the shape of var)");
    }
    if (!sparse) var = *std::move(merged);
  }
  if (!resource) c.SetOutput(0, var);
  return absl::OkStatus();
}

void DefineUpdate(OpRegistry& ops, const Update& u, bool resource, bool sparse) {
  const std::string name = absl::StrCat(resource ? "Resource" : "", sparse ? "SparseApply" : "Apply", u.name);
  OpBuilder b = ops.Define(name, absl::StrCat(u.summary, sparse ? " For the rows of `indices` only." : ""));
  int num_state = 0;
  for (absl::string_view state : absl::StrSplit(u.state, ' ')) {
    b.Input(state, resource ? "resource" : "Ref(T)");
    ++num_state;
  }
  for (absl::string_view value : absl::StrSplit(u.values, ' ')) {
    if (value == "step") {
      b.Input("global_step", "int64");
    } else {
      b.Input(value, "T");
    }
    if (sparse && value == "grad") b.Input("indices", "Tindices");
  }
  if (!resource) b.Output("out", "Ref(T)");
  b.Type("T", kNumberTypes);
  if (sparse) b.Type("Tindices", kIndexTypes);
  b.Attr("use_locking: bool = false");
  if (*u.attr != '\0') b.Attr(u.attr);
  b.Traits(kStateful | kReadsState | kWritesState | kSideEffect | kNotDifferentiable);
  b.Shape([=](ShapeContext& c) { return UpdateShape(c, num_state, resource, sparse); });
}

}  // namespace

void DefineTrainingOps(OpRegistry& ops) {
  for (const Update& u : kUpdates) {
    if (u.forms & kRef) DefineUpdate(ops, u, false, false);
    if (u.forms & kResource) DefineUpdate(ops, u, true, false);
    if (u.forms & kSparseRef) DefineUpdate(ops, u, false, true);
    if (u.forms & kSparseResource) DefineUpdate(ops, u, true, true);
  }
}

}  // namespace sluice
