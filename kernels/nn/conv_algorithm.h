// One way to compute the float convolutions of a shape in a direction.
//
//   kForward:        a input, b filter           -> out output
//   kBackwardInput:  a output gradient, b filter -> out input gradient
//   kBackwardFilter: a input, b output gradient  -> out filter gradient
//
// Everything is dense and has channels last (conv_shape.h). Threads: Run from any thread, concurrently.
#ifndef SLUICE_KERNELS_NN_CONV_ALGORITHM_H_
#define SLUICE_KERNELS_NN_CONV_ALGORITHM_H_

#include "absl/status/status.h"
#include "core/kernel/kernel.h"
#include "kernels/nn/conv_shape.h"

namespace sluice {

class ConvAlgorithm {
 public:
  virtual ~ConvAlgorithm() = default;

  // Brings a filter that never changes into the algorithm's own order now; Run then takes no notice of its own. For
  // kForward and kBackwardInput, before the first Run.
  virtual absl::Status KeepFilter(const float* filter) = 0;

  virtual absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const = 0;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_ALGORITHM_H_
