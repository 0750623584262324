// Ops between strings and numbers.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/string/string_ops.h"

namespace sluice {

void DefineStringNumberOps(OpRegistry& ops) {
  ops.Define("AsString", "Each number as text, formatted as printf does.")
      .Input("input", "T")
      .Output("output", "string")
      .Type("T", kSignedTypes | kUnsignedTypes | kComplexTypes | DTypeSet{DType::kFloat, DType::kDouble, DType::kBool})
      .Attr("precision: int = -1", "digits behind the point, or significant ones with shortest")
      .Attr("scientific: bool = false")
      .Attr("shortest: bool = false")
      .Attr("width: int = -1", "pads to this many characters")
      .Attr("fill: string = ''", "one of ' ', '+', '-', '0' and '#', or empty")
      .Traits(kStringTraits)
      .Shape(SameAs("input"));
  ops.Define("StringToNumber", "The number that each string spells; anything else is an error.")
      .Input("string_tensor", "string")
      .Output("output", "out_type")
      .Type("out_type", {DType::kFloat, DType::kDouble, DType::kInt32, DType::kInt64}, DType::kFloat)
      .Traits(kStringTraits)
      .Shape(SameAs("string_tensor"));
  ops.Define("StringToHashBucketFast", "A number in [0, num_buckets) from each string, the same on every machine.")
      .Input("input", "string")
      .Output("output", "int64")
      .Attr("num_buckets: int >= 1")
      .Traits(kStringTraits)
      .Shape(SameAs("input"));
}

}  // namespace sluice
