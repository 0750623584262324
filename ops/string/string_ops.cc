#include "ops/string/string_ops.h"

namespace sluice {

void DefineStringOps(OpRegistry& ops) {
  DefineStringTextOps(ops);
  DefineStringJoinOps(ops);
  DefineStringNumberOps(ops);
}

}  // namespace sluice
