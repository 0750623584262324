// Parses one attribute declaration: "padding: {'SAME', 'VALID'} = 'SAME'", "N: int >= 1", "strides: list(int)".
#ifndef SLUICE_CORE_OP_ATTR_GRAMMAR_H_
#define SLUICE_CORE_OP_ATTR_GRAMMAR_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/op/op_def.h"

namespace sluice {

absl::StatusOr<AttrDef> ParseAttrDeclaration(absl::string_view text);
// A type or a sugared set ("numbertype", "realnumbertype", "quantizedtype").
absl::StatusOr<DTypeSet> ParseTypeOrSet(absl::string_view name);

}  // namespace sluice

#endif  // SLUICE_CORE_OP_ATTR_GRAMMAR_H_
