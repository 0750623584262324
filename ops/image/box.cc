// Boxes in images: cutting them out, and keeping the best of those that overlap.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/image/image_ops.h"

namespace sluice {
namespace {

absl::Status CropShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape image, c.WithRank(0, 4));
  ASSIGN_OR_RETURN(const PartialShape boxes, c.WithRank(1, 2));
  ASSIGN_OR_RETURN(const PartialShape index, c.WithRank(2, 1));
  RETURN_IF_ERROR(c.WithRank(3, 1).status());
  if (boxes.dim(1) != kUnknownDim && boxes.dim(1) != 4) {
    return InvalidArgument("boxes must be [n, 4], found ", boxes.ToString());
  }
  ASSIGN_OR_RETURN(const PartialShape n, PartialShape({boxes.dim(0)}).MergeWith(index));
  PartialShape out = {n.dim(0), kUnknownDim, kUnknownDim, image.dim(3)};
  if (auto size = c.ints(3); size && size->size() == 2) {
    if ((*size)[0] <= 0 || (*size)[1] <= 0) return InvalidArgument("crop dimensions must be positive");
    out.SetDim(1, (*size)[0]);
    out.SetDim(2, (*size)[1]);
  }
  c.SetOutput(0, std::move(out));
  return absl::OkStatus();
}

absl::Status SelectedShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(const PartialShape boxes, c.WithRank(0, 2));
  ASSIGN_OR_RETURN(const PartialShape scores, c.WithRank(1, 1));
  if (boxes.dim(1) != kUnknownDim && boxes.dim(1) != 4) {
    return InvalidArgument("boxes must be [n, 4], found ", boxes.ToString());
  }
  RETURN_IF_ERROR(PartialShape({boxes.dim(0)}).MergeWith(scores).status());
  for (int i = 2; i < c.num_inputs(); ++i) RETURN_IF_ERROR(c.WithRank(i, 0).status());
  c.SetOutput(0, {kUnknownDim});
  return absl::OkStatus();
}

constexpr DTypeSet kBoxTypes = {DType::kHalf, DType::kFloat};

}  // namespace

void DefineBoxOps(OpRegistry& ops) {
  ops.Define("CropAndResize", "Cuts boxes out of images and brings them to one size.")
      .Input("image", "T", "[batch, height, width, channels]")
      .Input("boxes", "float", "[n, 4]: y1, x1, y2, x2 where 0 and 1 are the first and last pixel")
      .Input("box_ind", "int32", "[n]: the image of each box")
      .Input("crop_size", "int32", "[height, width]")
      .Output("crops", "float")
      .Type("T", {DType::kUint8, DType::kUint16, DType::kInt8, DType::kInt16, DType::kInt32, DType::kInt64,
                  DType::kHalf, DType::kFloat, DType::kDouble})
      .Attr("method: {'bilinear', 'nearest'} = 'bilinear'")
      .Attr("extrapolation_value: float = 0", "of pixels outside the image")
      .Shape(CropShape);
  ops.Define("NonMaxSuppression",
             "The indices of the best boxes, none of which overlaps a better one by more than a threshold.")
      .Input("boxes", "float")
      .Input("scores", "float")
      .Input("max_output_size", "int32")
      .Output("selected_indices", "int32")
      .Attr("iou_threshold: float = 0.5")
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(SelectedShape);
  ops.Define("NonMaxSuppressionV2", "As NonMaxSuppression, with the threshold as an input.")
      .Input("boxes", "T")
      .Input("scores", "T")
      .Input("max_output_size", "int32")
      .Input("iou_threshold", "T_threshold")
      .Output("selected_indices", "int32")
      .Type("T", kBoxTypes, DType::kFloat)
      .Type("T_threshold", kBoxTypes, DType::kFloat)
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(SelectedShape);
  ops.Define("NonMaxSuppressionV3", "As NonMaxSuppressionV2; boxes with a score at or below a threshold are left out.")
      .Input("boxes", "T")
      .Input("scores", "T")
      .Input("max_output_size", "int32")
      .Input("iou_threshold", "T_threshold")
      .Input("score_threshold", "T_threshold")
      .Output("selected_indices", "int32")
      .Type("T", kBoxTypes, DType::kFloat)
      .Type("T_threshold", kBoxTypes, DType::kFloat)
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(SelectedShape);
}

}  // namespace sluice
