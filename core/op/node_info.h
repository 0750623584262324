// A node by itself, without its edges: what kernels, placers and messages need to know of it.
#ifndef SLUICE_CORE_OP_NODE_INFO_H_
#define SLUICE_CORE_OP_NODE_INFO_H_

#include <string>
#include <vector>

#include "core/op/attr_value.h"
#include "core/op/op_def.h"
#include "core/types/dtype.h"

namespace sluice {

// The user's line that made a node. `file` is interned by the graph. line 0: not known.
struct SourceLine {
  const std::string* file = nullptr;
  int line = 0;
  const std::string* function = nullptr;
};

struct NodeInfo {
  std::string name;
  const OpDef* op = nullptr;
  AttrMap attrs;
  std::string device;  // as asked for; may be partial or empty
  std::vector<DType> input_types;
  std::vector<DType> output_types;
  SourceLine source;

  template <typename T>
  absl::StatusOr<T> Attr(absl::string_view attr) const {
    return GetAttr<T>(attrs, attr);
  }
  // "MatMul 'dense/mm' (model.py:41)": how every message names a node.
  std::string Describe() const;
};

}  // namespace sluice

#endif  // SLUICE_CORE_OP_NODE_INFO_H_
