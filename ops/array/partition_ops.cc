// Ops that deal slices out to several tensors by index, and put them together again.
#include <algorithm>

#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

absl::Status DynamicPartitionShape(ShapeContext& c) {
  const PartialShape& data = c.input(0);
  const PartialShape& partitions = c.input(1);
  PartialShape out;
  if (data.known_rank() && partitions.known_rank()) {
    const int k = partitions.rank();
    if (data.rank() < k || !SubShape(data, 0, k).IsCompatibleWith(partitions)) {
      return InvalidArgument("the shape of data ", data.ToString(), " must begin with that of partitions ",
                             partitions.ToString());
    }
    out = JoinShapes({kUnknownDim}, SubShape(data, k));
  }
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, out);
  return absl::OkStatus();
}

// Deals out the flat positions as the data was dealt, and stitches the gradients by them.
void DynamicPartitionGradient(GradientScope& g) {
  const Out data = g["data"], partitions = g["partitions"];
  const int n = g.node()->num_outputs();
  const Out positions = Reshape(Iota(SizeOf(partitions)), ShapeOf(partitions));
  const Out parts = g.Op("DynamicPartition", {positions, partitions}, {{"num_partitions", n}});
  if (!parts.valid()) return;
  std::vector<Out> inputs;
  for (int i = 0; i < n; ++i) inputs.push_back(parts.output(i));
  for (int i = 0; i < n; ++i) inputs.push_back(g.dy(i));
  g.Into("data") = Reshape(g.Op("DynamicStitch", inputs), ShapeOf(data));
}

absl::Status DynamicStitchShape(ShapeContext& c) {
  const int n = c.num_inputs() / 2;
  PartialShape row;  // what follows the index in every data tensor
  int64_t largest = -1;
  bool all_known = true;
  for (int i = 0; i < n; ++i) {
    const PartialShape& indices = c.input(i);
    const PartialShape& data = c.input(n + i);
    if (const std::optional<std::vector<int64_t>> known = c.ints(i)) {
      for (int64_t v : *known) largest = std::max(largest, v);
    } else if (indices.num_elements() != 0) {
      all_known = false;
    }
    if (!indices.known_rank() || !data.known_rank()) continue;
    if (data.rank() < indices.rank() || !SubShape(data, 0, indices.rank()).IsCompatibleWith(indices)) {
      return InvalidArgument("the shape of data[", i, "] ", data.ToString(), " must begin with that of indices[", i,
                             "] ", indices.ToString());
    }
    ASSIGN_OR_RETURN(row, row.MergeWith(SubShape(data, indices.rank())));
  }
  c.SetOutput(0, JoinShapes({all_known ? largest + 1 : kUnknownDim}, row));
  return absl::OkStatus();
}

void DynamicStitchGradient(GradientScope& g) {
  const int n = g.node()->num_inputs() / 2;
  const Out dy = g.dy();
  for (int i = 0; i < n; ++i) g.Into(n + i) = Gather(dy, g.input(i), g.Int(0));
}

void DefineStitch(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  ops.Define(name, summary)
      .Input("indices", "N * int32")
      .Input("data", "N * T")
      .Output("merged", "T")
      .Attr("N: int >= 1")
      .Type("T")
      .Shape(DynamicStitchShape)
      .Gradient(DynamicStitchGradient);
}

}  // namespace

void DefinePartitionOps(OpRegistry& ops) {
  ops.Define("DynamicPartition", "Slice i of data goes to output partitions[i].")
      .Input("data", "T")
      .Input("partitions", "int32")
      .Output("outputs", "num_partitions * T")
      .Attr("num_partitions: int >= 1")
      .Type("T")
      .Shape(DynamicPartitionShape)
      .Gradient(DynamicPartitionGradient);

  DefineStitch(ops, "DynamicStitch", "merged[indices[m][i]] = data[m][i]; of equal indices the last one wins.");
  DefineStitch(ops, "ParallelDynamicStitch",
               "merged[indices[m][i]] = data[m][i]; here too the last of equal indices wins.");
}

}  // namespace sluice
