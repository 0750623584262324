// The innermost loops of direct convolutions: sums that stay in registers while they go over the taps of a filter (or,
// for the gradient of a filter, over the pixels of images).
//
// Nothing is copied out of an image and nothing is padded: taps that lie outside of the image are left out, row by row
// and pixel by pixel. All distances are in floats.
#ifndef SLUICE_KERNELS_NN_CONV_TILES_H_
#define SLUICE_KERNELS_NN_CONV_TILES_H_

#include <cstdint>

#include "kernels/common/cpu_isa.h"

namespace sluice {

// The taps of one row of the filter, for pixels of one row of the output.
struct ConvTapRow {
  int64_t x;       // from the image's first element to the row of the input
  int64_t filter;  // rows of the panel before it
};

// Taps within such a row that lie one after the other in the input and count for the same pixels.
struct ConvTapRun {
  int64_t x;        // from the start of the row to the first tap of the tile's first pixel; may lie before the row
  int64_t filter;   // rows of the panel before it, from the row's own
  int64_t length;   // floats
  uint32_t pixels;  // bit i: pixel i of the tile has these taps inside of the image
};

// y[pixel][0..columns) = sum over taps of x * filter.
struct ConvForwardTile {
  const float* x;      // the image
  int64_t pixel_step;  // in the input, between neighbours of the output
  const ConvTapRow* rows;
  int64_t num_rows;
  const ConvTapRun* runs;  // of every row
  int64_t num_runs;
  const float* panel;  // [taps * channels][width of the tile]
  float* y;
  int64_t y_step, columns;
};

// df[row][0..columns) (+)= sum over images, slices, rows and pixels of x[row] * dy[0..columns).
struct ConvGradientTile {
  struct Side {
    const float* at;
    int64_t image, slice, row, pixel;  // steps
  };
  Side x, dy;  // dy: whole vectors are read
  int64_t images, slices, rows, pixels;
  float* df;
  int64_t df_step, columns;
  bool add;
};

// The loops of one instruction set, by the tile's height (pixels of the output, or rows of the filter's gradient) less
// one and its width in vectors less one.
struct ConvTiles {
  static constexpr int kMost = 14;
  int height = 0;  // the highest
  int vector = 0;  // floats
  void (*forward[kMost][2])(const ConvForwardTile&) = {};
  void (*gradient[kMost][2])(const ConvGradientTile&) = {};
};

const ConvTiles& ConvTilesOf(CpuIsa isa);

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_TILES_H_
