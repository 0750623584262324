// Images at another size.
#include "core/base/status.h"
#include "core/graph/gradient_scope.h"
#include "core/op/shape_context.h"
#include "ops/expr/expr.h"
#include "ops/image/image_ops.h"

namespace sluice {
namespace {

constexpr DTypeSet kPixelTypes = kSignedTypes | DTypeSet{DType::kUint8, DType::kUint16} | kFloatingTypes;

// [batch, height, width, channels] of input 0 with height and width from input 1.
absl::Status ResizedShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape out, c.WithRank(0, 4));
  ASSIGN_OR_RETURN(const PartialShape size, c.WithRank(1, 1));
  if (size.dim(0) != kUnknownDim && size.dim(0) != 2) {
    return InvalidArgument("size must be [height, width], found ", size.ToString());
  }
  std::optional<PartialValue> value = c.value(1);
  for (int i = 0; i < 2; ++i) {
    const bool known = value && value->elements.size() == 2 && value->elements[i] != PartialValue::kUnknown;
    if (known && value->elements[i] < 0) return InvalidArgument("size is negative: ", value->elements[i]);
    out.SetDim(1 + i, known ? value->elements[i] : kUnknownDim);
  }
  c.SetOutput(0, std::move(out));
  return absl::OkStatus();
}

AttrMap ResizeAttrs(const GradientScope& g) {
  return {{"align_corners", g.MustAttr<bool>("align_corners")},
          {"half_pixel_centers", g.MustAttr<bool>("half_pixel_centers")}};
}

OpBuilder DefineResize(OpRegistry& ops, absl::string_view name, absl::string_view output_type,
                       absl::string_view summary) {
  OpBuilder op = ops.Define(name, summary);
  op.Input("images", "T", "[batch, height, width, channels]")
      .Input("size", "int32", "[height, width]")
      .Output("resized_images", output_type)
      .Type("T", kPixelTypes)
      .Attr("align_corners: bool = false", "the corner pixels keep their values")
      .Attr("half_pixel_centers: bool = false", "pixels are squares around their centers")
      .Shape(ResizedShape);
  return op;
}

}  // namespace

void DefineResizeOps(OpRegistry& ops) {
  DefineResize(ops, "ResizeBilinear", "float", "Images at another size, interpolated between the four nearest pixels.")
      .Gradient([](GradientScope& g) {
        if (!IsFloating(g.input(0).dtype())) return;
        g.Into("images") = g.Op("ResizeBilinearGrad", {g.dy(), g["images"]}, ResizeAttrs(g));
      });
  DefineResize(ops, "ResizeNearestNeighbor", "T", "Images at another size, each pixel from the nearest one.")
      .Gradient([](GradientScope& g) {
        Out height_and_width = Slice(ShapeOf(g["images"]), g.Ints({1}), g.Ints({2}));
        g.Into("images") = g.Op("ResizeNearestNeighborGrad", {g.dy(), height_and_width}, ResizeAttrs(g));
      });
  ops.Define("ResizeBilinearGrad", "The gradient of ResizeBilinear with respect to its images.")
      .Input("grads", "float")
      .Input("original_image", "T")
      .Output("output", "T")
      .Type("T", kFloatingTypes)
      .Attr("align_corners: bool = false")
      .Attr("half_pixel_centers: bool = false")
      .Shape(SameAs("original_image"));
  ops.Define("ResizeNearestNeighborGrad", "The gradient of ResizeNearestNeighbor with respect to its images.")
      .Input("grads", "T")
      .Input("size", "int32", "[height, width] of the images")
      .Output("output", "T")
      .Type("T", {DType::kUint8, DType::kInt8, DType::kInt32, DType::kHalf, DType::kFloat, DType::kDouble})
      .Attr("align_corners: bool = false")
      .Attr("half_pixel_centers: bool = false")
      .Shape(ResizedShape);
}

}  // namespace sluice
