// Whole files as strings.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/data/data_ops.h"

namespace sluice {
namespace {

absl::Status AllScalars(ShapeContext& c) {
  for (int i = 0; i < c.num_inputs(); ++i) RETURN_IF_ERROR(c.WithRank(i, 0).status());
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, PartialShape(Shape()));
  return absl::OkStatus();
}

absl::Status MatchingFilesShape(ShapeContext& c) {
  const PartialShape& pattern = c.input(0);
  if (pattern.known_rank() && pattern.rank() > 1) return InvalidArgument("pattern must be a scalar or a vector");
  c.SetOutput(0, {kUnknownDim});
  return absl::OkStatus();
}

}  // namespace

void DefineFileOps(OpRegistry& ops) {
  // Files change between steps, so reading one is never folded into a constant.
  ops.Define("ReadFile", "The contents of a file.")
      .Input("filename", "string")
      .Output("contents", "string")
      .Traits(kHostOnly | kStateful | kNotDifferentiable)
      .Shape(AllScalars);
  ops.Define("WriteFile",
             "Writes a file, and its folders when they are missing; readers see the old contents or the new.")
      .Input("filename", "string")
      .Input("contents", "string")
      .Traits(kHostOnly | kStateful | kSideEffect | kNotDifferentiable)
      .Shape(AllScalars);
  ops.Define("MatchingFiles", "The files whose paths match any of the patterns (*, ?, [...]), sorted.")
      .Input("pattern", "string")
      .Output("filenames", "string")
      .Traits(kHostOnly | kStateful | kNotDifferentiable)
      .Shape(MatchingFilesShape);
}

}  // namespace sluice
