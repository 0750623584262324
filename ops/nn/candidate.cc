// Candidate samplers: classes drawn at random for a loss that looks at few of many classes.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/nn/nn_ops.h"

namespace sluice {
namespace {

void DefineSampler(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  ops.Define(name, summary)
      .Input("true_classes", "int64")
      .Output("sampled_candidates", "int64")
      .Output("true_expected_count", "float")
      .Output("sampled_expected_count", "float")
      .Attr("num_true: int >= 1")
      .Attr("num_sampled: int >= 1")
      .Attr("unique: bool")
      .Attr("range_max: int >= 1")
      .Attr("seed: int = 0")
      .Attr("seed2: int = 0")
      .Traits(kStateful | kRandom | kNotDifferentiable)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape classes, c.WithRank(0, 2));
        ASSIGN_OR_RETURN(int64_t num_true, c.Attr<int64_t>("num_true"));
        ASSIGN_OR_RETURN(int64_t num_sampled, c.Attr<int64_t>("num_sampled"));
        ASSIGN_OR_RETURN(int64_t range_max, c.Attr<int64_t>("range_max"));
        ASSIGN_OR_RETURN(bool unique, c.Attr<bool>("unique"));
        if (classes.dim(1) >= 0 && classes.dim(1) != num_true) {
          return InvalidArgument("true_classes is ", classes.ToString(), ", wanted num_true=", num_true, " columns");
        }
        if (unique && num_sampled > range_max) {
          return InvalidArgument("num_sampled=", num_sampled,
                                 " unique candidates cannot come from range_max=", range_max);
        }
        c.SetOutput(0, {num_sampled});
        c.SetOutput(1, {classes.dim(0), num_true});
        c.SetOutput(2, {num_sampled});
        return absl::OkStatus();
      });
}

}  // namespace

void DefineCandidateOps(OpRegistry& ops) {
  DefineSampler(ops, "UniformCandidateSampler", "Draws classes from [0, range_max) with equal probability.");
  DefineSampler(ops, "LogUniformCandidateSampler",
                "Draws classes from [0, range_max) with probability log((k + 2) / (k + 1)) / log(range_max + 1), for "
                "classes sorted "
                "by falling frequency.");
  ops.Define("ComputeAccidentalHits",
             "Where sampled candidates are true classes: for each hit the row, the position in "
             "sampled_candidates, and the weight -FLT_MAX that removes it from a softmax.")
      .Input("true_classes", "int64")
      .Input("sampled_candidates", "int64")
      .Output("indices", "int32")
      .Output("ids", "int64")
      .Output("weights", "float")
      .Attr("num_true: int")
      .Attr("seed: int = 0")
      .Attr("seed2: int = 0")
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(PartialShape classes, c.WithRank(0, 2));
        ASSIGN_OR_RETURN(int64_t num_true, c.Attr<int64_t>("num_true"));
        if (classes.dim(1) >= 0 && classes.dim(1) != num_true) {
          return InvalidArgument("true_classes is ", classes.ToString(), ", wanted num_true=", num_true, " columns");
        }
        RETURN_IF_ERROR(c.WithRank(1, 1).status());
        for (int i = 0; i < 3; ++i) c.SetOutput(i, PartialShape::UnknownDims(1));
        return absl::OkStatus();
      });
}

}  // namespace sluice
