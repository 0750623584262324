// The passes of conv_winograd.cc over images and filters, for filters of R x R and M = 7 - R outputs a side. One-
// dimensional transforms are applied to columns, then to rows; vectors hold 16 channels.
#ifndef SLUICE_KERNELS_NN_WINOGRAD_TRANSFORMS_H_
#define SLUICE_KERNELS_NN_WINOGRAD_TRANSFORMS_H_

#include <algorithm>
#include <cstdint>

#include "kernels/nn/simd.h"

namespace sluice::winograd {

constexpr int kSide = 6, kPoints = kSide * kSide;

// From six pixels to six points.
SLUICE_HOST_DEVICE void InputPoints(const Lanes (&d)[kSide], Lanes (&v)[kSide]) {
  const Lanes even = d[4] - 4.f * d[2], odd = d[3] - 4.f * d[1], even2 = d[4] - d[2], odd2 = 2.f * (d[3] - d[1]);
  v[0] = 4.f * d[0] - 5.f * d[2] + d[4];
  v[1] = even + odd;
  v[2] = even - odd;
  v[3] = even2 + odd2;
  v[4] = even2 - odd2;
  v[5] = 4.f * d[1] - 5.f * d[3] + d[5];
}

// From N taps to six points.
template <int N>
SLUICE_HOST_DEVICE void TapPoints(const Lanes (&g)[N], Lanes (&v)[kSide]) {
  Lanes even = g[0], odd = g[1], even2 = g[0], odd2 = 2.f * g[1];
#pragma GCC unroll 8
  for (int k = 2; k < N; k += 2) {
    even += g[k];
    even2 += static_cast<float>(1 << k) * g[k];
  }
#pragma GCC unroll 8
  for (int k = 3; k < N; k += 2) {
    odd += g[k];
    odd2 += static_cast<float>(1 << k) * g[k];
  }
  v[0] = 0.25f * g[0];
  v[1] = (-1.f / 6) * (even + odd);
  v[2] = (-1.f / 6) * (even - odd);
  v[3] = (1.f / 24) * (even2 + odd2);
  v[4] = (1.f / 24) * (even2 - odd2);
  v[5] = g[N - 1];
}

// From six points to N results.
template <int N>
SLUICE_HOST_DEVICE void Results(const Lanes (&v)[kSide], Lanes (&y)[N]) {
  const Lanes even = v[1] + v[2], odd = v[1] - v[2], even2 = v[3] + v[4], odd2 = v[3] - v[4];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
    if (i == 0) {
      y[i] = v[0] + even + even2;
    } else {
      y[i] = i % 2 == 0 ? even + static_cast<float>(1 << i) * even2 : odd + static_cast<float>(1 << i) * odd2;
    }
  }
  y[N - 1] += v[5];
}

// Pixels whose channels are in one piece, `step` floats from pixel to pixel of a row.
struct Plane {
  int64_t rows, columns, step, channels;
};

constexpr int64_t kTilesAtOnce = 8;

// Up to kTilesAtOnce tiles beside each other, M pixels apart, the first at pixel (y, x), to v[point][tile][channel]
// with points `step` floats apart.
template <int M>
SLUICE_HOST_DEVICE void TransformTiles(const float* image, const Plane& p, int64_t y, int64_t x, int64_t tiles,
                                       int64_t step, float* v) {
  constexpr int64_t kColumns = (kTilesAtOnce - 1) * M + kSide;
  const int64_t columns = (tiles - 1) * M + kSide;
  Lanes half[kSide][kColumns];  // columns are transformed
  const Lanes zero = {};
  for (int64_t c = 0; c < p.channels; c += kLanes) {
    for (int64_t i = 0; i < columns; ++i) {
      if (x + i < 0 || x + i >= p.columns) {
#pragma GCC unroll 8
        for (int j = 0; j < kSide; ++j) half[j][i] = zero;
        continue;
      }
      Lanes d[kSide], u[kSide];
      const float* from = image + (y * p.columns + x + i) * p.step + c;
      if (y >= 0 && y + kSide <= p.rows) {
#pragma GCC unroll 8
        for (int j = 0; j < kSide; ++j) LoadLanes(from + j * p.columns * p.step, &d[j]);
      } else {
#pragma GCC unroll 8
        for (int j = 0; j < kSide; ++j) {
          d[j] = zero;
          if (y + j >= 0 && y + j < p.rows) LoadLanes(from + j * p.columns * p.step, &d[j]);
        }
      }
      InputPoints(d, u);
#pragma GCC unroll 8
      for (int j = 0; j < kSide; ++j) half[j][i] = u[j];
    }
    for (int64_t t = 0; t < tiles; ++t) {
      float* to = v + t * p.channels + c;
      for (int j = 0; j < kSide; ++j) {
        Lanes d[kSide], u[kSide];
#pragma GCC unroll 8
        for (int i = 0; i < kSide; ++i) d[i] = half[j][t * M + i];
        InputPoints(d, u);
#pragma GCC unroll 8
        for (int i = 0; i < kSide; ++i) StoreLanes(u[i], to + (j * kSide + i) * step);
      }
    }
  }
}

// N x N values, zero beyond the plane's end, from pixel (y, x) on, to v[point][channel].
template <int N>
SLUICE_HOST_DEVICE void TransformSquare(const float* image, const Plane& p, int64_t y, int64_t x, int64_t step,
                                        float* v) {
  const Lanes zero = {};
  for (int64_t c = 0; c < p.channels; c += kLanes) {
    Lanes half[kSide][N];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      Lanes g[N], u[kSide];
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) {
        g[j] = zero;
        if (y + j < p.rows && x + i < p.columns) {
          LoadLanes(image + ((y + j) * p.columns + x + i) * p.step + c, &g[j]);
        }
      }
      TapPoints<N>(g, u);
#pragma GCC unroll 8
      for (int j = 0; j < kSide; ++j) half[j][i] = u[j];
    }
#pragma GCC unroll 8
    for (int j = 0; j < kSide; ++j) {
      Lanes u[kSide];
      TapPoints<N>(half[j], u);
#pragma GCC unroll 8
      for (int i = 0; i < kSide; ++i) StoreLanes(u[i], v + (j * kSide + i) * step + c);
    }
  }
}

// 36 points of 16 channels, `step` floats apart, to N x N results that are rows and columns of `y` apart; those within
// `rows` and `columns` are stored.
template <int N>
SLUICE_HOST_DEVICE void TransformBack(const float* v, int64_t step, float* y, int64_t row_step, int64_t column_step,
                                      int64_t rows, int64_t columns) {
  Lanes half[N][kSide];
#pragma GCC unroll 8
  for (int i = 0; i < kSide; ++i) {
    Lanes u[kSide], z[N];
#pragma GCC unroll 8
    for (int j = 0; j < kSide; ++j) LoadLanes(v + (j * kSide + i) * step, &u[j]);
    Results<N>(u, z);
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) half[j][i] = z[j];
  }
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) {
    if (j >= rows) break;
    Lanes z[N];
    Results<N>(half[j], z);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      if (i < columns) StoreLanes(z[i], y + j * row_step + i * column_step);
    }
  }
}

}  // namespace sluice::winograd

#endif  // SLUICE_KERNELS_NN_WINOGRAD_TRANSFORMS_H_
