// What the shape and gradient rules of this folder share.
#ifndef SLUICE_OPS_NN_RULES_H_
#define SLUICE_OPS_NN_RULES_H_

#include <initializer_list>

#include "core/graph/gradient_scope.h"

namespace sluice {

inline constexpr char kFormat2[] = "data_format: {'NHWC', 'NCHW'} = 'NHWC'";
inline constexpr char kFormat3[] = "data_format: {'NDHWC', 'NCDHW'} = 'NDHWC'";

// The attributes of the forward node of these names, for an op that takes the same.
inline AttrMap SameAttrs(const GradientScope& g, std::initializer_list<absl::string_view> names) {
  AttrMap attrs;
  for (absl::string_view name : names) {
    if (const AttrValue* value = g.node()->attrs().Find(name)) attrs.Set(name, *value);
  }
  return attrs;
}

}  // namespace sluice

#endif  // SLUICE_OPS_NN_RULES_H_
