// JPEG files.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/image/image_ops.h"

namespace sluice {
namespace {

constexpr uint32_t kTraits = kHostOnly | kNotDifferentiable;

absl::Status DecodeShape(ShapeContext& c) {
  RETURN_IF_ERROR(c.WithRank(0, 0).status());
  ASSIGN_OR_RETURN(const int64_t channels, c.Attr<int64_t>("channels"));
  if (channels != 0 && channels != 1 && channels != 3) {
    return InvalidArgument("channels must be 0 (as in the file), 1 or 3, found ", channels);
  }
  c.SetOutput(0, {kUnknownDim, kUnknownDim, channels == 0 ? kUnknownDim : channels});
  return absl::OkStatus();
}

}  // namespace

void DefineJpegOps(OpRegistry& ops) {
  ops.Define("DecodeJpeg", "The image in a JPEG file, as [height, width, channels].")
      .Input("contents", "string")
      .Output("image", "uint8")
      .Attr("channels: int = 0", "0 keeps those of the file")
      .Attr("ratio: int = 1", "makes the image 1, 2, 4 or 8 times smaller")
      .Attr("fancy_upscaling: bool = true")
      .Attr("try_recover_truncated: bool = false", "a cut-off file gives the rows it has, the others gray")
      .Attr("acceptable_fraction: float = 1", "of the rows of a cut-off file")
      .Attr("dct_method: string = ''", "'INTEGER_FAST', 'INTEGER_ACCURATE', or '' for the fast one")
      .Traits(kTraits)
      .Shape(DecodeShape);
  ops.Define("EncodeJpeg", "A JPEG file of an image [height, width, 1 or 3].")
      .Input("image", "uint8")
      .Output("contents", "string")
      .Attr("format: {'', 'grayscale', 'rgb'} = ''", "'' goes by the number of channels")
      .Attr("quality: int = 95", "0 to 100")
      .Attr("progressive: bool = false")
      .Attr("optimize_size: bool = false")
      .Attr("chroma_downsampling: bool = true")
      .Attr("density_unit: {'in', 'cm'} = 'in'")
      .Attr("x_density: int = 300")
      .Attr("y_density: int = 300")
      .Attr("xmp_metadata: string = ''")
      .Traits(kTraits)
      .Shape([](ShapeContext& c) -> absl::Status {
        c.SetOutput(0, PartialShape(Shape()));
        return c.WithRank(0, 3).status();
      });
  ops.Define("ExtractJpegShape", "[height, width, channels] of a JPEG file, from its header.")
      .Input("contents", "string")
      .Output("image_shape", "output_type")
      .Type("output_type", kIndexTypes, DType::kInt32)
      .Traits(kTraits)
      .Shape([](ShapeContext& c) -> absl::Status {
        c.SetOutput(0, {3});
        return c.WithRank(0, 0).status();
      });
}

}  // namespace sluice
