#include "ops/random/random_ops.h"

#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

constexpr uint32_t kDraws = kStateful | kRandom | kNotDifferentiable;
constexpr DTypeSet kIntTypes = {DType::kInt32, DType::kInt64};

absl::Status ShapeFromInput(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape s, c.InputAsShape(0));
  c.SetOutput(0, s);
  return absl::OkStatus();
}

absl::Status StatelessShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape seed, c.WithRank(1, 1));
  if (seed.dim(0) >= 0 && seed.dim(0) != 2)
    return InvalidArgument("seed must have 2 elements, found shape ", seed.ToString());
  return ShapeFromInput(c);
}

// A tensor for each element of the parameter: the shape asked for, then the parameter's own.
absl::Status ShapeThenParameter(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape s, c.InputAsShape(0));
  const PartialShape& parameter = c.input(1);
  if (s.known_rank() && parameter.known_rank()) {
    for (int64_t d : parameter.dims()) s.AddDim(d);
    c.SetOutput(0, s);
  }
  return absl::OkStatus();
}

absl::Status SamplesShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape logits, c.WithRank(0, 2));
  RETURN_IF_ERROR(c.WithRank(1, 0).status());
  const std::optional<int64_t> n = c.scalar(1);
  if (n && *n < 0) return InvalidArgument("num_samples must not be negative, found ", *n);
  c.SetOutput(0, {logits.dim(0), n.value_or(kUnknownDim)});
  return absl::OkStatus();
}

OpBuilder Seeded(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  OpBuilder b = ops.Define(name, summary);
  b.Attr("seed: int = 0", "With seed2 the key of the numbers; both 0 draw a key at random.")
      .Attr("seed2: int = 0")
      .Traits(kDraws);
  return b;
}

}  // namespace

void DefineRandomOps(OpRegistry& ops) {
  auto drawn = [&](const char* name, const char* summary) {
    OpBuilder b = Seeded(ops, name, summary);
    b.Input("shape", "T")
        .Output("output", "dtype")
        .Type("dtype", kFloatingTypes)
        .Type("T", kIntTypes)
        .Shape(ShapeFromInput);
  };
  drawn("RandomUniform", "Numbers from [0, 1).");
  drawn("RandomStandardNormal", "Numbers from the normal distribution of mean 0 and deviation 1.");
  drawn("TruncatedNormal", "As RandomStandardNormal, drawn again while further than 2 from 0.");
  Seeded(ops, "RandomUniformInt", "Integers from [minval, maxval).")
      .Input("shape", "T")
      .Input("minval", "Tout")
      .Input("maxval", "Tout")
      .Output("output", "Tout")
      .Type("Tout", kIntTypes)
      .Type("T", kIntTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRank(1, 0).status());
        RETURN_IF_ERROR(c.WithRank(2, 0).status());
        return ShapeFromInput(c);
      });
  Seeded(ops, "ParameterizedTruncatedNormal",
         "Normal numbers with these means and deviations, within these bounds, for each batch.")
      .Input("shape", "T")
      .Input("means", "dtype")
      .Input("stdevs", "dtype")
      .Input("minvals", "dtype")
      .Input("maxvals", "dtype")
      .Output("output", "dtype")
      .Type("dtype", kFloatingTypes)
      .Type("T", kIntTypes)
      .Shape([](ShapeContext& c) -> absl::Status {
        for (int i = 1; i < 5; ++i) {
          if (c.input(i).known_rank() && c.input(i).rank() > 1) return c.WithRank(i, 1).status();
        }
        return ShapeFromInput(c);
      });
  Seeded(ops, "RandomShuffle", "The rows of value in a random order.")
      .Input("value", "T")
      .Output("output", "T")
      .Type("T")
      .Shape(SameAs("value"));
  Seeded(ops, "Multinomial", "num_samples classes for each row of unnormalised log-probabilities.")
      .Input("logits", "T")
      .Input("num_samples", "int32")
      .Output("output", "output_dtype")
      .Type("T", kRealTypes)
      .Type("output_dtype", kIntTypes, DType::kInt64)
      .Shape(SamplesShape);
  ops.Define("RandomGamma", "For each alpha, numbers from the gamma distribution with that shape and rate 1.")
      .Attr("seed: int = 0")
      .Attr("seed2: int = 0")
      .Traits(kStateful | kRandom)
      .Input("shape", "S")
      .Input("alpha", "T")
      .Output("output", "T")
      .Type("S", kIntTypes)
      .Type("T", {DType::kHalf, DType::kFloat, DType::kDouble})
      .Shape(ShapeThenParameter)
      .Gradient([](GradientScope& g) {
        // Implicit reparameterisation (Figurnov, Mohamed, Mnih 2018), summed over the samples of each alpha.
        Out alpha = g["alpha"], sample = g["output"];
        Out axes = Range(g.Int(0), RankOf(sample) - RankOf(alpha), g.Int(1));
        g.Into("alpha") = Sum(g.dy() * Op2("RandomGammaGrad", alpha, sample), axes);
      });
  Seeded(ops, "RandomPoissonV2", "For each rate, numbers from the Poisson distribution of that mean.")
      .Input("shape", "S")
      .Input("rate", "R")
      .Output("output", "dtype")
      .Type("S", kIntTypes)
      .Type("R", {DType::kHalf, DType::kFloat, DType::kDouble, DType::kInt32, DType::kInt64}, DType::kDouble)
      .Type("dtype", {DType::kHalf, DType::kFloat, DType::kDouble, DType::kInt32, DType::kInt64}, DType::kInt64)
      .Shape(ShapeThenParameter);

  auto stateless = [&](const char* name, const char* summary) {
    OpBuilder b = ops.Define(name, summary);
    b.Input("shape", "T").Input("seed", "Tseed", "Two integers.").Output("output", "dtype").NotDifferentiable();
    b.Type("dtype", kFloatingTypes, DType::kFloat)
        .Type("T", kIntTypes, DType::kInt32)
        .Type("Tseed", kIntTypes, DType::kInt64);
    b.Shape(StatelessShape);
  };
  stateless("StatelessRandomUniform", "Numbers from [0, 1), the same for the same seed.");
  stateless("StatelessRandomNormal",
            "Numbers from the normal distribution of mean 0 and deviation 1, the same for the same seed.");
  stateless("StatelessTruncatedNormal", "As StatelessRandomNormal, drawn again while further than 2 from 0.");
  ops.Define("StatelessRandomUniformInt", "Integers from [minval, maxval), the same for the same seed.")
      .Input("shape", "T")
      .Input("seed", "Tseed")
      .Input("minval", "dtype")
      .Input("maxval", "dtype")
      .Output("output", "dtype")
      .Type("dtype", kIntTypes)
      .Type("T", kIntTypes)
      .Type("Tseed", kIntTypes, DType::kInt64)
      .NotDifferentiable()
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRank(2, 0).status());
        RETURN_IF_ERROR(c.WithRank(3, 0).status());
        return StatelessShape(c);
      });
  ops.Define("StatelessMultinomial", "As Multinomial, the same for the same seed.")
      .Input("logits", "T")
      .Input("num_samples", "int32")
      .Input("seed", "Tseed")
      .Output("output", "output_dtype")
      .Type("T", kRealTypes)
      .Type("Tseed", kIntTypes, DType::kInt64)
      .Type("output_dtype", kIntTypes, DType::kInt64)
      .NotDifferentiable()
      .Shape(SamplesShape);
}

}  // namespace sluice
