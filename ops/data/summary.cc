// Summaries: values to look at, each as a serialized Summary message.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/data/data_ops.h"

namespace sluice {
namespace {

Tensor BadColor() { return Tensor::Vector<uint8_t>({255, 0, 0, 255}); }

absl::Status ScalarSummaryShape(ShapeContext& c) {
  RETURN_IF_ERROR(c.input(0).MergeWith(c.input(1)).status());
  c.SetOutput(0, PartialShape(Shape()));
  return absl::OkStatus();
}

// A scalar tag, and what is shown with a rank between two bounds.
ShapeRule TagAndRank(int least, int most) {
  return [=](ShapeContext& c) -> absl::Status {
    RETURN_IF_ERROR(c.WithRank(0, 0).status());
    const PartialShape& shape = c.input(1);
    if (shape.known_rank() && (shape.rank() < least || shape.rank() > most)) {
      return InvalidArgument("the tensor to show must have ", least, least == most ? "" : absl::StrCat(" to ", most),
                             " dimensions, found ", shape.ToString());
    }
    c.SetOutput(0, PartialShape(Shape()));
    return absl::OkStatus();
  };
}

}  // namespace

void DefineSummaryOps(OpRegistry& ops) {
  ops.Define("ScalarSummary", "Numbers to plot, each under its tag.")
      .Input("tags", "string")
      .Input("values", "T")
      .Output("summary", "string")
      .Type("T", kRealTypes)
      .Traits(kDataTraits)
      .Shape(ScalarSummaryShape);
  ops.Define("HistogramSummary", "The distribution of the values of a tensor.")
      .Input("tag", "string")
      .Input("values", "T")
      .Output("summary", "string")
      .Type("T", kRealTypes, DType::kFloat)
      .Traits(kDataTraits)
      .Shape(TagAndRank(0, kMaxRank));
  ops.Define("ImageSummary", "Images to look at, from [batch, height, width, channels] with 1, 3 or 4 channels.")
      .Input("tag", "string")
      .Input("tensor", "T")
      .Output("summary", "string")
      .Attr("max_images: int >= 1 = 3")
      .Type("T", {DType::kUint8, DType::kFloat, DType::kHalf, DType::kDouble}, DType::kFloat)
      .Attr("bad_color: tensor")
      .Default(BadColor())
      .Traits(kDataTraits)
      .Shape(TagAndRank(4, 4));
  ops.Define("AudioSummary", "Sounds to listen to, at a fixed sample rate.")
      .Input("tag", "string")
      .Input("tensor", "float")
      .Output("summary", "string")
      .Attr("sample_rate: float")
      .Attr("max_outputs: int >= 1 = 3")
      .Traits(kDataTraits)
      .Shape(TagAndRank(2, 3))
      .Deprecated(15, "Use AudioSummaryV2.");
  ops.Define("AudioSummaryV2",
             "Sounds to listen to, from [batch, frames] or [batch, frames, channels] with values in -1 to 1.")
      .Input("tag", "string")
      .Input("tensor", "float")
      .Input("sample_rate", "float")
      .Output("summary", "string")
      .Attr("max_outputs: int >= 1 = 3")
      .Traits(kDataTraits)
      .Shape(TagAndRank(2, 3));
  ops.Define("MergeSummary", "One summary with the values of all; a tag that comes twice is an error.")
      .Input("inputs", "N * string")
      .Output("summary", "string")
      .Attr("N: int >= 1")
      .Traits(kDataTraits)
      .Shape(ScalarShape());
  ops.Define("TensorSummary", "A tensor as it is.")
      .Input("tensor", "T")
      .Output("summary", "string")
      .Type("T")
      .Attr("description: string = ''")
      .Attr("labels: list(string) = []")
      .Attr("display_name: string = ''")
      .Traits(kDataTraits)
      .Shape(ScalarShape());
  ops.Define("TensorSummaryV2", "A tensor as it is, with a tag and metadata for the plugin that shows it.")
      .Input("tag", "string")
      .Input("tensor", "T")
      .Input("serialized_summary_metadata", "string")
      .Output("summary", "string")
      .Type("T")
      .Traits(kDataTraits)
      .Shape(ScalarShape());
}

}  // namespace sluice
