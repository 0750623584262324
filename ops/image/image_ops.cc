#include "ops/image/image_ops.h"

namespace sluice {

void DefineImageOps(OpRegistry& ops) {
  DefineJpegOps(ops);
  DefineResizeOps(ops);
  DefineColorOps(ops);
  DefineBoxOps(ops);
}

}  // namespace sluice
