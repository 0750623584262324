// Saving and restoring tensors.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/data/data_ops.h"

namespace sluice {
namespace {

constexpr uint32_t kReads = kHostOnly | kStateful | kNotDifferentiable;
constexpr uint32_t kWrites = kReads | kSideEffect;

// Input `i` has one element for each of `count` tensors.
absl::Status CheckVector(ShapeContext& c, int i, int count, absl::string_view what) {
  ASSIGN_OR_RETURN(const PartialShape shape, c.WithRank(i, 1));
  if (shape.dim(0) != kUnknownDim && shape.dim(0) != count) {
    return InvalidArgument(what, " has ", shape.dim(0), " elements for ", count, " tensors");
  }
  return absl::OkStatus();
}

absl::Status SaveShape(ShapeContext& c) {
  const ArgRange tensors = c.InputRange("tensors");
  RETURN_IF_ERROR(c.WithRank(0, 0).status());
  RETURN_IF_ERROR(CheckVector(c, 1, tensors.end - tensors.begin, "tensor_names"));
  return CheckVector(c, 2, tensors.end - tensors.begin, "shape_and_slices");
}

absl::Status RestoreShape(ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(0, 0).status());
  RETURN_IF_ERROR(CheckVector(c, 1, c.num_outputs(), "tensor_names"));
  RETURN_IF_ERROR(CheckVector(c, 2, c.num_outputs(), "shape_and_slices"));
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, PartialShape());
  return absl::OkStatus();
}

absl::Status OldRestoreShape(ShapeContext& c) {
  for (int i = 0; i < c.num_inputs(); ++i) RETURN_IF_ERROR(c.WithRank(i, 0).status());
  c.SetOutput(0, PartialShape());
  return absl::OkStatus();
}

absl::Status ScalarsToScalar(ShapeContext& c) {
  for (int i = 0; i < c.num_inputs(); ++i) RETURN_IF_ERROR(c.WithRank(i, 0).status());
  c.SetOutput(0, PartialShape(Shape()));
  return absl::OkStatus();
}

}  // namespace

void DefineCheckpointOps(OpRegistry& ops) {
  ops.Define("SaveV2", "Saves tensors as one checkpoint, which appears complete or not at all.")
      .Input("prefix", "string", "of the checkpoint's files")
      .Input("tensor_names", "string")
      .Input("shape_and_slices", "string", "'' for a whole tensor, or e.g. '30 10 0,10:-': full shape and part")
      .Input("tensors", "dtypes")
      .Attr("dtypes: list(type) >= 1")
      .Traits(kWrites)
      .Shape(SaveShape);
  ops.Define("RestoreV2", "Reads tensors, or parts of them, from a checkpoint.")
      .Input("prefix", "string")
      .Input("tensor_names", "string")
      .Input("shape_and_slices", "string")
      .Output("tensors", "dtypes")
      .Attr("dtypes: list(type) >= 1")
      .Traits(kReads)
      .Shape(RestoreShape);
  ops.Define("MergeV2Checkpoints", "Makes one checkpoint of those that several tasks saved; moves their data.")
      .Input("checkpoint_prefixes", "string")
      .Input("destination_prefix", "string")
      .Attr("delete_old_dirs: bool = true", "also removes the folders of checkpoint_prefixes, once empty")
      .Attr("allow_missing_files: bool = false")
      .Traits(kWrites)
      .Shape([](ShapeContext& c) -> absl::Status {
        RETURN_IF_ERROR(c.WithRank(0, 1).status());
        return c.WithRank(1, 0).status();
      });
  ops.Define("ShardedFilename", "The name of one part of a sharded file: basename-00001-of-00004.")
      .Input("basename", "string")
      .Input("shard", "int32")
      .Input("num_shards", "int32")
      .Output("filename", "string")
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(ScalarsToScalar);
  ops.Define("ShardedFilespec", "The pattern that matches the names of all parts of a sharded file.")
      .Input("basename", "string")
      .Input("num_shards", "int32")
      .Output("filename", "string")
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(ScalarsToScalar);
  ops.Define("Restore", "Reads one tensor from a checkpoint.")
      .Input("file_pattern", "string")
      .Input("tensor_name", "string")
      .Output("tensor", "dt")
      .Type("dt")
      .Attr("preferred_shard: int = -1", "ignored")
      .Traits(kReads)
      .Shape(OldRestoreShape);
  ops.Define("RestoreSlice", "Reads one tensor, or a part of it, from a checkpoint.")
      .Input("file_pattern", "string")
      .Input("tensor_name", "string")
      .Input("shape_and_slice", "string")
      .Output("tensor", "dt")
      .Type("dt")
      .Attr("preferred_shard: int = -1", "ignored")
      .Traits(kReads)
      .Shape(OldRestoreShape);
}

}  // namespace sluice
