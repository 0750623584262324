// tf.Example messages to dense and sparse tensors.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/data/data_ops.h"

namespace sluice {
namespace {

constexpr char kValueTypes[] = "{float, int64, string}";

// `batch` is the shape in front of every output: [n] for a vector of examples, [] for one.
absl::Status ExampleShape(ShapeContext& c, const PartialShape& batch) {
  ASSIGN_OR_RETURN(const auto shapes, c.Attr<std::vector<PartialShape>>("dense_shapes"));
  const int64_t rank = batch.known_rank() ? batch.rank() + 1 : kUnknownDim;
  auto set = [&](absl::string_view output, auto shape) {
    const ArgRange range = c.OutputRange(output);
    for (int i = range.begin; i < range.end; ++i) c.SetOutput(i, shape(i - range.begin));
    return range.end - range.begin;
  };
  set("sparse_indices", [&](int) { return PartialShape({kUnknownDim, rank}); });
  set("sparse_values", [&](int) { return PartialShape({kUnknownDim}); });
  set("sparse_shapes", [&](int) { return PartialShape({rank}); });
  const ArgRange dense = c.OutputRange("dense_values");
  if (static_cast<int>(shapes.size()) != dense.end - dense.begin) {
    return InvalidArgument("dense_shapes has ", shapes.size(), " elements for ", dense.end - dense.begin,
                           " dense features");
  }
  set("dense_values", [&](int i) {
    if (!batch.known_rank() || !shapes[i].known_rank()) return PartialShape();
    PartialShape out = batch;
    for (int64_t dim : shapes[i].dims()) out.AddDim(dim);
    return out;
  });
  return absl::OkStatus();
}

}  // namespace

void DefineExampleOps(OpRegistry& ops) {
  ops.Define("ParseExample", "Reads the features of serialized Example messages, a batch at a time.")
      .Input("serialized", "string")
      .Input("names", "string", "for error messages; may be empty")
      .Input("sparse_keys", "Nsparse * string")
      .Input("dense_keys", "Ndense * string")
      .Input("dense_defaults", "Tdense", "for each dense feature the value when it is missing; empty: it is required")
      .Output("sparse_indices", "Nsparse * int64")
      .Output("sparse_values", "sparse_types")
      .Output("sparse_shapes", "Nsparse * int64")
      .Output("dense_values", "Tdense")
      .Attr("Nsparse: int >= 0")
      .Attr("Ndense: int >= 0")
      .Attr(absl::StrCat("sparse_types: list(", kValueTypes, ") >= 0"))
      .Attr(absl::StrCat("Tdense: list(", kValueTypes, ") >= 0"))
      .Attr("dense_shapes: list(shape) >= 0", "the first size may be unknown: then rows are padded")
      .Traits(kDataTraits)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(const PartialShape batch, c.WithRank(0, 1));
        return ExampleShape(c, batch);
      });
  ops.Define("ParseSingleExample", "Reads the features of one serialized Example message.")
      .Input("serialized", "string")
      .Input("dense_defaults", "Tdense")
      .Output("sparse_indices", "num_sparse * int64")
      .Output("sparse_values", "sparse_types")
      .Output("sparse_shapes", "num_sparse * int64")
      .Output("dense_values", "Tdense")
      .Attr("num_sparse: int >= 0")
      .Attr("sparse_keys: list(string) >= 0")
      .Attr("dense_keys: list(string) >= 0")
      .Attr(absl::StrCat("sparse_types: list(", kValueTypes, ") >= 0"))
      .Attr(absl::StrCat("Tdense: list(", kValueTypes, ") >= 0"))
      .Attr("dense_shapes: list(shape) >= 0")
      .Traits(kDataTraits)
      .Shape([](ShapeContext& c) -> absl::Status {
        ASSIGN_OR_RETURN(const PartialShape batch, c.WithRank(0, 0));
        return ExampleShape(c, batch);
      });
}

}  // namespace sluice
