// Tensors seen as [outer][channels][inner] (inner is 1 when channels are last), and sums over all but the channels.
//
// Sums are made in blocks of rows in float and added up in double, by pieces whose number depends on the sizes and the
// pool alone: the same call gives the same bits.
#ifndef SLUICE_KERNELS_NN_CHANNEL_LOOPS_H_
#define SLUICE_KERNELS_NN_CHANNEL_LOOPS_H_

#include <algorithm>
#include <cstdint>

#include "core/base/status.h"
#include "core/kernel/kernel.h"
#include "kernels/nn/simd.h"

namespace sluice {

struct ChannelLayout {
  int64_t outer = 0, channels = 0, inner = 1;
  int64_t per_channel() const { return outer * inner; }
  static ChannelLayout Of(const Shape& shape, bool channels_first) {
    ChannelLayout l;
    const int dim = channels_first ? 1 : shape.rank() - 1;
    l.outer = l.inner = 1;
    for (int i = 0; i < dim; ++i) l.outer *= shape.dim(i);
    l.channels = shape.dim(dim);
    for (int i = dim + 1; i < shape.rank(); ++i) l.inner *= shape.dim(i);
    return l;
  }
};

namespace internal {
inline constexpr int kSumBlock = 32;       // channels, or inner positions, summed side by side
inline constexpr int64_t kRowBlock = 128;  // rows summed in float before they go to the double sums

// Adds rows [begin, end) of channels [c0, c0 + n) to totals[k * channels + channel]. kFull: n is kSumBlock.
template <int kValues, bool kFull, typename F>
SLUICE_HOST_DEVICE void SumRows(const ChannelLayout& l, const F& f, int64_t begin, int64_t end, int64_t c0,
                                int64_t n_some, double* totals) {
  const int64_t n = kFull ? kSumBlock : n_some;
  for (int64_t r0 = begin; r0 < end; r0 += kRowBlock) {
    float sums[kValues][kSumBlock] = {};
    const int64_t r1 = r0 + kRowBlock < end ? r0 + kRowBlock : end;
    for (int64_t r = r0; r < r1; ++r) {
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) {
        float v[kValues];
        f(r * l.channels + c0 + j, c0 + j, v);
        for (int k = 0; k < kValues; ++k) sums[k][j] += v[k];
      }
    }
    for (int k = 0; k < kValues; ++k) {
      for (int64_t j = 0; j < n; ++j) totals[k * l.channels + c0 + j] += sums[k][j];
    }
  }
}

template <int kValues, typename F>
SLUICE_HOST_DEVICE void SumChannel(const ChannelLayout& l, const F& f, int64_t channel, double* totals) {
  for (int k = 0; k < kValues; ++k) totals[k * l.channels + channel] = 0;
  for (int64_t o = 0; o < l.outer; ++o) {
    const int64_t start = (o * l.channels + channel) * l.inner;
    for (int64_t i0 = 0; i0 < l.inner; i0 += kRowBlock * kSumBlock) {
      float sums[kValues][kSumBlock] = {};
      const int64_t i1 = i0 + kRowBlock * kSumBlock < l.inner ? i0 + kRowBlock * kSumBlock : l.inner;
      int64_t i = i0;
      for (; i + kSumBlock <= i1; i += kSumBlock) {
#pragma GCC ivdep
        for (int j = 0; j < kSumBlock; ++j) {
          float v[kValues];
          f(start + i + j, channel, v);
          for (int k = 0; k < kValues; ++k) sums[k][j] += v[k];
        }
      }
      for (; i < i1; ++i) {
        float v[kValues];
        f(start + i, channel, v);
        for (int k = 0; k < kValues; ++k) sums[k][0] += v[k];
      }
      for (int k = 0; k < kValues; ++k) {
        double total = 0;
        for (int j = 0; j < kSumBlock; ++j) total += sums[k][j];
        totals[k * l.channels + channel] += total;
      }
    }
  }
}
}  // namespace internal

// For each channel the sums of the kValues numbers that f(element, channel, values) gives for its elements:
// result[k * channels + channel], a double. f is marked SLUICE_INLINE_LOOP.
template <int kValues, typename F>
absl::StatusOr<Tensor> SumsByChannel(KernelContext& c, const ChannelLayout& l, const F& f) {
  const int64_t rows = l.outer, count = kValues * l.channels;
  const int64_t pieces =
      l.inner > 1 ? 0 : std::clamp<int64_t>(rows * l.channels / 32768, 1, 2 * c.step().pool->parallelism());
  // The sums, then those of each piece.
  ASSIGN_OR_RETURN(Tensor result, c.AllocateTemp(DType::kDouble, Shape({(1 + pieces) * count})));
  double *totals = result.data<double>(), *parts = totals + count;
  std::fill_n(totals, (1 + pieces) * count, 0.0);
  if (l.per_channel() == 0) return result;
  if (l.inner > 1) {
    c.ParallelFor(l.channels, 0.15 * kValues * l.per_channel(), [&](int64_t begin, int64_t end) {
      WithSimd([&]() SLUICE_INLINE_LOOP {
        for (int64_t channel = begin; channel < end; ++channel) internal::SumChannel<kValues>(l, f, channel, totals);
      });
    });
    return result;
  }
  c.ParallelFor(pieces, 0.15 * kValues * rows * l.channels / pieces, [&](int64_t begin, int64_t end) {
    WithSimd([&]() SLUICE_INLINE_LOOP {
      for (int64_t p = begin; p < end; ++p) {
        double* sums = parts + p * count;
        const int64_t from = rows * p / pieces, to = rows * (p + 1) / pieces;
        int64_t c0 = 0;
        for (; c0 + internal::kSumBlock <= l.channels; c0 += internal::kSumBlock) {
          internal::SumRows<kValues, true>(l, f, from, to, c0, internal::kSumBlock, sums);
        }
        if (c0 < l.channels) internal::SumRows<kValues, false>(l, f, from, to, c0, l.channels - c0, sums);
      }
    });
  });
  for (int64_t p = 0; p < pieces; ++p) {
    for (int64_t i = 0; i < count; ++i) totals[i] += parts[p * count + i];
  }
  return result;
}

// Calls f(element, channel) for every element, vectorised along channels or positions.
template <typename F>
void ForEachElement(const KernelContext& c, const ChannelLayout& l, double cost_ns, const F& f) {
  const bool last = l.inner == 1;
  const int64_t rows = last ? l.outer : l.outer * l.channels, width = last ? l.channels : l.inner;
  c.ParallelFor(rows, cost_ns * width, [&](int64_t begin, int64_t end) {
    WithSimd([&]() SLUICE_INLINE_LOOP {
      for (int64_t r = begin; r < end; ++r) {
        if (last) {
#pragma GCC ivdep
          for (int64_t j = 0; j < width; ++j) f(r * width + j, j);
        } else {
          const int64_t channel = r % l.channels;
#pragma GCC ivdep
          for (int64_t j = 0; j < width; ++j) f(r * width + j, channel);
        }
      }
    });
  });
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CHANNEL_LOOPS_H_
