// Colors of images whose last dimension is red, green and blue.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/image/image_ops.h"

namespace sluice {
namespace {

constexpr DTypeSet kColorTypes = {DType::kHalf, DType::kBfloat16, DType::kFloat, DType::kDouble};
constexpr DTypeSet kAdjustTypes = {DType::kHalf, DType::kFloat};

// Output 0 is as input 0, which ends in `channels` (any when 0) and has at least `rank` dimensions; input 1, if any, is
// a scalar.
ShapeRule LikeImages(int rank, int64_t channels) {
  return [=](ShapeContext& c) -> absl::Status {
    ASSIGN_OR_RETURN(PartialShape images, c.WithRankAtLeast(0, rank));
    if (channels > 0 && images.known_rank()) {
      const int64_t last = images.dim(images.rank() - 1);
      if (last != kUnknownDim && last != channels) {
        return InvalidArgument("images must end in ", channels, " channels, found ", images.ToString());
      }
      images.SetDim(images.rank() - 1, channels);
    }
    if (c.num_inputs() > 1) RETURN_IF_ERROR(c.WithRank(1, 0).status());
    c.SetOutput(0, std::move(images));
    return absl::OkStatus();
  };
}

OpBuilder DefineAdjust(OpRegistry& ops, absl::string_view name, absl::string_view amount, absl::string_view summary) {
  OpBuilder op = ops.Define(name, summary);
  op.Input("images", "T").Input(amount, "float").Output("output", "T").Type("T", kAdjustTypes, DType::kFloat);
  return op;
}

}  // namespace

void DefineColorOps(OpRegistry& ops) {
  ops.Define("RGBToHSV", "Hue, saturation and value, all in 0 to 1, of colors in 0 to 1.")
      .Input("images", "T")
      .Output("output", "T")
      .Type("T", kColorTypes, DType::kFloat)
      .Shape(LikeImages(1, 3));
  ops.Define("HSVToRGB", "Red, green and blue of hue, saturation and value; the inverse of RGBToHSV.")
      .Input("images", "T")
      .Output("output", "T")
      .Type("T", kColorTypes, DType::kFloat)
      .Shape(LikeImages(1, 3));
  DefineAdjust(ops, "AdjustContrastv2", "contrast_factor",
               "Moves each channel of each image away from its mean by a factor.")
      .Shape(LikeImages(3, 0));
  DefineAdjust(ops, "AdjustHue", "delta", "Turns the hue by a part of the circle.").Shape(LikeImages(3, 3));
  DefineAdjust(ops, "AdjustSaturation", "scale", "Multiplies the saturation.").Shape(LikeImages(3, 3));
}

}  // namespace sluice
