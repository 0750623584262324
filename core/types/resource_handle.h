// What a DT_RESOURCE element holds: the name of a resource and, once resolved, the resource itself.
#ifndef SLUICE_CORE_TYPES_RESOURCE_HANDLE_H_
#define SLUICE_CORE_TYPES_RESOURCE_HANDLE_H_

#include <string>
#include <vector>

#include "core/base/ref_counted.h"
#include "core/types/dtype.h"
#include "core/types/shape.h"

namespace sluice {

// Anything that lives across steps: variables, queues, tables, random states. Guards its own state.
class Resource : public RefCounted {
 public:
  // One line for error messages and listings, e.g. "Variable float [10,20]".
  virtual std::string DebugString() const = 0;
};

struct ResourceHandle {
  std::string device;
  std::string container;
  std::string name;
  std::string type_name;
  std::vector<DType> dtypes;         // of the values behind the handle, when known
  std::vector<PartialShape> shapes;  // same length as dtypes
  RefPtr<Resource> resource;         // null when the handle only names it
};

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_RESOURCE_HANDLE_H_
