// Ops that turn each string into one value of its own.
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "ops/string/string_ops.h"

namespace sluice {
namespace {

OpBuilder DefineStringToString(OpRegistry& ops, absl::string_view name, absl::string_view summary) {
  OpBuilder op = ops.Define(name, summary);
  op.Input("input", "string").Output("output", "string").Traits(kStringTraits).Shape(SameAs("input"));
  return op;
}

// Input 0 gives the shape; the others are scalars.
ShapeRule FirstWithScalars() {
  return [](ShapeContext& c) -> absl::Status {
    for (int i = 1; i < c.num_inputs(); ++i) RETURN_IF_ERROR(c.WithRank(i, 0).status());
    c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  };
}

absl::Status SubstrShape(ShapeContext& c) {
  ASSIGN_OR_RETURN(PartialShape position, c.input(1).MergeWith(c.input(2)));
  ASSIGN_OR_RETURN(PartialShape out, BroadcastShapes(c.input(0), position));
  c.SetOutput(0, std::move(out));
  return absl::OkStatus();
}

}  // namespace

void DefineStringTextOps(OpRegistry& ops) {
  DefineStringToString(ops, "StringStrip", "The string without white space at its ends.");
  DefineStringToString(ops, "StringLower", "The string in lower case; all letters with encoding 'utf-8', else ASCII's.")
      .Attr("encoding: string = ''");
  DefineStringToString(ops, "StringUpper", "The string in upper case; all letters with encoding 'utf-8', else ASCII's.")
      .Attr("encoding: string = ''");
  DefineStringToString(ops, "EncodeBase64", "Web-safe base64 of the bytes.").Attr("pad: bool = false");
  DefineStringToString(ops, "DecodeBase64", "The bytes behind web-safe base64, padded or not.");
  ops.Define("StringLength", "The length of each string in bytes or UTF-8 characters.")
      .Input("input", "string")
      .Output("output", "int32")
      .Attr("unit: {'BYTE', 'UTF8_CHAR'} = 'BYTE'")
      .Traits(kStringTraits)
      .Shape(SameAs("input"));
  ops.Define("Substr", "The part of each string from pos (from the end when negative), at most len long.")
      .Input("input", "string")
      .Input("pos", "T")
      .Input("len", "T")
      .Output("output", "string")
      .Type("T", kIndexTypes)
      .Attr("unit: {'BYTE', 'UTF8_CHAR'} = 'BYTE'")
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(SubstrShape);
  ops.Define("RegexReplace", "Replaces matches of a regular expression (RE2) in each string.")
      .Input("input", "string")
      .Input("pattern", "string")
      .Input("rewrite", "string", "\\1 to \\9 stand for the groups of the match, \\0 for all of it.")
      .Output("output", "string")
      .Attr("replace_global: bool = true")
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(FirstWithScalars());
  DefineStringToString(ops, "StaticRegexReplace", "RegexReplace with a fixed pattern.")
      .Attr("pattern: string")
      .Attr("rewrite: string")
      .Attr("replace_global: bool = true");
  ops.Define("RegexFullMatch", "Whether a regular expression (RE2) matches the whole of each string.")
      .Input("input", "string")
      .Input("pattern", "string")
      .Output("output", "bool")
      .Traits(kHostOnly | kNotDifferentiable)
      .Shape(FirstWithScalars());
  ops.Define("StaticRegexFullMatch", "RegexFullMatch with a fixed pattern.")
      .Input("input", "string")
      .Output("output", "bool")
      .Attr("pattern: string")
      .Traits(kStringTraits)
      .Shape(SameAs("input"));
}

}  // namespace sluice
