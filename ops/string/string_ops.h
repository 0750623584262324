// Ops on strings: joining, splitting, searching, conversion to and from numbers. All run on the host.
#ifndef SLUICE_OPS_STRING_STRING_OPS_H_
#define SLUICE_OPS_STRING_STRING_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineStringOps(OpRegistry& ops);

inline constexpr uint32_t kStringTraits = kHostOnly | kElementwise | kNotDifferentiable;

// The topics, each in a file of its name.
void DefineStringTextOps(OpRegistry& ops);    // text.cc: element by element
void DefineStringJoinOps(OpRegistry& ops);    // join.cc: several strings to one and one to several
void DefineStringNumberOps(OpRegistry& ops);  // number.cc: to and from numbers

}  // namespace sluice

#endif  // SLUICE_OPS_STRING_STRING_OPS_H_
