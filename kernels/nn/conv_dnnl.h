// Float convolutions through oneDNN, split over our own threads.
//
// The work is cut into pieces: some images each, or, for batches smaller than the number of threads, some output rows
// of one image. Each piece is one single-threaded primitive; pieces of equal size share it. The filter is brought into
// oneDNN's own order once for each run, or once for all (KeepFilter). Gradients of the filter are summed over the
// pieces in a fixed order, so results repeat bit for bit.
//
// Threads: Run from any thread, concurrently.
#ifndef SLUICE_KERNELS_NN_CONV_DNNL_H_
#define SLUICE_KERNELS_NN_CONV_DNNL_H_

#include <memory>

#include "core/kernel/kernel.h"
#include "kernels/nn/conv_shape.h"

namespace sluice {

class DnnlConv {
 public:
  // Null when oneDNN is not there or has nothing for this shape. REQUIRES: !shape.empty().
  static std::unique_ptr<DnnlConv> Make(const ConvShape& shape, ConvDirection direction, int parallelism);
  ~DnnlConv();

  // Brings a filter that never changes into oneDNN's order now; Run then takes no notice of its own. For kForward and
  // kBackwardInput, before the first Run.
  absl::Status KeepFilter(const float* filter);

  // kForward:        a input, b filter          -> out output
  // kBackwardInput:  a output gradient, b filter -> out input gradient
  // kBackwardFilter: a input, b output gradient  -> out filter gradient
  absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const;

 private:
  struct Impl;
  explicit DnnlConv(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_DNNL_H_
