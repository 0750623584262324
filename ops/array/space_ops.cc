// Ops that move blocks of space to the batch or to the channels, and patches of images.
#include "core/base/status.h"
#include "core/op/op_registry.h"
#include "ops/array/sizes.h"
#include "ops/array/topics.h"
#include "ops/expr/expr.h"

namespace sluice {
namespace {

std::optional<std::vector<int64_t>> TableInts(const ShapeContext& c, int i) {
  const Tensor* t = c.constant(i);
  if (t == nullptr || !IsIndexType(t->dtype())) return std::nullopt;
  std::vector<int64_t> values(t->num_elements());
  for (size_t k = 0; k < values.size(); ++k) values[k] = t->IntAt(k);
  return values;
}

// Input 0 is [batch, space ..., rest ...]; `table` is the input with the [M, 2] paddings or crops.
absl::Status BlockShape(ShapeContext& c, std::optional<std::vector<int64_t>> block, int64_t num_block_dims, int table,
                        bool to_batch) {
  const char* table_name = to_batch ? "paddings" : "crops";
  ASSIGN_OR_RETURN(const PartialShape table_shape, c.WithRank(table, 2));
  ASSIGN_OR_RETURN(num_block_dims, MergeSizes(num_block_dims, table_shape.dim(0), "block_shape and its table"));
  if (table_shape.dim(1) >= 0 && table_shape.dim(1) != 2) {
    return InvalidArgument(table_name, " must have two columns, found shape ", table_shape.ToString());
  }
  const PartialShape& in = c.input(0);
  c.SetOutput(0, PartialShape());
  if (!in.known_rank()) return absl::OkStatus();
  if (in.rank() < 1 || (num_block_dims >= 0 && in.rank() < 1 + num_block_dims)) {
    return InvalidArgument("input ", in.ToString(), " needs a batch and ", num_block_dims, " block dimensions");
  }
  if (num_block_dims < 0) {
    c.SetOutput(0, PartialShape::UnknownDims(in.rank()));
    return absl::OkStatus();
  }
  PartialShape out = in;
  const std::optional<std::vector<int64_t>> pads = TableInts(c, table);
  int64_t batch = in.dim(0);
  for (int i = 0; i < num_block_dims; ++i) {
    int64_t size = in.dim(i + 1);
    const int64_t b = block.has_value() ? (*block)[i] : kUnknownDim;
    if (block.has_value() && b < 1) return InvalidArgument("block_shape[", i, "] = ", b, " must be positive");
    int64_t both = kUnknownDim;
    if (pads.has_value()) {
      const int64_t before = (*pads)[2 * i], after = (*pads)[2 * i + 1];
      if (before < 0 || after < 0)
        return InvalidArgument(table_name, "[", i, "] must be non-negative, found ", before, ", ", after);
      ASSIGN_OR_RETURN(both, AddSizes(before, after));
    }
    if (to_batch) {
      ASSIGN_OR_RETURN(size, AddSizes(size, both));
      ASSIGN_OR_RETURN(size, DivideSize(size, b, absl::StrCat("padded dimension ", i + 1, " of ", in.ToString())));
      ASSIGN_OR_RETURN(batch, MultiplySizes(batch, b));
    } else {
      ASSIGN_OR_RETURN(size, MultiplySizes(size, b));
      if (both < 0) size = kUnknownDim;
      if (size >= 0 && both > size) {
        return InvalidArgument("crops[", i, "] take ", both, " of ", size, " places");
      }
      if (size >= 0) size -= both;
      ASSIGN_OR_RETURN(batch, DivideSize(batch, b, "the batch size"));
    }
    out.SetDim(i + 1, size);
  }
  out.SetDim(0, batch);
  c.SetOutput(0, out);
  return absl::OkStatus();
}

ShapeRule NdRule(bool to_batch) {
  return [to_batch](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(const PartialShape block_shape, c.WithRank(1, 1));
    return BlockShape(c, c.ints(1), block_shape.dim(0), 2, to_batch);
  };
}

ShapeRule SquareRule(bool to_batch) {
  return [to_batch](ShapeContext& c) -> absl::Status {
    RETURN_IF_ERROR(c.WithRank(0, 4).status());
    ASSIGN_OR_RETURN(const int64_t size, c.Attr<int64_t>("block_size"));
    return BlockShape(c, std::vector<int64_t>{size, size}, 2, 1, to_batch);
  };
}

void DefineBlockNd(OpRegistry& ops, absl::string_view name, absl::string_view summary, const char* table,
                   const char* type, bool to_batch) {
  ops.Define(name, summary)
      .Input("input", "T")
      .Input("block_shape", "Tblock_shape")
      .Input(table, type)
      .Output("output", "T")
      .Type("T")
      .Type("Tblock_shape", kIndexTypes, DType::kInt32)
      .Type(type, kIndexTypes, DType::kInt32)
      .Shape(NdRule(to_batch))
      .Gradient([to_batch](GradientScope& g) {
        g.Into("input") = g.Op(to_batch ? "BatchToSpaceND" : "SpaceToBatchND", {g.dy(), g.input(1), g.input(2)});
      });
}

void DefineBlock(OpRegistry& ops, absl::string_view name, absl::string_view summary, const char* table,
                 const char* type, bool to_batch) {
  ops.Define(name, summary)
      .Input("input", "T")
      .Input(table, type)
      .Output("output", "T")
      .Type("T")
      .Attr("block_size: int >= 2")
      .Type(type, kIndexTypes, DType::kInt32)
      .Shape(SquareRule(to_batch))
      .Gradient([to_batch](GradientScope& g) {
        g.Into("input") = g.Op(to_batch ? "BatchToSpace" : "SpaceToBatch", {g.dy(), g.input(1)},
                               {{"block_size", g.MustAttr<int64_t>("block_size")}});
      });
}

ShapeRule DepthRule(bool to_depth) {
  return [to_depth](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(const int64_t block, c.Attr<int64_t>("block_size"));
    ASSIGN_OR_RETURN(const std::string format, c.Attr<std::string>("data_format"));
    const bool vect = format == "NCHW_VECT_C";
    ASSIGN_OR_RETURN(PartialShape s, c.WithRank(0, vect ? 5 : 4));
    if (block < 2) return InvalidArgument("block_size must be at least 2, found ", block);
    const int h = format == "NHWC" ? 1 : 2, channel = format == "NHWC" ? 3 : 1;
    ASSIGN_OR_RETURN(const int64_t area, MultiplySizes(block, block));
    const std::string what = absl::StrCat("input ", c.input(0).ToString(), " in blocks of ", block);
    for (int d : {h, h + 1}) {
      ASSIGN_OR_RETURN(const int64_t size,
                       to_depth ? DivideSize(s.dim(d), block, what) : MultiplySizes(s.dim(d), block));
      s.SetDim(d, size);
    }
    ASSIGN_OR_RETURN(const int64_t size,
                     to_depth ? MultiplySizes(s.dim(channel), area) : DivideSize(s.dim(channel), area, what));
    s.SetDim(channel, size);
    c.SetOutput(0, s);
    return absl::OkStatus();
  };
}

void DefineDepth(OpRegistry& ops, absl::string_view name, absl::string_view summary, bool to_depth) {
  ops.Define(name, summary)
      .Input("input", "T")
      .Output("output", "T")
      .Type("T")
      .Attr("block_size: int >= 2")
      .Attr("data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'")
      .Shape(DepthRule(to_depth))
      .Gradient([to_depth](GradientScope& g) {
        g.Into("input") = g.Op(to_depth ? "DepthToSpace" : "SpaceToDepth", {g.dy()},
                               {{"block_size", g.MustAttr<int64_t>("block_size")},
                                {"data_format", g.MustAttr<std::string>("data_format")}});
      });
}

absl::Status PatchesShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape in, c.WithRank(0, 4));
  ASSIGN_OR_RETURN(const std::string padding, c.Attr<std::string>("padding"));
  std::vector<int64_t> lists[3];
  const char* const names[] = {"ksizes", "strides", "rates"};
  for (int i = 0; i < 3; ++i) {
    ASSIGN_OR_RETURN(lists[i], c.Attr<std::vector<int64_t>>(names[i]));
    if (lists[i].size() != 4 || lists[i][0] != 1 || lists[i][3] != 1) {
      return InvalidArgument(names[i], " must be [1, rows, columns, 1]");
    }
    for (int64_t v : lists[i]) {
      if (v < 1 || v > INT32_MAX) return InvalidArgument(names[i], " must be positive, found ", v);
    }
  }
  PartialShape out = in;
  int64_t channels = in.dim(3);
  for (int d = 1; d <= 2; ++d) {
    const int64_t window = (lists[0][d] - 1) * lists[2][d] + 1, stride = lists[1][d], size = in.dim(d);
    ASSIGN_OR_RETURN(channels, MultiplySizes(channels, lists[0][d]));
    if (size < 0) continue;
    if (padding != "SAME" && (size - window + stride) / stride < 0) {
      return InvalidArgument("windows of ", window, " places are larger than dimension ", d, " of ", in.ToString());
    }
    const int64_t covered = padding == "SAME" ? size : size - window + 1;
    out.SetDim(d, covered <= 0 ? 0 : (covered + stride - 1) / stride);
  }
  out.SetDim(3, channels);
  c.SetOutput(0, out);
  return absl::OkStatus();
}

