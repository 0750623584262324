// Numbers of every real type as int64 that compare alike, so that sorting and searching are compiled once.
//
// -0 equals 0, and a NaN is greater than every number and equal to every other NaN: a total order, whatever is in the
// data.
#ifndef SLUICE_KERNELS_ARRAY_ORDER_KEYS_H_
#define SLUICE_KERNELS_ARRAY_ORDER_KEYS_H_

#include <cstdint>

#include "core/types/dtype.h"

namespace sluice {

// keys[i] for `n` elements of real type `t` at `data`.
void OrderKeys(DType t, const void* data, int64_t n, int64_t* keys);

}  // namespace sluice

#endif  // SLUICE_KERNELS_ARRAY_ORDER_KEYS_H_
