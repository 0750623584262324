// Many blocks of Philox4x32 at once.
#ifndef SLUICE_KERNELS_RANDOM_PHILOX_BLOCKS_H_
#define SLUICE_KERNELS_RANDOM_PHILOX_BLOCKS_H_

#include <cstdint>

#include "core/base/philox.h"

namespace sluice {

// out[0..4 * blocks) = the next blocks of `gen`, which is not moved.
void PhiloxBlocks(const Philox4x32& gen, int64_t blocks, uint32_t* out);

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_PHILOX_BLOCKS_H_
