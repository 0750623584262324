// Lays out buffers with known lifetimes in one block, so that buffers which live at the same time do not overlap.
//
// Two greedy methods run (largest first at the best-fitting gap; in time order at the best-fitting gap) and the smaller
// result is kept. Usually it is within a few percent of the lower bound, the most bytes that live at once.
#ifndef SLUICE_RUNTIME_MEMORY_PACKING_H_
#define SLUICE_RUNTIME_MEMORY_PACKING_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace sluice {

// Lives from time `begin` to time `end`, both included.
struct Region {
  int64_t bytes = 0;
  int begin = 0;
  int end = 0;
};

struct Packing {
  std::vector<int64_t> offsets;  // one for each region, multiples of the alignment
  int64_t total = 0;             // bytes of the block
  int64_t lower_bound = 0;       // most bytes alive at once
};

Packing PackRegions(absl::Span<const Region> regions, int64_t alignment = 64);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_MEMORY_PACKING_H_