// Takes patches of the numbers 1, 2 ... of the pixels (0 is padding), and adds dy up by them.
void PatchesGradient(GradientScope& g) {
  const Out images = g["images"];
  const AttrMap attrs = {{"ksizes", g.MustAttr<std::vector<int64_t>>("ksizes")},
                         {"strides", g.MustAttr<std::vector<int64_t>>("strides")},
                         {"rates", g.MustAttr<std::vector<int64_t>>("rates")},
                         {"padding", g.MustAttr<std::string>("padding")}};
  const Out shape = ShapeOf(images), patches_shape = ShapeOf(g.output(0));
  const auto at = [&](Out s, int64_t i) { return Slice(s, g.Ints({i}), g.Ints({1})); };
  const Out one = g.Ints({1}), zero = g.Int(0);
  const Out batch = at(shape, 0), rows = at(shape, 1), columns = at(shape, 2), channels = at(shape, 3);
  const Out pixels = Prod(Slice(shape, g.Ints({1}), g.Ints({2})), g.Ints({0}));
  const Out numbers = Reshape(Range(g.Int(1), pixels + g.Int(1), g.Int(1)), Concat({one, rows, columns, one}, zero));
  const Out places = Flat(g.Op("ExtractImagePatches", {numbers}, attrs));
  const auto& k = g.MustAttr<std::vector<int64_t>>("ksizes");
  const Out patch = g.Ints({k[1] * k[2]});
  // [batch, out rows, out columns, patch, channels] -> [out rows * out columns * patch, batch * channels]
  const Out split = Reshape(g.dy(), Concat({Slice(patches_shape, g.Ints({0}), g.Ints({3})), patch, channels}, zero));
  const Out by_place = Reshape(Transpose(split, g.Ints({1, 2, 3, 0, 4})),
                               Concat({Reshape(SizeOf(places), g.Ints({1})), batch * channels}, zero));
  const Out sums = g.Op("ScatterNd", {ExpandDims(places, g.Int(1)), by_place,
                                      Concat({Reshape(pixels + g.Int(1), g.Ints({1})), batch * channels}, zero)});
  const Out inner = Slice(sums, g.Ints({1, 0}), g.Ints({-1, -1}));
  g.Into("images") = Transpose(Reshape(inner, Concat({rows, columns, batch, channels}, zero)), g.Ints({2, 0, 1, 3}));
}

}  // namespace

