// Ops on images: JPEG files, resizing, colors, boxes. (PNG is with the data ops, which summaries need.)
#ifndef SLUICE_OPS_IMAGE_IMAGE_OPS_H_
#define SLUICE_OPS_IMAGE_IMAGE_OPS_H_

#include "core/op/op_registry.h"

namespace sluice {

void DefineImageOps(OpRegistry& ops);

// The topics, each in a file of its name.
void DefineJpegOps(OpRegistry& ops);    // jpeg.cc
void DefineResizeOps(OpRegistry& ops);  // resize.cc
void DefineColorOps(OpRegistry& ops);   // color.cc
void DefineBoxOps(OpRegistry& ops);     // box.cc

}  // namespace sluice

#endif  // SLUICE_OPS_IMAGE_IMAGE_OPS_H_
