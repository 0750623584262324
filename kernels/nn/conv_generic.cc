#include "kernels/nn/conv_generic.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <vector>

#include "core/base/status.h"
#include "kernels/common/gemm.h"
#include "kernels/nn/simd.h"

namespace sluice {
namespace {

constexpr int64_t kTileBytes = 256 << 10;  // of patches, to stay in the second-level cache
constexpr double kFlopsPerNs = 20;

// Calls visit(tap, input position) for the taps of output position `o` that fall inside the input; `outside(tap)` for
// the rest.
template <typename Inside, typename Outside>
SLUICE_HOST_DEVICE void ForEachTap(const ConvShape& s, int64_t o, const Inside& inside, const Outside& outside) {
  const WindowAxis &z = s.axes[0], &y = s.axes[1], &x = s.axes[2];
  const int64_t z0 = o / (y.output * x.output) * z.stride - z.pad_before;
  const int64_t y0 = o / x.output % y.output * y.stride - y.pad_before;
  const int64_t x0 = o % x.output * x.stride - x.pad_before;
  int64_t tap = 0;
  for (int64_t i = 0; i < z.filter; ++i) {
    const int64_t iz = z0 + i * z.dilation;
    for (int64_t j = 0; j < y.filter; ++j) {
      const int64_t iy = y0 + j * y.dilation;
      const bool row_inside = iz >= 0 && iz < z.input && iy >= 0 && iy < y.input;
      for (int64_t k = 0; k < x.filter; ++k, ++tap) {
        const int64_t ix = x0 + k * x.dilation;
        if (row_inside && ix >= 0 && ix < x.input) {
          inside(tap, (iz * y.input + iy) * x.input + ix);
        } else {
          outside(tap);
        }
      }
    }
  }
}

// Rows of patches for output positions [begin, end) of one image: [tap][channel of the group].
template <typename T>
void GatherPatches(const ConvShape& s, const T* image, int64_t group, int64_t begin, int64_t end, T* rows) {
  const int64_t channels = s.in_channels / s.groups;
  const T* from = image + group * channels;
  for (int64_t o = begin; o < end; ++o, rows += s.filter_positions() * channels) {
    ForEachTap(
        s, o,
        [&](int64_t tap, int64_t position) {
          std::copy_n(from + position * s.in_channels, channels, rows + tap * channels);
        },
        [&](int64_t tap) { std::fill_n(rows + tap * channels, channels, T(0)); });
  }
}

template <typename T>
void ScatterPatches(const ConvShape& s, const T* rows, int64_t group, int64_t begin, int64_t end, T* image) {
  const int64_t channels = s.in_channels / s.groups;
  T* to = image + group * channels;
  for (int64_t o = begin; o < end; ++o, rows += s.filter_positions() * channels) {
    ForEachTap(
        s, o,
        [&](int64_t tap, int64_t position) {
          for (int64_t i = 0; i < channels; ++i) to[position * s.in_channels + i] += rows[tap * channels + i];
        },
        [](int64_t) {});
  }
}

int64_t TilePositions(const ConvShape& s, size_t element) {
  const int64_t row = s.filter_positions() * (s.in_channels / s.groups) * element;
  return std::clamp<int64_t>(kTileBytes / std::max<int64_t>(row, 1), 8, std::max<int64_t>(s.out_positions(), 8));
}

// One tile of one image and group, in any direction. `filter` is the gradient to add to in kBackwardFilter.
template <typename T>
void MatrixTile(const ConvShape& s, ConvDirection direction, int64_t group, int64_t begin, int64_t end, T* image,
                T* filter, T* result, T* rows) {
  const int64_t k = s.filter_positions() * (s.in_channels / s.groups), n = s.out_channels / s.groups;
  T* part = result + begin * s.out_channels + group * n;
  T* f = filter + group * n;
  if (direction != ConvDirection::kBackwardInput) GatherPatches(s, image, group, begin, end, rows);
  if (direction == ConvDirection::kForward) {
    Gemm<T>(nullptr, false, false, end - begin, n, k, rows, k, f, s.out_channels, part, s.out_channels);
  } else if (direction == ConvDirection::kBackwardFilter) {
    Gemm<T>(nullptr, true, false, k, n, end - begin, rows, k, part, s.out_channels, f, s.out_channels, T(1));
  } else {
    Gemm<T>(nullptr, false, true, end - begin, k, n, part, s.out_channels, f, s.out_channels, rows, k);
    ScatterPatches(s, rows, group, begin, end, image);
  }
}

// The same for a depthwise convolution with `m` outputs for each channel.
template <typename T>
void DepthwiseTile(const ConvShape& s, ConvDirection direction, int64_t begin, int64_t end, T* image, T* filter,
                   T* result) {
  const int64_t channels = s.in_channels, m = s.out_channels / s.groups;
  WithSimd([&]() SLUICE_INLINE_LOOP {
    for (int64_t o = begin; o < end; ++o) {
      T* y = result + o * s.out_channels;
      if (direction == ConvDirection::kForward) {
        for (int64_t i = 0; i < s.out_channels; ++i) y[i] = T(0);
      }
      ForEachTap(
          s, o,
          [&](int64_t tap, int64_t position) SLUICE_INLINE_LOOP {
            T* x = image + position * channels;
            T* f = filter + tap * s.out_channels;
            if (direction == ConvDirection::kForward) {
              if (m == 1) {
#pragma GCC ivdep
                for (int64_t i = 0; i < channels; ++i) y[i] += x[i] * f[i];
              } else {
                for (int64_t i = 0; i < channels; ++i) {
                  for (int64_t j = i * m; j < i * m + m; ++j) y[j] += x[i] * f[j];
                }
              }
            } else if (direction == ConvDirection::kBackwardFilter) {
              if (m == 1) {
#pragma GCC ivdep
                for (int64_t i = 0; i < channels; ++i) f[i] += x[i] * y[i];
              } else {
                for (int64_t i = 0; i < channels; ++i) {
                  for (int64_t j = i * m; j < i * m + m; ++j) f[j] += x[i] * y[j];
                }
              }
            } else {
              for (int64_t i = 0; i < channels; ++i) {
                T sum = x[i];
                for (int64_t j = i * m; j < i * m + m; ++j) sum += y[j] * f[j];
                x[i] = sum;
              }
            }
          },
          [](int64_t) SLUICE_INLINE_LOOP {});
    }
  });
}

// False when there is no memory for the patches.
template <typename T>
bool RunTiles(const ConvShape& s, ConvDirection direction, int64_t begin, int64_t end, T* image, T* filter, T* result) {
  if (s.groups > 1 && s.in_channels == s.groups) {
    DepthwiseTile(s, direction, begin, end, image, filter, result);
    return true;
  }
  const int64_t tile = TilePositions(s, sizeof(T));
  std::unique_ptr<T[]> rows(new (std::nothrow) T[tile * s.filter_positions() * (s.in_channels / s.groups)]);
  if (rows == nullptr) return false;
  for (int64_t group = 0; group < s.groups; ++group) {
    for (int64_t from = begin; from < end; from += tile) {
      MatrixTile(s, direction, group, from, std::min(from + tile, end), image, filter, result, rows.get());
    }
  }
  return true;
}

}  // namespace

template <typename T>
absl::Status GenericConv(KernelContext& c, const ConvShape& s, ConvDirection direction, const T* a, const T* b,
                         T* out) {
  const int64_t image_size = s.in_positions() * s.in_channels, result_size = s.out_positions() * s.out_channels;
  const double image_ns = s.flops() / s.batch / kFlopsPerNs;
  std::atomic<bool> ok{true};
  auto status = [&ok] {
    return ok ? absl::OkStatus() : ResourceExhausted("no memory for the patches of a convolution");
  };
  if (direction == ConvDirection::kForward) {
    c.ParallelFor(s.batch * s.out_positions(), image_ns / s.out_positions(), [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t image = begin / s.out_positions(), from = begin % s.out_positions();
        const int64_t to = std::min(s.out_positions(), from + end - begin);
        T* x = const_cast<T*>(a) + image * image_size;
        if (!RunTiles<T>(s, direction, from, to, x, const_cast<T*>(b), out + image * result_size)) ok = false;
        begin += to - from;
      }
    });
    return status();
  }
  if (direction == ConvDirection::kBackwardInput) {
    c.ParallelFor(s.batch, image_ns, [&](int64_t begin, int64_t end) {
      std::fill(out + begin * image_size, out + end * image_size, T(0));
      for (int64_t i = begin; i < end; ++i) {
        T* dy = const_cast<T*>(a) + i * result_size;
        if (!RunTiles<T>(s, direction, 0, s.out_positions(), out + i * image_size, const_cast<T*>(b), dy)) ok = false;
      }
    });
    return status();
  }
  const int64_t pieces = std::max<int64_t>(1, std::min<int64_t>(c.step().pool->parallelism(), s.batch));
  const int64_t size = s.filter_elements();
  ASSIGN_OR_RETURN(Tensor parts, c.AllocateTemp(kDTypeOf<T>, Shape({pieces, size})));
  T* sums = parts.data<T>();
  c.ParallelFor(pieces, image_ns * s.batch / pieces, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      std::fill_n(sums + p * size, size, T(0));
      for (int64_t i = s.batch * p / pieces; i < s.batch * (p + 1) / pieces; ++i) {
        T *x = const_cast<T*>(a) + i * image_size, *dy = const_cast<T*>(b) + i * result_size;
        if (!RunTiles<T>(s, direction, 0, s.out_positions(), x, sums + p * size, dy)) ok = false;
      }
    }
  });
  std::copy_n(sums, size, out);
  for (int64_t p = 1; p < pieces; ++p) {
    for (int64_t i = 0; i < size; ++i) out[i] += sums[p * size + i];
  }
  return status();
}

template absl::Status GenericConv<float>(KernelContext&, const ConvShape&, ConvDirection, const float*, const float*,
                                         float*);
template absl::Status GenericConv<double>(KernelContext&, const ConvShape&, ConvDirection, const double*, const double*,
                                          double*);

}  // namespace sluice