void DefineSpaceOps(OpRegistry& ops) {
  DefineBlockNd(ops, "SpaceToBatchND", "Pads the block dimensions and moves the places within each block to the batch.",
                "paddings", "Tpaddings", true);
  DefineBlockNd(ops, "BatchToSpaceND", "The reverse of SpaceToBatchND, cropping instead of padding.", "crops", "Tcrops",
                false);
  DefineBlock(ops, "SpaceToBatch", "SpaceToBatchND for two dimensions and square blocks.", "paddings", "Tpaddings",
              true);
  DefineBlock(ops, "BatchToSpace", "BatchToSpaceND for two dimensions and square blocks.", "crops", "Tidx", false);
  DefineDepth(ops, "SpaceToDepth", "Moves the places within each square block to the channels.", true);
  DefineDepth(ops, "DepthToSpace", "Moves groups of channels to square blocks of space.", false);

  ops.Define("ExtractImagePatches", "The windows of an image, each flattened into the channels.")
      .Input("images", "T")
      .Output("patches", "T")
      .Attr("ksizes: list(int) >= 4")
      .Attr("strides: list(int) >= 4")
      .Attr("rates: list(int) >= 4")
      .Type("T", kArithmeticTypes | DTypeSet{DType::kBool})
      .Attr("padding: {'SAME', 'VALID'}")
      .Shape(PatchesShape)
      .Gradient(PatchesGradient);
}

}  // namespace sluice
