// Bytes to tensors and back: raw numbers, serialized tensors, text tables, images.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/data/data_ops.h"

namespace sluice {
namespace {

absl::Status DecodeRawShape(ShapeContext& c) {
  PartialShape out = c.input(0);
  if (out.known_rank()) out.AddDim(kUnknownDim);
  c.SetOutput(0, std::move(out));
  return absl::OkStatus();
}

absl::Status DecodeCsvShape(ShapeContext& c) {
  const ArgRange defaults = c.InputRange("record_defaults");
  for (int i = defaults.begin; i < defaults.end; ++i) {
    const PartialShape& shape = c.input(i);
    if (shape.known_rank() && (shape.rank() > 1 || (shape.rank() == 1 && shape.dim(0) > 1))) {
      return InvalidArgument("record_defaults must have at most one element each, number ", i - defaults.begin, " is ",
                             shape.ToString());
    }
  }
  for (int i = 0; i < c.num_outputs(); ++i) c.SetOutput(i, c.input(0));
  return absl::OkStatus();
}

absl::Status DecodeImageShape(ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(0, 0).status());
  ASSIGN_OR_RETURN(const int64_t channels, c.Attr<int64_t>("channels"));
  if (channels != 0 && channels != 1 && channels != 3 && channels != 4) {
    return InvalidArgument("channels must be 0 (as in the file), 1, 3 or 4, found ", channels);
  }
  c.SetOutput(0, {kUnknownDim, kUnknownDim, channels == 0 ? kUnknownDim : channels});
  return absl::OkStatus();
}

absl::Status EncodeImageShape(ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(0, 3).status());
  c.SetOutput(0, PartialShape(Shape()));
  return absl::OkStatus();
}

}  // namespace

void DefineDecodeOps(OpRegistry& ops) {
  ops.Define("DecodeRaw", "Reads the bytes of each string as numbers; all strings must have one length.")
      .Input("bytes", "string")
      .Output("output", "out_type")
      .Type("out_type", kArithmeticTypes | DTypeSet{DType::kBool})
      .Attr("little_endian: bool = true")
      .Traits(kDataTraits)
      .Shape(DecodeRawShape);
  ops.Define("DecodeCompressed", "Decompresses each string.")
      .Input("bytes", "string")
      .Output("output", "string")
      .Attr("compression_type: {'', 'ZLIB', 'GZIP'} = ''")
      .Traits(kDataTraits | kElementwise)
      .Shape(SameAs("bytes"));
  ops.Define("ParseTensor", "The tensor in a serialized TensorProto message.")
      .Input("serialized", "string")
      .Output("output", "out_type")
      .Type("out_type")
      .Traits(kDataTraits)
      .Shape([](ShapeContext& c) -> absl::Status {
        c.SetOutput(0, PartialShape());
        return c.WithRank(0, 0).status();
      });
  ops.Define("SerializeTensor", "The tensor as a serialized TensorProto message.")
      .Input("tensor", "T")
      .Output("serialized", "string")
      .Type("T")
      .Traits(kDataTraits)
      .Shape(ScalarShape());
  ops.Define("DecodeCSV", "Splits lines of comma-separated values into one tensor for each column.")
      .Input("records", "string")
      .Input("record_defaults", "OUT_TYPE", "for each column the value of an empty field; empty: a value is required")
      .Output("output", "OUT_TYPE")
      .Attr("OUT_TYPE: list({float, double, int32, int64, string}) >= 1")
      .Attr("field_delim: string = ','")
      .Attr("use_quote_delim: bool = true")
      .Attr("na_value: string = ''", "also read as an empty field")
      .Attr("select_cols: list(int) = []", "columns to keep, increasing; empty keeps all")
      .Traits(kDataTraits)
      .Shape(DecodeCsvShape);
  ops.Define("DecodePng", "The image in a PNG file, as [height, width, channels].")
      .Input("contents", "string")
      .Output("image", "dtype")
      .Attr("channels: int = 0", "0 keeps those of the file")
      .Type("dtype", {DType::kUint8, DType::kUint16}, DType::kUint8)
      .Traits(kDataTraits)
      .Shape(DecodeImageShape);
  ops.Define("EncodePng", "A PNG file of an image [height, width, channels] with 1 to 4 channels.")
      .Input("image", "T")
      .Output("contents", "string")
      .Attr("compression: int = -1")
      .Type("T", {DType::kUint8, DType::kUint16}, DType::kUint8)
      .Traits(kDataTraits)
      .Shape(EncodeImageShape);
}

}  // namespace sluice
