// Which inputs and outputs of the ops that have a data_format are images, in the order that it names.
#ifndef SLUICE_COMPILER_LAYOUT_ROLES_H_
#define SLUICE_COMPILER_LAYOUT_ROLES_H_

#include <vector>

#include "core/graph/graph.h"

namespace sluice {

struct LayoutRole {
  const char* op;
  std::vector<int> images;  // inputs
  int sizes = -1;           // an input that is the shape of an image; -1: none
  bool makes_image = true;  // output 0
  // Worth a transpose at either side; others are turned only where one of their images is turned already.
  bool seeds = false;
};

// The role of a node whose images have channels first; null for all others.
const LayoutRole* ChannelsFirstRole(const Node& n);

}  // namespace sluice

#endif  // SLUICE_COMPILER_LAYOUT_ROLES_H_
