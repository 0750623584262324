// Float convolutions through oneDNN, split over our own threads.
//
// The work is cut into pieces: some images each, or, for batches smaller than the number of threads, some output rows
// of one image. Each piece is one single-threaded primitive; pieces of equal size share it. The filter is brought into
// oneDNN's own order once for each run, or once for all (KeepFilter). Gradients of the filter are summed over the
// pieces in a fixed order, so results repeat bit for bit.
#ifndef SLUICE_KERNELS_NN_CONV_DNNL_H_
#define SLUICE_KERNELS_NN_CONV_DNNL_H_

#include <memory>

#include "kernels/nn/conv_algorithm.h"

namespace sluice {

// Null when oneDNN is not there or has nothing for this shape. REQUIRES: !shape.empty().
std::unique_ptr<ConvAlgorithm> MakeDnnlConv(const ConvShape& shape, ConvDirection direction, int parallelism);

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_DNNL_H_
