// The passes over a row of floats that softmax and the cross entropies are made of.
//
// They need AVX-512 (FastRows is null without it, and the loops of softmax.cc serve): masks leave no rest to go through
// element by element, and a row of ten classes costs one vector. exp is within 1.1 units in the last place (0 below
// -103.97, subnormal results included); sums are made in sixteen lanes and then in a tree, as in softmax.cc.
#ifndef SLUICE_KERNELS_NN_SOFTMAX_ROWS_H_
#define SLUICE_KERNELS_NN_SOFTMAX_ROWS_H_

#include <cstdint>

namespace sluice {

struct RowPasses {
  // The largest element that is no NaN; -inf when there is none.
  float (*largest)(const float* x, int64_t n);
  // The sum of exp(x[i] - shift); y[i] becomes the exponential. y may be x.
  float (*exponentials)(const float* x, int64_t n, float shift, float* y);
  // The sum alone.
  float (*sum_of_exponentials)(const float* x, int64_t n, float shift);
  // y[i] *= scale.
  void (*multiply)(float* y, int64_t n, float scale);
  // y[i] = x[i] - shift. y may be x.
  void (*subtract)(const float* x, int64_t n, float shift, float* y);
};

// Null where the processor has no such instructions.
const RowPasses* FastRows();

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_SOFTMAX_ROWS_H_
